"""What went wrong in an SMTP conversation, as an error that says whether another attempt helps."""

from __future__ import annotations

import ssl

from aiosmtplib import SMTPException, SMTPResponseException, SMTPTimeoutError

from jobs import errors
from jobs.catalog._email_errors import MailRefused, MailServerBusy, MailServerUntrusted

# Everything that a conversation with a mail server may raise (time-outs are OSErrors too).
CONVERSATION = (SMTPException, OSError)

_SHOWN = 300
_PERMANENT = range(500, 600)


def explain(error: Exception, server: str) -> errors.JobsError:
    """Return the error to raise for what aiosmtplib raised in a conversation with `server`.

    RFC 5321 section 4.2.1: 4yz is transient (greylisting among them), 5yz permanent. A reply
    that is neither, a lost connection and a time-out are transient too.
    """
    match error:
        case SMTPResponseException(code=code) if code in _PERMANENT:
            return MailRefused(f"{server} refused the message: {code} {reply(error)}", code)
        case SMTPResponseException(code=code):
            return MailServerBusy(f"{server} put the message off: {code} {reply(error)}", code)
        case SMTPTimeoutError():
            return MailServerBusy(f"{server} did not answer in time: {error.message}")
        case _ if problem := _tls_problem(error):
            return MailServerUntrusted(f"{server} did not prove its identity: {problem}")
        case _:
            return MailServerBusy(f"{server} cannot be reached: {error}")


def explain_login(code: int, server: str, username: str) -> errors.JobsError:
    """Return the error for a login refused with `code`.

    The reply's text is left out: servers quote the refused command, credentials and all.
    """
    sentence = f"{server} refused the login of {username!r} with code {code}"
    if code in _PERMANENT:
        return MailRefused(f"{sentence}; check username and password in EmailSettings", code)
    return MailServerBusy(sentence, code)


def reply(error: SMTPResponseException) -> str:
    """Return the text of a reply as one short printable line."""
    words = " ".join(str(error.message).split())[:_SHOWN]
    return "".join(char if char.isprintable() else "?" for char in words)


def _tls_problem(error: BaseException | None) -> str | None:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message
        if isinstance(error, ssl.SSLError):
            return error.reason or str(error)
        error = error.__cause__
    return None
