"""The *email* job: one e-mail to one recipient, from a template or with its content given.

    await send_email.enqueue(Email(to="ada@example.com", template="welcome"))

The worker needs a mailer: ``ctx["mailer"] = Mailer(EmailSettings(sender=…, host=…))`` at start-up,
``await ctx["mailer"].aclose()`` at shutdown. Sending is at least once: a worker that dies after
the server took the message sends it again, with the same Message-ID.
"""

from __future__ import annotations

from jobs import Context, Queue, errors, exponential, job
from jobs.catalog._email_errors import (
    MailRefused,
    MailServerBusy,
    MailServerUntrusted,
    TemplateFailed,
    UnsafeHeader,
)
from jobs.catalog._email_message import Letter
from jobs.catalog._email_payload import TEMPLATES, Delivery, Email
from jobs.catalog._email_settings import EmailSettings
from jobs.catalog._email_smtp import Mailer

__all__ = [
    "EMAIL_QUEUE",
    "TEMPLATES",
    "Delivery",
    "Email",
    "EmailSettings",
    "Letter",
    "MailRefused",
    "MailServerBusy",
    "MailServerUntrusted",
    "Mailer",
    "TemplateFailed",
    "UnsafeHeader",
    "send_email",
]

EMAIL_QUEUE = Queue("email", concurrency=10)


@job("email", queue="email", attempts=5, backoff=exponential(3), timeout=30, priority=1)
async def send_email(ctx: Context, email: Email) -> Delivery:
    """Send one e-mail through the worker's mailer.

    Args:
        ctx: the job's context; ``ctx["mailer"]`` is a `Mailer`.
        email: recipient and content.

    Raises:
        MailServerBusy: no connection, a time-out or a 4xx reply; retried after 3, 6, 12, 24 s.
        MailServerUntrusted: TLS missing or not verifiable; retried likewise.
        MailRefused: a 5xx reply; final.
        TemplateFailed: the template does not suit the data; final.
        UnsafeHeader: a line break in what became a header; final.
        ConfigurationError: the worker has no mailer.
    """
    mailer = _mailer(ctx)
    letter = mailer.compose(email, ctx.idempotency_key)
    await mailer.send(letter)
    return Delivery(message_id=letter.message_id, subject=letter.subject, to=letter.to)


def _mailer(ctx: Context) -> Mailer:
    mailer = ctx.get("mailer")
    if not isinstance(mailer, Mailer):
        message = (
            "the email job needs a Mailer in ctx['mailer'], made in the worker's on_startup; "
            f"got {type(mailer).__name__}"
        )
        raise errors.ConfigurationError(message)
    return mailer
