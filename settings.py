"""This project's composition root: the environment in, `WorkerSettings` out.

Read it from top to bottom: configuration, queues, resources, the one odd line, the worker. Run it
with `arq settings.WorkerSettings` or `arq-jobs worker`.
"""

from __future__ import annotations

import logging
from typing import Any

import arq.worker
from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from jobs import Queue, RedisSettings, Worker, cron, errors
from jobs.catalog.email import EMAIL_QUEUE, EmailSettings, Mailer, send_email
from jobs.catalog.flaky import flaky
from jobs.catalog.push import PUSH_QUEUE, OneSignal, OneSignalSettings, send_push
from jobs.catalog.stripe import StripeEvent, StripeEvents, handle_stripe_event
from jobs.catalog.webhook import (
    WEBHOOK_QUEUE,
    WebhookSender,
    WebhookSettings,
    deliver_webhook,
)
from jobs.config import find_server_url

logger = logging.getLogger("jobs.settings")


# -- configuration: every variable stands in .env.example -------------------------------------


class StripeSettings(BaseModel):
    """Incoming Stripe events: the signing secrets of the endpoint, two during a rotation."""

    secrets: tuple[SecretStr, ...]


class Settings(BaseSettings):
    """The environment; a part that is not configured is `None`, and its jobs say so."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_nested_delimiter="_",
        env_nested_max_split=1,
        extra="ignore",
        hide_input_in_errors=True,
    )

    email: EmailSettings | None = None
    onesignal: OneSignalSettings | None = None
    stripe: StripeSettings | None = None
    webhook: WebhookSettings | None = None


def read_settings() -> Settings:
    """The settings of this process.

    Raises:
        ConfigurationError: names each variable that is missing or wrong.
    """
    try:
        return Settings()
    except ValidationError as error:
        problems = "; ".join(
            f"{'_'.join(map(str, item['loc'])).upper()}: {item['msg']}" for item in error.errors()
        )
        raise errors.ConfigurationError(f"the environment does not fit: {problems}") from None


try:
    settings = read_settings()
except errors.ConfigurationError as wrong:
    # arq's command imports this module and would answer with a traceback.
    raise SystemExit(str(wrong)) from None


# -- Stripe: what this application does with each event ---------------------------------------

stripe_events = StripeEvents()


@stripe_events.on("invoice.paid")
async def note_payment(ctx: Any, event: StripeEvent) -> None:
    """Say that an invoice was paid; a real application books it here."""
    logger.info("invoice paid: event %s, attempt %d", event.id, ctx.attempt)


# -- resources, made once for each worker -----------------------------------------------------


async def startup(ctx: dict[str, Any]) -> None:
    """Put what the jobs need into `ctx`; nothing connects before it is used."""
    ctx["stripe"] = stripe_events
    if settings.email:
        ctx["mailer"] = Mailer(settings.email)
    if settings.onesignal:
        ctx["onesignal"] = OneSignal(settings.onesignal)
    if settings.webhook:
        ctx["webhooks"] = WebhookSender(settings.webhook)


async def shutdown(ctx: dict[str, Any]) -> None:
    """Close what `startup` made."""
    for name in ("mailer", "onesignal", "webhooks"):
        if resource := ctx.pop(name, None):
            await resource.aclose()


async def log_metrics(ctx: dict[str, Any]) -> None:
    """Write the figures of every queue to the log; a plain arq cron job."""
    client = ctx["redis"]
    for name in await client.queues():
        figures = await client.queue(name).metrics()
        logger.info(
            "queue %s: %d waiting, %d active, %d delayed, %d completed and %d failed in an hour",
            name,
            figures.waiting,
            figures.active,
            figures.delayed,
            figures.completed,
            figures.failed,
        )


# arq's command builds whatever class `arq.worker.Worker` is and offers no other seam: from here
# on that is ours, for `arq settings.WorkerSettings`, --burst, --check and --watch alike.
arq.worker.Worker = Worker  # type: ignore[misc]

server = find_server_url()


class WorkerSettings:
    """The worker of this project. Flat, without a base class: arq reads this class's own names."""

    functions = (send_email, send_push, handle_stripe_event, deliver_webhook, flaky)
    queues = (EMAIL_QUEUE, PUSH_QUEUE, WEBHOOK_QUEUE, Queue("default"))
    cron_jobs = (cron(log_metrics, minute=set(range(0, 60, 5))),)
    redis_settings = RedisSettings.from_dsn(server.url) if server else None
    on_startup = startup
    on_shutdown = shutdown
