"""Fixtures of the catalog's tests."""

from __future__ import annotations

import pytest

from jobs import registry
from jobs.catalog.email import send_email
from jobs.catalog.push import send_push
from jobs.catalog.stripe import handle_stripe_event
from jobs.catalog.webhook import deliver_webhook


@pytest.fixture(autouse=True)
def _the_catalog_has_its_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """By name the last declared function is found, and other tests declare an `email` too."""
    for function in (send_email, send_push, handle_stripe_event, deliver_webhook):
        monkeypatch.setitem(registry.functions, function.name, function.function)
