"""Numbers that the prose names are those of the code."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from jobs import Queue, Worker
from jobs.backoff import RetryPolicy
from jobs.catalog.email import EMAIL_QUEUE, send_email
from jobs.catalog.push import PUSH_QUEUE, send_push
from jobs.catalog.webhook import WEBHOOK_QUEUE, deliver_webhook
from jobs.codec import MAX_BODY_BYTES
from jobs.server_check import REDIS_FLOOR, VALKEY_FLOOR
from tests.helpers.docs import text_of

IN_WORDS = {10: "ten", 20: "twenty", 3: "three"}


def prose(page: str) -> str:
    """The text of a page in one line."""
    return " ".join(text_of(page).split())


def default(argument: str) -> Any:
    return inspect.signature(Worker).parameters[argument].default


@pytest.mark.parametrize(
    ("page", "function", "queue", "waits"),
    [
        ("docs/how-to/email.md", send_email, EMAIL_QUEUE, "waits of 3, 6, 12 and 24 s"),
        ("docs/how-to/push.md", send_push, PUSH_QUEUE, "waits of 2 and 4 s"),
    ],
    ids=["email", "push"],
)
def test_the_catalog_is_tuned_as_its_pages_say(
    page: str, function: Any, queue: Queue, waits: str
) -> None:
    options, text = function.function.options, prose(page)
    seconds = RetryPolicy(options.attempts, options.backoff).waits_ms()
    first = ", ".join(str(ms // 1000) for ms in seconds[:-1])
    assert waits == f"waits of {first} and {seconds[-1] // 1000} s"
    assert f"tried {options.attempts} times ({waits})" in text
    assert f"for {options.timeout} s each" in text
    assert f"at priority {options.priority}" in text
    assert queue.concurrency is not None
    assert IN_WORDS[queue.concurrency] in text


def test_push_starts_no_more_than_its_page_says() -> None:
    rate = PUSH_QUEUE.rate
    assert rate is not None
    assert (rate.limit, rate.period_ms) == (30, 1000)
    assert "no more than 30 start in a second" in prose("docs/how-to/push.md")


def test_webhooks_are_tried_as_often_as_their_page_says() -> None:
    options = deliver_webhook.function.options
    assert options.attempts is not None
    assert options.backoff is not None
    waits = RetryPolicy(options.attempts, options.backoff).waits_ms()
    said = f"tried {options.attempts} times ({waits[0] // 1000}, {waits[1] // 1000}, "
    said += f"{waits[2] // 1000} … {waits[-1] // 1000} s)"
    assert said in prose("docs/how-to/webhooks.md")
    assert WEBHOOK_QUEUE.name == "webhook"


def test_lease_grace_poison_and_size() -> None:
    lease, grace = default("lease"), default("job_completion_wait")
    guarantees, readme = prose("docs/explanation/guarantees.md"), prose("README.md")
    assert f"a lease and a half ({lease * 3 // 2} s)" in guarantees
    assert f"run elsewhere within {lease * 3 // 2} s" in readme
    assert f"running jobs get {grace} s" in guarantees
    assert f"running jobs get {grace} s" in readme
    assert f"gives running jobs {grace} s" in prose("docs/how-to/deploy.md")
    assert f"crashes {IN_WORDS[default('max_deliveries')]} workers" in readme
    assert f"a deadline {lease} s ahead" in prose("docs/explanation/leases.md")
    assert f"Every {lease // 3} s a thread" in prose("docs/explanation/leases.md")
    assert MAX_BODY_BYTES == 2**20
    assert "larger than 1 MiB" in guarantees


@pytest.mark.parametrize("page", ["README.md", "docs/how-to/deploy.md"])
def test_the_floor_of_the_server(page: str) -> None:
    text = prose(page).replace("≥ ", "").replace(" or later", "")
    redis, valkey = (".".join(map(str, floor)) for floor in (REDIS_FLOOR, VALKEY_FLOOR))
    assert f"Redis {redis}" in text
    assert f"Valkey {valkey}" in text
