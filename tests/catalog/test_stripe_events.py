"""Handlers of Stripe's events, and the job that runs them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jobs import Context, Skip, errors, exponential
from jobs.catalog.stripe import StripeEvent, StripeEvents, handle_stripe_event


@pytest.fixture
def events() -> StripeEvents:
    return StripeEvents()


def context(**resources: Any) -> Context:
    return Context(resources, job_id="evt_1", queue="webhook", function="stripe-event")


def event(event_type: str = "invoice.paid", **fields: Any) -> StripeEvent:
    body = {"id": "evt_1", "object": "event", "type": event_type, **fields}
    return StripeEvent(id="evt_1", type=event_type, body=json.dumps(body))


async def test_handlers_run_in_order_with_the_event(events: StripeEvents) -> None:
    ran: list[tuple[str, str]] = []

    @events.on("invoice.paid", "invoice.voided")
    async def book(ctx: Context, event: StripeEvent) -> None:
        ran.append(("book", event.object["number"]))

    @events.on("charge.refunded")
    async def refund(ctx: Context, event: StripeEvent) -> None:
        ran.append(("refund", ""))

    @events.on("*")
    async def audit(ctx: Context, event: StripeEvent) -> None:
        ran.append(("audit", ctx.job_id))

    paid = event(data={"object": {"number": "F-7"}})
    result = await handle_stripe_event(context(stripe=events), paid)

    assert ran == [("book", "F-7"), ("audit", "evt_1")]
    assert result.model_dump() == {
        "event_id": "evt_1",
        "event_type": "invoice.paid",
        "handlers": ["book", "audit"],
    }


@pytest.mark.parametrize(
    ("pattern", "event_type", "matches"),
    [
        ("invoice.paid", "invoice.paid", True),
        ("invoice.paid", "invoice.paid.late", False),
        ("invoice.*", "invoice.paid", True),
        ("invoice.*", "invoiceitem.created", False),
        ("customer.*", "customer.subscription.deleted", True),
        ("*", "v2.core.event", True),
    ],
)
def test_patterns(events: StripeEvents, pattern: str, event_type: str, *, matches: bool) -> None:
    async def handler(ctx: Context, event: StripeEvent) -> None: ...

    assert events.on(pattern)(handler) is handler
    assert events.handlers(event_type) == ([handler] if matches else [])


def test_a_handler_registered_twice_for_a_type_runs_once(events: StripeEvents) -> None:
    async def handler(ctx: Context, event: StripeEvent) -> None: ...

    events.on("invoice.*", "invoice.paid", "*")(handler)
    assert events.handlers("invoice.paid") == [handler]


@pytest.mark.parametrize("types", [(), ("",), ("Invoice Paid",), ("in*",), ("invoice.paid", "**")])
def test_a_pattern_that_can_never_match_is_refused(
    events: StripeEvents, types: tuple[str, ...]
) -> None:
    with pytest.raises(errors.ConfigurationError, match="an event type is like"):
        events.on(*types)


async def test_an_event_without_handler_is_skipped(events: StripeEvents) -> None:
    with pytest.raises(Skip) as caught:
        await handle_stripe_event(context(stripe=events), event("charge.updated"))
    assert str(caught.value) == "no handler for charge.updated"


async def test_a_failing_handler_ends_the_attempt(events: StripeEvents) -> None:
    ran = []

    @events.on("*")
    async def fails(ctx: Context, event: StripeEvent) -> None:
        raise LookupError("no such invoice")

    @events.on("*")
    async def later(ctx: Context, event: StripeEvent) -> None:
        ran.append(event.id)

    with pytest.raises(LookupError, match="no such invoice"):
        await handle_stripe_event(context(stripe=events), event())
    assert ran == []


async def test_without_handlers_in_ctx_the_job_says_what_to_do() -> None:
    with pytest.raises(errors.ConfigurationError, match=r'ctx\["stripe"\]'):
        await handle_stripe_event(context(), event())


def test_a_thin_event_has_no_object() -> None:
    thin = StripeEvent(id="evt_2", type="v1.x", body='{"object": "v2.core.event", "data": null}')
    assert thin.payload["object"] == "v2.core.event"
    assert thin.object == {}


def test_the_cap_of_an_hour_bites_first_on_the_wait_before_attempt_12() -> None:
    """FEATURES rows A19 and K3: with the seed's 10 attempts the longest wait is 1,280 s."""
    backoff = exponential(5, max=3600)
    waits = [backoff.delay_ms(failures, random=lambda: 0.5) / 1000 for failures in range(1, 12)]
    assert waits == [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600]
    assert sum(waits[:9]) == 2555
