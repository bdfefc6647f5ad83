"""`arq-jobs dev --demo`: real jobs on real parts, told line by line.

An embedded server, a worker process on the application's own settings, a mail server that files
what it gets, a service that answers as OneSignal does, and a sender of signed Stripe events. What
is printed is read from those parts afterwards; a step that did not happen is marked ✗.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from email import message_from_bytes, policy
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.request import Request as HttpRequest
from urllib.request import urlopen

from aiosmtpd.smtp import SMTP
from rich.console import Console

from jobs.catalog.fakes import Answer, AsgiServer, FakeOneSignal, stripe_signature_header
from jobs.catalog.flaky import Flaky, flaky
from jobs.catalog.push import Push, send_push
from jobs.catalog.stripe import StripeEndpoint
from jobs.client import Client
from jobs.embedded import EmbeddedServer
from jobs.errors import JobFailed, JobsError
from jobs.states import State

HOME = Path(".jobs")
#: Longest wait for one step of the story, in seconds.
PATIENCE_S = 30.0


class DemoFailed(JobsError):
    """A step of the demo did not happen as it should."""


class MailFiler:
    """A handler of the mail server: each message becomes a file, numbered as it came."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.eml"):
            old.unlink()

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 -- aiosmtpd's name
        """Keep one message."""
        path = self.folder / f"{len(self.files()) + 1:04}.eml"
        path.write_bytes(envelope.original_content)
        return f"250 kept as {path.name}"

    def files(self) -> list[Path]:
        """The messages so far, in order."""
        return sorted(self.folder.glob("*.eml"))


@dataclass
class Stage:
    """The running parts."""

    server: EmbeddedServer
    client: Client
    mail: MailFiler
    onesignal: FakeOneSignal
    stripe_url: str
    stripe_secret: str
    environment: dict[str, str]
    worker: asyncio.subprocess.Process


def run(app: str, *, once: bool) -> int:
    """Play the demo for the worker settings named `app` ("module:attribute").

    Args:
        app: the application's worker settings.
        once: end after the story instead of staying up until Ctrl-C.

    Returns:
        0 if every step happened, else 1.
    """
    return asyncio.run(_play(app, Console(highlight=False, soft_wrap=True), once=once))


async def _play(app: str, console: Console, *, once: bool) -> int:
    stopped = asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, stopped.set)
    async with _stage(app, console) as stage:
        story = asyncio.create_task(_tell(stage, console))
        ended = asyncio.create_task(stopped.wait())
        await asyncio.wait([story, ended], return_when=asyncio.FIRST_COMPLETED)
        story.cancel()
        failures = await story if story.done() and not story.cancelled() else 1
        if not once and not stopped.is_set():
            _say_what_to_try(stage, console)
            await stopped.wait()
        ended.cancel()
    return min(failures, 1)


# -- the stage --------------------------------------------------------------------------------


@asynccontextmanager
async def _stage(app: str, console: Console) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        server = EmbeddedServer(HOME / "valkey", publish=True)
        await asyncio.to_thread(server.start)
        stack.callback(server.stop)
        kind = f"{server.kind} {server.version} embedded"
        console.print(f"[green]✓[/] {kind}   {server.url}   (data in {HOME}/valkey)")
        client = await stack.enter_async_context(Client.connect(server.url))
        mail = MailFiler(HOME / "mail")
        smtp_port = await _serve_mail(stack, mail)
        refused = Answer(429, {"retry-after": "1"}, {"errors": ["API rate limit exceeded"]})
        onesignal = await stack.enter_async_context(FakeOneSignal(fail=[refused]))
        secret = "whsec_" + secrets.token_hex(16)
        stripe = await stack.enter_async_context(AsgiServer(StripeEndpoint(client, [secret])))
        environment = _environment(server.url, smtp_port, onesignal.url, secret)
        worker = await _start_worker(app, environment)
        stack.push_async_callback(_stop_worker, worker)
        yield Stage(server, client, mail, onesignal, stripe.url, secret, environment, worker)


async def _serve_mail(stack: AsyncExitStack, mail: MailFiler) -> int:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(mail, hostname="localhost"), "127.0.0.1", 0)
    stack.callback(server.close)
    port: int = server.sockets[0].getsockname()[1]
    return port


def _environment(redis_url: str, smtp_port: int, onesignal_url: str, secret: str) -> dict[str, str]:
    return os.environ | {
        "JOBS_REDIS_URL": redis_url,
        "EMAIL_HOST": "127.0.0.1",
        "EMAIL_PORT": str(smtp_port),
        "EMAIL_TLS": "none",
        "EMAIL_SENDER": "hello@example.com",
        "EMAIL_SENDER_NAME": "Example",
        "ONESIGNAL_APP_ID": "demo-app",
        "ONESIGNAL_API_KEY": "demo-key",
        "ONESIGNAL_BASE_URL": onesignal_url,
        "STRIPE_SECRETS": json.dumps([secret]),
    }


async def _start_worker(app: str, environment: dict[str, str]) -> asyncio.subprocess.Process:
    """The worker in a session of its own, so that Ctrl-C reaches it through us, in order."""
    with (HOME / "worker.log").open("wb") as log:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "jobs", "--app", app, "worker"),
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


async def _stop_worker(worker: asyncio.subprocess.Process) -> None:
    if worker.returncode is None:
        worker.terminate()
    await worker.wait()


# -- the story --------------------------------------------------------------------------------


