"""The e-mail job as it is declared: seed 001's numbers, and what a producer may enqueue."""

from __future__ import annotations

import subprocess
import sys

import pytest

from jobs import JobOptions, errors, exponential
from jobs.catalog.email import EMAIL_QUEUE, Delivery, Email, send_email

ADA = "ada@example.com"


def test_the_numbers_of_the_queue() -> None:
    assert (EMAIL_QUEUE.name, EMAIL_QUEUE.concurrency) == ("email", 10)


def test_the_numbers_of_the_job() -> None:
    function = send_email.function
    assert (function.name, function.queue) == ("email", "email")
    assert function.options == JobOptions(
        attempts=5, backoff=exponential(3), timeout=30, priority=1
    )


def test_five_attempts_wait_3_6_12_and_24_seconds() -> None:
    backoff = send_email.function.options.backoff
    assert backoff is not None
    waits = [backoff.delay_ms(failures, random=lambda: 0.5) for failures in (1, 2, 3, 4)]
    assert waits == [3_000, 6_000, 12_000, 24_000]


def test_the_payload_needs_an_address_and_a_template_only() -> None:
    _, payload = send_email.function.signature.wire([], {"to": ADA, "template": "welcome"})
    assert Email.model_validate(payload) == Email(to=ADA, template="welcome")


def test_a_wrong_payload_is_refused_before_it_is_enqueued() -> None:
    with pytest.raises(errors.InvalidPayload, match="did you mean 'welcome'"):
        send_email.function.signature.wire([], {"to": ADA, "template": "wellcome"})


def test_a_delivery_survives_json() -> None:
    delivery = Delivery(message_id="<1@example.com>", subject="Grüße", to=ADA)
    assert Delivery.model_validate_json(delivery.model_dump_json()) == delivery


def test_importing_the_job_leaves_heavy_libraries_alone() -> None:
    """A producer imports it for the payload; the command line has 150 ms for its start."""
    code = "import sys, jobs.catalog.email; print({'jinja2', 'email_validator'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
