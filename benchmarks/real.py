"""What real work needs: the catalog's clients bound to the sinks, and payloads for them."""

from __future__ import annotations

from typing import Any

from jobs.catalog.email import EmailSettings, Mailer
from jobs.catalog.push import OneSignal, OneSignalSettings

HOST = "127.0.0.1"


def mailer(port: int) -> Mailer:
    """The catalog's mailer, at a mail server on this machine."""
    return Mailer(EmailSettings(sender="bench@example.com", host=HOST, port=port, tls="none"))


def onesignal(port: int) -> OneSignal:
    """The catalog's OneSignal client, at a stand-in on this machine."""
    base_url = f"http://{HOST}:{port}"
    given = {"app_id": "bench", "api_key": "bench-key", "base_url": base_url}
    return OneSignal(OneSignalSettings.model_validate(given))


def letter(number: int) -> dict[str, Any]:
    """An e-mail from a template."""
    return {"to": f"user{number}@example.com", "template": "welcome"}


def notice(number: int) -> dict[str, Any]:
    """A push notification."""
    return {"user_id": f"user{number}", "title": "Hello", "message": "Your order has shipped"}