async def _tell(stage: Stage, console: Console) -> int:
    """Play every step; how many did not happen."""
    steps: list[tuple[str, Callable[[Stage], Awaitable[str]]]] = [
        ("worker", _worker_step),
        ("email", _email_step),
        ("push", _push_step),
        ("webhook", _webhook_step),
        ("flaky", _flaky_step),
    ]
    failures = 0
    for name, step in steps:
        started = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE_S):
                told = await step(stage)
        except (JobsError, TimeoutError, OSError) as error:
            failures += 1
            problem = str(error) or f"nothing happened within {PATIENCE_S:g} s"
            console.print(f"[red]✗[/] {name:<9} {problem}   (see {HOME}/worker.log)")
        else:
            ms = (time.monotonic() - started) * 1000
            console.print(f"[green]✓[/] {name:<9} {told}   {ms:.0f} ms")
    console.print()
    console.print(await _command(stage, "metrics"), end="", markup=False)
    return failures


async def _worker_step(stage: Stage) -> str:
    """The worker has announced itself at each of its queues."""
    while True:
        if stage.worker.returncode is not None:
            raise DemoFailed(f"the worker ended with {stage.worker.returncode}")
        names = await stage.client.queues()
        alive = {name: await stage.client.queue(name).workers() for name in names}
        served = {
            queue for infos in alive.values() for info in infos for queue in info.data["queues"]
        }
        if served and all(alive.get(queue) for queue in served):
            return f"serves the queues {', '.join(sorted(served))}"
        await asyncio.sleep(0.02)


async def _email_step(stage: Stage) -> str:
    """Through the command line, as a user would; read back from the file."""
    options = ["--to", "ada@example.com", "--template", "welcome", "--wait", "--json"]
    await _command(stage, "enqueue", "email", *options)
    if len(stage.mail.files()) != 1:
        raise DemoFailed(f"expected one message, the mail server got {len(stage.mail.files())}")
    path = stage.mail.files()[0]
    message = message_from_bytes(path.read_bytes(), policy=policy.default)
    return f'{message["To"]}   "{message["Subject"]}"   {path}'


async def _push_step(stage: Stage) -> str:
    """Through the API; OneSignal's fake refuses it once."""
    job = await send_push.enqueue(
        Push(user_id="ada", title="Hello", message="Your order has shipped"), client=stage.client
    )
    result = await job.result()
    requests = stage.onesignal.requests
    keys = {request.json()["idempotency_key"] for request in requests}
    if len(requests) != 2 or len(keys) != 1 or len(stage.onesignal.notifications) != 1:  # noqa: PLR2004 -- refused once, then taken
        raise DemoFailed(f"{len(requests)} requests with {len(keys)} idempotency keys")
    return (
        f"{result.targets} recipient   429 once, then accepted under the same idempotency key "
        f"{keys.pop()}"
    )


async def _webhook_step(stage: Stage) -> str:
    """A signed event, delivered twice as Stripe may do."""
    event_id = f"evt_{secrets.token_hex(8)}"
    event = {"id": event_id, "object": "event", "type": "invoice.paid", "data": {"object": {}}}
    answers = [await asyncio.to_thread(_post_event, stage, event) for _ in range(2)]
    result = await stage.client.job(event_id, "webhook").result()
    details = await stage.client.job(event_id, "webhook").details()
    if [a["duplicate"] for a in answers] != [False, True] or len(details.history) != 1:
        raise DemoFailed(f"answers {answers}, attempts {len(details.history)}")
    return f"{result['event_type']}   {event_id} delivered twice, processed once"


def _post_event(stage: Stage, event: dict[str, Any]) -> dict[str, Any]:
    body = json.dumps(event).encode()
    signature = stripe_signature_header(body, stage.stripe_secret, int(time.time()))
    headers = {"Stripe-Signature": signature, "Content-Type": "application/json"}
    request = HttpRequest(stage.stripe_url, body, headers)  # noqa: S310 -- our own address
    with urlopen(request, timeout=10) as answer:  # noqa: S310 -- our own address
        told: dict[str, Any] = json.load(answer)
        return told


async def _flaky_step(stage: Stage) -> str:
    """Fails on purpose, is retried with backoff, and becomes a dead letter."""
    job = await flaky.enqueue(Flaky(), client=stage.client)
    try:
        await job.result()
    except JobFailed as error:
        details = await job.details()
        waits = _waits([entry["at"] for entry in details.history])
        if details.state is not State.failed or len(details.history) != details.attempt:
            raise DemoFailed(f"{job} is {details.state}") from error
        return (
            f"{details.attempt} attempts, again after {waits}, then a dead letter (on purpose)   "
            f"try: arq-jobs dlq show {job.id}"
        )
    raise DemoFailed("the flaky job succeeded")


def _waits(ended_ms: list[int]) -> str:
    pairs = pairwise(ended_ms)
    return " and ".join(f"{(later - earlier) / 1000:.1f} s" for earlier, later in pairs)


async def _command(stage: Stage, *words: str) -> str:
    """Run the command line as a user would; what it printed.

    Raises:
        DemoFailed: it ended with another code than 0.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "jobs", *words),
        env=stage.environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    if process.returncode:
        raise DemoFailed(f"`arq-jobs {' '.join(words)}`: {err.decode().strip()}")
    return out.decode()


def _say_what_to_try(stage: Stage, console: Console) -> None:
    console.print(
        f"\nServer {stage.server.url}   worker log {HOME}/worker.log   mail {HOME}/mail/\n"
        "Next, in another terminal of this folder (`. .venv/bin/activate` first):\n"
        "  arq-jobs enqueue email --to you@example.com --template welcome\n"
        "  arq-jobs metrics --watch · arq-jobs dlq list · arq-jobs dlq retry --all\n"
        "Ctrl-C stops everything.",
        markup=False,
    )
