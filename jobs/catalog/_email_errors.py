"""Errors of the e-mail job: what is worth another attempt, and what never will be.

JobsError
├── MailServerBusy        4xx reply, no connection, time-out: the job is retried
├── MailServerUntrusted   TLS missing or not verifiable: nothing was sent, the job is retried
└── Fail
    ├── MailRefused       5xx reply: the same message would be refused again
    ├── TemplateFailed    a template cannot be rendered with this data
    └── UnsafeHeader      a header or address holds a line break (also a ValueError)
"""

from __future__ import annotations

from jobs import Fail, errors


class MailServerBusy(errors.JobsError):
    """The mail server cannot take the message now; `code` is its reply, if it gave one."""

    def __init__(self, message: str, code: int | None = None) -> None:
        self.code = code
        super().__init__(message)


class MailServerUntrusted(errors.JobsError):
    """The connection cannot be trusted, so neither a credential nor a message was sent.

    Retried, since certificates expire and are renewed: a mail must not be lost to that.
    """


class MailRefused(Fail):
    """The mail server refused the message for good; `code` is its reply, if it gave one."""

    def __init__(self, message: str, code: int | None = None) -> None:
        self.code = code
        super().__init__(message)


class TemplateFailed(Fail):
    """A template cannot be rendered with the data of this job."""


class UnsafeHeader(Fail, ValueError):
    """A header or an address holds a character that could begin a line of its own."""
