"""The web application over real HTTP, with a worker beside it and with one inside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import httpx
import pytest

from jobs.catalog.fakes import stripe_signature_header
from tests.docs.runner import free_port
from tests.helpers.servers import MakeServer
from tests.helpers.smtp import SmtpSink
from tests.helpers.source import ROOT
from tests.helpers.waiting import wait_until

SECRET = "whsec_of_the_test"
EMAIL = {"to": "ada@example.com", "template": "welcome"}


@contextmanager
def program(folder: Path, *words: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program of the example; it is asked to end with the block, and must end well."""
    with (folder / f"{words[1]}.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, *words],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            code = process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
    assert code in {0, -15}, (folder / f"{words[1]}.log").read_text()


@contextmanager
def web(folder: Path, port: int, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    words = ["-m", "uvicorn", "examples.fastapi_app:app", "--port", str(port)]
    with program(folder, *words, **environment) as process:
        yield process


@pytest.fixture
async def mail() -> AsyncIterator[SmtpSink]:
    """A mail server."""
    async with SmtpSink() as sink:
        yield sink


@pytest.fixture
def environment(redis_url: str, mail: SmtpSink) -> dict[str, str]:
    """What the example is told by its environment."""
    return {
        "JOBS_REDIS_URL": redis_url,
        "EMAIL_SENDER": "hello@example.com",
        "EMAIL_HOST": "127.0.0.1",
        "EMAIL_PORT": str(mail.port),
        "EMAIL_TLS": "none",
        "STRIPE_SECRETS": json.dumps([SECRET]),
    }


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """A client for the web application, on a free port."""
    base = f"http://127.0.0.1:{free_port()}"
    async with httpx.AsyncClient(base_url=base, timeout=10) as client:
        yield client


async def up(http: httpx.AsyncClient, process: subprocess.Popen[bytes]) -> None:
    async def answers() -> bool:
        assert process.poll() is None, "the web application ended"
        try:
            return (await http.get("/openapi.json")).is_success
        except httpx.TransportError:
            return False

    await wait_until(answers, description="the web application answers", timeout=20, poll=0.02)


async def ended(http: httpx.AsyncClient, queued: dict[str, Any]) -> dict[str, Any]:
    async def status() -> dict[str, Any] | None:
        answer = await http.get(f"/jobs/{queued['queue']}/{queued['id']}")
        body: dict[str, Any] = answer.json()
        return body if body["state"] in {"completed", "failed"} else None

    found: dict[str, Any] = await wait_until(status, description="the job ended", timeout=20)
    return found


@pytest.mark.parametrize("embedded", [True, False], ids=["embedded", "beside"])
async def test_from_request_to_mail(
    http: httpx.AsyncClient,
    environment: dict[str, str],
    mail: SmtpSink,
    tmp_path: Path,
    embedded: bool,
) -> None:
    port = http.base_url.port or 0
    environment["EMBED_WORKER"] = "1" if embedded else ""
    worker = program(tmp_path, "-m", "jobs", "worker", **environment)
    with nullcontext() if embedded else worker, web(tmp_path, port, **environment) as process:
        await up(http, process)
        answer = await http.post("/emails", json=EMAIL, params={"key": "welcome:ada"})
        assert answer.status_code == 202
        queued = answer.json()
        assert queued == {"id": "welcome:ada", "queue": "email", "duplicate": False}
        status = await ended(http, queued)
        assert (await http.post("/emails", json=EMAIL, params={"key": "welcome:ada"})).json()[
            "duplicate"
        ]
        await until_stripe_is_handled(http)
    assert list(status) == [
        "id",
        "state",
        "progress",
        "data",
        "returnvalue",
        "attemptsMade",
        "failedReason",
    ]
    assert status["state"] == "completed", status
    assert (status["progress"], status["attemptsMade"], status["failedReason"]) == (None, 1, None)
    assert status["data"]["to"] == "ada@example.com"
    assert status["returnvalue"]["success"] is True
    assert [message.recipients for message in mail.messages] == [["ada@example.com"]]


async def until_stripe_is_handled(http: httpx.AsyncClient) -> None:
    """The same event twice: handled once."""
    body = json.dumps({"id": "evt_1", "object": "event", "type": "invoice.paid", "data": {}})
    signature = stripe_signature_header(body.encode(), SECRET, int(time.time()))
    for duplicate in (False, True):
        answer = await http.post("/stripe", content=body, headers={"Stripe-Signature": signature})
        assert answer.json() == {"received": True, "duplicate": duplicate}
    status = await ended(http, {"queue": "webhook", "id": "evt_1"})
    assert status["returnvalue"]["event_type"] == "invoice.paid"


async def test_what_can_go_wrong(
    http: httpx.AsyncClient,
    environment: dict[str, str],
    make_server: MakeServer,
    tmp_path: Path,
) -> None:
    server = make_server()
    environment["JOBS_REDIS_URL"] = server.url
    with web(tmp_path, http.base_url.port or 0, **environment) as process:
        await up(http, process)
        wrong = await http.post("/emails", json={"to": "nobody", "template": "welcome"})
        assert wrong.status_code == 422
        unknown = await http.get("/jobs/email/nothing")
        assert unknown.status_code == 404
        assert "holds no job 'nothing'" in unknown.json()["detail"]
        reminders = [
            await http.post("/reminders", json={"to": "ada@example.com"}) for _ in range(2)
        ]
        assert [answer.status_code for answer in reminders] == [202, 409]
        queued = await http.get("/jobs/email/reminder:ada@example.com")
        assert queued.json()["state"] == "delayed"
        server.kill()
        away = await http.post("/emails", json=EMAIL)
        assert away.status_code == 503
        assert "is it running, and is REDIS_URL right?" in away.json()["error"]
        status = await http.get("/jobs/email/reminder:ada@example.com")
        assert status.status_code == 503
