"""One attempt of the push job against a server of the test's choice."""

from __future__ import annotations

from typing import Any

from jobs import Context
from jobs.catalog.push import OneSignal, OneSignalSettings, Push, PushResult, send_push

KEY = "os_v2_app_verysecretkey"
SENT = {"id": "8458af75-4da2-4ecf-afb9-f242a8926cc3"}
ADA = Push(message="Hello", external_ids=["ada"])


def context(client: OneSignal, *, attempt: int = 1, job_id: str = "j1") -> Context:
    """The ctx of attempt `attempt` of 3."""
    facts: dict[str, Any] = {"queue": "push", "function": "push", "attempts": 3}
    return Context({"onesignal": client}, job_id=job_id, attempt=attempt, **facts)


async def run(
    url: str, push: Push = ADA, *, attempt: int = 1, job_id: str = "j1", **settings: Any
) -> PushResult:
    """Run the job once with a client of its own."""
    values = {"app_id": "app", "api_key": KEY, "base_url": url} | settings
    client = OneSignal(OneSignalSettings.model_validate(values))
    try:
        return await send_push(context(client, attempt=attempt, job_id=job_id), push)
    finally:
        await client.aclose()
