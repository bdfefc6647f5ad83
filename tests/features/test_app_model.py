"""How an application is built: A8-A10, A60-A63, B19, B20, B22, B124-B127, B137-B143."""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
import zlib
from collections.abc import AsyncIterator, Iterator
from datetime import date
from pathlib import Path
from typing import Annotated, Any, get_overloads

import httpx
import pytest
from fastapi import Depends as FromFastAPI
from fastapi import FastAPI, Request
from pydantic import BaseModel
from pydantic_core import from_json, to_json

from jobs import (
    Client,
    Context,
    Depends,
    JobFailed,
    Queue,
    Router,
    State,
    Worker,
    cron,
    discover,
    fixed,
    job,
    overriding,
)
from jobs.asgi import Jobs
from jobs.errors import ConfigurationError, InvalidOption, InvalidPayload
from jobs.options import Queue as PlainQueue
from jobs.routers import FunctionOptions
from tests.features.conftest import Work
from tests.helpers import cpu
from tests.helpers.waiting import wait_until


class Mail:
    """A service that jobs are given."""

    def __init__(self, sender: str = "shop") -> None:
        self.sender, self.closed = sender, False


# -- A8: in a web application -----------------------------------------------------------------


async def test_a8_a_web_application_has_its_client(redis_url: str) -> None:
    """Opened and closed with it, given to handlers, with a worker inside if one is wanted."""

    @job("welcome", queue="email")
    async def welcome(ctx: Context, user: int) -> str:
        return f"welcome {user}"

    class Settings:
        functions = (welcome,)
        job_completion_wait = 0

    jobs = Jobs(redis_url, worker=Settings)
    app = FastAPI(lifespan=jobs.lifespan)

    @app.post("/users/{user}")
    async def sign_up(user: int, client: Client = FromFastAPI(jobs)) -> str:  # noqa: B008, FAST002 -- `jobs` is a local name
        queued = await client.enqueue("welcome", {"user": user}, queue="email")
        return str(await queued.result(timeout=5))

    @app.get("/queues")
    async def queues(request: Request) -> list[str]:
        client: Client = request.state.jobs
        return await client.queues()

    with pytest.raises(ConfigurationError, match=r"lifespan=jobs\.lifespan"):
        _ = jobs.client
    async with app.router.lifespan_context(app) as state:
        web = httpx.ASGITransport(app)  # which knows nothing of the state of a lifespan
        app.add_middleware(WithState, state=state)
        async with httpx.AsyncClient(transport=web, base_url="http://test") as browser:
            assert (await browser.post("/users/42")).json() == "welcome 42"
            assert (await browser.get("/queues")).json() == ["email"]
        client = jobs.client
    with pytest.raises(ConfigurationError):
        _ = jobs.client
    assert client.connection_pool is not None


class WithState:
    """What a server does with the state that a lifespan yields."""

    def __init__(self, app: Any, state: Any) -> None:
        self.app, self.state = app, state

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app({**scope, "state": dict(self.state)}, receive, send)


# -- A9, B139: dependencies ------------------------------------------------------------------


async def test_a9_dependencies_with_lifetimes(client: Client, work: Work) -> None:
    """Made once for the worker and once for each attempt; closed in reverse, and with them."""
    story: list[str] = []

    async def pool(ctx: dict[str, Any]) -> AsyncIterator[str]:
        story.append(f"pool for {'redis' in ctx}")
        yield "pool"
        story.append("pool closed")

    def session(ctx: Context, pool: str = Depends(pool, lifetime="worker")) -> Iterator[str]:
        story.append(f"session on {pool}")
        yield f"session of {ctx.job_id}"
        story.append("session closed")

    async def mail(session: str = Depends(session)) -> str:
        return f"mail through {session}"

    @job
    async def send(
        ctx: Context, user: int, mail: str = Depends(mail), session: str = Depends(session)
    ) -> str:
        story.append(f"send {user}")
        return f"{mail}, {session}"

    worker = await work(send)
    for number in (1, 2):
        queued = await send.options(id=f"job-{number}").enqueue(number)
        assert await queued.result(timeout=5) == (
            f"mail through session of job-{number}, session of job-{number}"
        )
    await worker.close()
    assert story == [
        "pool for True",
        *("session on pool", "send 1", "session closed"),
        *("session on pool", "send 2", "session closed"),
        "pool closed",
    ]


async def test_a9_a_value_of_the_application_is_shared_by_its_workers(
    client: Client, work: Work
) -> None:
    made: list[Mail] = []

    async def mail() -> AsyncIterator[Mail]:
        made.append(Mail())
        yield made[-1]
        made[-1].closed = True

    @job(queue="one")
    async def first(ctx: Context, mail: Mail = Depends(mail, lifetime="app")) -> int:
        return id(mail)

    @job(queue="two")
    async def second(ctx: Context, mail: Mail = Depends(mail, lifetime="app")) -> int:
        return id(mail)

    workers = [await work(first), await work(second)]
    one = await (await first.enqueue()).result(timeout=5)
    assert one == await (await second.enqueue()).result(timeout=5)
    await workers[0].close()
    assert [item.closed for item in made] == [False]
    await workers[1].close()
    assert [item.closed for item in made] == [True]


async def test_a9_two_jobs_that_need_a_value_at_once_make_it_once(
    client: Client, work: Work
) -> None:
    made = 0

    async def pool() -> int:
        nonlocal made
        made += 1
        await asyncio.sleep(0.02)
        return made

    @job
    async def use(ctx: Context, pool: int = Depends(pool, lifetime="worker")) -> int:
        return pool

    await work(use)
    queued = await client.enqueue_many([use.request() for _ in range(10)])
    assert {await one.result(timeout=5) for one in queued} == {1}


async def test_a9_a_dependency_sees_the_error_and_cannot_hide_it(
    client: Client, work: Work
) -> None:
    story: list[str] = []

    async def transaction() -> AsyncIterator[str]:
        try:
            yield "open"
        except ValueError as error:
            story.append(f"rolled back: {error}")
        else:
            story.append("committed")

    @job(attempts=1)
    async def book(ctx: Context, fails: bool, db: str = Depends(transaction)) -> str:
        if fails:
            raise ValueError("no money")
        return db

    await work(book)
    assert await (await book.enqueue(fails=False)).result(timeout=5) == "open"
    with pytest.raises(JobFailed, match="no money"):
        await (await book.enqueue(fails=True)).result(timeout=5)
    assert story == ["committed", "rolled back: no money"]


async def test_a9_a_provider_that_fails_fails_the_attempt_and_is_tried_again(
    client: Client, work: Work
) -> None:
    tries = 0

    async def pool() -> str:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise ConnectionError("no database yet")
        return "pool"

    @job(attempts=2, backoff=fixed("1ms"))
    async def use(ctx: Context, pool: str = Depends(pool, lifetime="worker")) -> str:
        return pool

    await work(use)
    queued = await use.enqueue()
    assert await queued.result(timeout=5) == "pool"
    first = (await queued.details()).history[0]
    assert first["error"]["message"] == "no database yet"


async def test_b139_dependencies_are_no_part_of_the_payload(client: Client, work: Work) -> None:
    """A producer can neither forget nor forge them, and a lone model stays the payload."""

    class Order(BaseModel):
        number: int

    @job("ship")
    async def ship(
        ctx: Context, order: Order, mail: Annotated[Mail, Depends(Mail)], note: str = "none"
    ) -> list[Any]:
        return [order.number, mail.sender, note]

    @job("pay")
    async def pay(ctx: Context, order: Order, mail: Mail = Depends(Mail)) -> str:
        return f"{order.number} {mail.sender}"

    await work(ship, pay)
    queued = await client.enqueue("ship", {"order": {"number": 7}, "note": "soon"})
    assert await queued.result(timeout=5) == [7, "shop", "soon"]
    assert await (await client.enqueue("pay", {"number": 8})).result(timeout=5) == "8 shop"
    with pytest.raises(InvalidPayload, match="mail"):
        await client.enqueue("ship", {"order": {"number": 7}, "mail": "evil"})


async def test_b139_a_plain_def_in_a_thread_has_dependencies_too(
    client: Client, work: Work
) -> None:
    @job
    def crunch(ctx: Context, n: int, mail: Mail = Depends(Mail)) -> list[Any]:
        return [n, mail.sender, threading.current_thread() is threading.main_thread()]

    await work(crunch)
    assert await (await crunch.enqueue(3)).result(timeout=5) == [3, "shop", False]


async def test_b139_a_test_gives_another_one(client: Client, work: Work) -> None:
    """By argument where the function is called, by `overriding` where a worker runs it."""

    @job
    async def send(ctx: Context, mail: Mail = Depends(Mail)) -> str:
        return mail.sender

    assert await send(Context()) == "shop"
    assert await send(Context(), Mail("fake")) == "fake"
    assert await send(Context(), mail=Mail("fake")) == "fake"
    await work(send)
    with overriding(Mail, lambda: Mail("double")):
        assert await (await send.enqueue()).result(timeout=5) == "double"
    assert await (await send.enqueue()).result(timeout=5) == "shop"


def test_b139_what_cannot_be_filled_in_is_told_where_it_is_written() -> None:
    def needs(host: str) -> str:
        return host

    def short() -> str:
        return "short"

    def long(value: str = Depends(short)) -> str:
        return value

    with pytest.raises(InvalidOption, match="nobody can fill in 'host'"):
        Depends(needs)
    with pytest.raises(InvalidOption, match="lives as long as the worker"):
        Depends(long, lifetime="worker")
    with pytest.raises(InvalidOption, match="did you mean 'worker'"):
        Depends(short, lifetime="workers")  # type: ignore[call-overload]  # the mistake that is tested
    with pytest.raises(InvalidOption, match="function or a class"):
        Depends("short")  # type: ignore[call-overload]  # the mistake that is tested
    with pytest.raises(InvalidOption, match="nobody can provide mail"):

        @job(executor="process")
        def far(ctx: Context, mail: Mail = Depends(Mail)) -> None: ...


# -- A10, B140: one place for all functions ---------------------------------------------------


async def test_a10_a_router_collects_functions_and_cron_jobs(client: Client, work: Work) -> None:
    mails = Router(prefix="email.", queue=Queue("email"), attempts=7)

    @mails.job()
    async def welcome(ctx: Context) -> list[Any]:
        return [ctx.function, ctx.queue, ctx.attempts]

    @mails.job("reset", attempts=2, queue="urgent")
    async def reset_password(ctx: Context) -> list[Any]:
        return [ctx.function, ctx.queue, ctx.attempts]

    async def tick(ctx: dict[str, Any]) -> None: ...

    whole = Router()
    whole.include(mails)
    whole.add(cron(tick, hour=3))
    worker = await work(whole)
    assert await (await welcome.enqueue()).result(timeout=5) == ["email.welcome", "email", 7]
    assert await (await reset_password.enqueue()).result(timeout=5) == ["email.reset", "urgent", 2]
    assert [item.coroutine for item in worker.cron_jobs] == [tick]
    assert set(worker.queues) == {"email", "urgent", "default"}


def write_package(folder: Path, name: str, **modules: str) -> None:
    package = folder / name
    package.mkdir()
    for module, text in modules.items():
        (package / f"{module}.py").write_text(text)


DECLARED = """
from jobs import Router, cron, job
@job("{0}.plain")
async def plain(ctx): ...
again = plain
router = Router(prefix="{0}.")
@router.job()
async def routed(ctx): ...
async def tick(ctx): ...
ticking = cron(tick, hour=1)
"""


async def test_b140_a_package_is_searched_for_functions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    write_package(
        tmp_path,
        "shop_found",
        __init__="",
        mails=DECLARED.format("mails"),
        _private="raise RuntimeError",
    )
    found = discover("shop_found")
    assert [item.name for item in found.functions] == ["mails.plain", "mails.routed"]
    assert len(found.cron_jobs) == 1
    worker = Worker([found, *found.functions], queues=[Queue("a")])
    assert {"mails.plain", "mails.routed"} <= set(worker._registry)


def test_b140_a_module_that_does_not_import_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    write_package(tmp_path, "shop_broken", __init__="", mails="import nonsense_that_is_not_there")
    with pytest.raises(ConfigurationError, match=r"shop_broken\.mails.*ModuleNotFoundError"):
        discover("shop_broken")
    with pytest.raises(ConfigurationError, match="shop_missing"):
        discover("shop_missing")


def test_b140_what_a_router_cannot_collect_is_told() -> None:
    with pytest.raises(ConfigurationError, match="functions, cron jobs and routers"):
        Router().add(7)
    with pytest.raises(InvalidOption, match="with brackets"):
        Router().job(write_package)  # type: ignore[arg-type]  # the mistake that is tested
    with pytest.raises(InvalidOption, match="atempts"):
        Router(atempts=3)  # type: ignore[call-arg]  # the mistake that is tested


# -- A60-A63: one queue, many names -----------------------------------------------------------


async def test_a60_named_functions_on_one_queue(client: Client, work: Work) -> None:
    email = Queue("email", concurrency=2)

    @email.job("welcome")
    async def welcome(ctx: Context, to: str) -> str:
        return f"{ctx.queue}/{ctx.function} to {to}"

    @email.job("password-reset", attempts=1)
    async def reset(ctx: Context, to: str) -> str:
        return f"{ctx.queue}/{ctx.function} to {to}"

    worker = await work(welcome, reset)
    assert await (await welcome.enqueue("ada")).result(timeout=5) == "email/welcome to ada"
    queued = await client.enqueue_job("password-reset", "bob", _queue_name="email")
    assert queued is not None
    assert await queued.result(timeout=5) == "email/password-reset to bob"
    assert worker.queues["email"].concurrency == 2
    assert isinstance(email, PlainQueue)


async def test_a61_a_catch_all_gets_what_nobody_registered(client: Client, work: Work) -> None:
    email = Queue("email")

    @email.job("welcome")
    async def welcome(ctx: Context) -> str:
        return "welcomed"

    @email.fallback(attempts=2)
    async def anything(ctx: Context, **payload: Any) -> list[Any]:
        return [ctx.function, ctx.attempts, payload]

    await work(welcome, anything)
    known = await client.enqueue("welcome", queue="email")
    unknown = await client.enqueue("farewell", {"to": "ada"}, queue="email")
    assert await known.result(timeout=5) == "welcomed"
    assert await unknown.result(timeout=5) == ["farewell", 2, {"to": "ada"}]
    elsewhere = await client.enqueue("farewell", {"to": "ada"})
    assert await elsewhere.state() is State.waiting  # nobody serves that queue


async def test_a61_without_a_catch_all_unknown_jobs_are_parked(client: Client, work: Work) -> None:
    email = Queue("email")

    @email.job("welcome")
    async def welcome(ctx: Context) -> None: ...

    worker = await work(welcome, lease=0.5)
    lost = await client.enqueue("farewell", {"to": "ada"}, queue="email")

    async def parked() -> bool:
        return await lost.state() is State.parked

    await wait_until(parked, description="the unknown job is parked")
    await worker.close()

    @email.fallback
    async def anything(ctx: Context, to: str) -> str:
        return to

    await work(anything, lease=0.5)
    assert await lost.result(timeout=5) == "ada"


async def test_a62_a_wildcard_runs_all_jobs_of_its_queue(client: Client, work: Work) -> None:
    audit = Queue("audit")
    seen: list[str] = []

    @audit.fallback
    async def note(ctx: Context, *args: Any, **kwargs: Any) -> None:
        seen.append(ctx.function)

    await work(note)
    names = [f"event-{number}" for number in range(30)]
    queued = [await client.enqueue(name, {"a": 1}, queue="audit") for name in names]
    for one in queued:
        await one.result(timeout=5)
    assert seen == names


async def test_a62_a_queue_has_one_fallback() -> None:
    audit = Queue("audit")

    @audit.fallback
    async def one(ctx: Context) -> None: ...

    @audit.fallback
    async def two(ctx: Context) -> None: ...

    with pytest.raises(ConfigurationError, match="has two fallbacks, 'one' and 'two'"):
        Worker([one, two])


async def test_a63_one_function_switches_on_its_data(client: Client, work: Work) -> None:
    class Resize(BaseModel):
        type: str
        width: int = 100

    @job("image")
    async def image(ctx: Context, task: Resize) -> str:
        match task.type:
            case "resize":
                return f"resized to {task.width}"
            case _:
                return "compressed"

    await work(image)
    assert await (await image.enqueue(Resize(type="resize"))).result(timeout=5) == "resized to 100"
    queued = await client.enqueue("image", {"type": "compress"})
    assert await queued.result(timeout=5) == "compressed"


# -- B19, B20, B22: where jobs run ------------------------------------------------------------


async def test_b19_a_process_for_each_job_that_can_be_killed(client: Client, work: Work) -> None:
    await work(cpu.facts, cpu.compute)
    told = await (await client.enqueue("facts")).result(timeout=20)
    assert told["pid"] != os.getpid()
    stuck = await cpu.compute.options(timeout="100ms", attempts=1).enqueue("sleep", 60)
    with pytest.raises(JobFailed, match="JobTimedOut"):
        await stuck.result(timeout=20)


async def test_b20_a_worker_inside_the_application(client: Client, redis_url: str) -> None:
    @job
    async def double(ctx: Context, n: int) -> int:
        return 2 * n

    worker = Worker([double], redis_pool=client, handle_signals=False)
    running = asyncio.create_task(worker.async_run())
    assert await (await double.enqueue(21)).result(timeout=5) == 42
    await worker.close()
    await running
    assert await client.ping()  # the application's connection stays open


async def test_b22_each_queue_has_its_own_number_of_slots(client: Client, work: Work) -> None:
    wide, narrow = Queue("wide", concurrency=3), Queue("narrow", concurrency=1)
    at_once = {"wide": 0, "narrow": 0}
    most = {"wide": 0, "narrow": 0}

    async def occupy(ctx: Context) -> None:
        at_once[ctx.queue] += 1
        most[ctx.queue] = max(most[ctx.queue], at_once[ctx.queue])
        await asyncio.sleep(0.02)
        at_once[ctx.queue] -= 1

    in_wide, in_narrow = wide.job("in_wide")(occupy), narrow.job("in_narrow")(occupy)
    queued = [await function.enqueue() for function in (in_wide, in_narrow) for _ in range(9)]
    await work(in_wide, in_narrow)
    for one in queued:
        await one.result(timeout=5)
    assert most == {"wide": 3, "narrow": 1}


# -- B124-B127: payloads ----------------------------------------------------------------------


async def test_b124_typed_enqueue_and_result(client: Client, work: Work) -> None:
    """That the checkers refuse wrong ones is tests/typing; here the types hold at run time."""

    @job
    async def due(ctx: Context, start: date, days: int) -> date:
        return date.fromordinal(start.toordinal() + days)

    await work(due)
    queued = await due.enqueue(date(2026, 12, 30), 5)
    assert await queued.result(timeout=5) == date(2027, 1, 4)


async def test_b125_a_bad_payload_never_enters_the_queue(client: Client) -> None:
    @job("size")
    async def size(ctx: Context, width: int, height: int) -> None: ...

    with pytest.raises(InvalidPayload) as caught:
        await client.enqueue("size", {"width": "wide", "height": "high"})
    assert [field for field, _ in caught.value.errors] == ["width", "height"]
    assert await client.queues() == []


async def test_b126_payloads_are_json(client: Client) -> None:
    @job("plain")
    async def plain(ctx: Context, value: Any) -> None: ...

    await plain.enqueue({"name": "ada", "tags": [1, 2.5, None]})
    (body,) = (await client.hgetall("jobs:{default}:body")).values()  # type: ignore[misc]  # redis-py's hints
    assert b'{"name":"ada","tags":[1,2.5,null]}' in body
    with pytest.raises(InvalidPayload):
        await plain.enqueue(object())


def shrink(value: dict[str, Any]) -> bytes:
    """What an application may do with its payloads: compress, and hide from plain sight."""
    return bytes(byte ^ 0x55 for byte in zlib.compress(to_json(value)))


def grow(data: bytes) -> dict[str, Any]:
    document: dict[str, Any] = from_json(zlib.decompress(bytes(byte ^ 0x55 for byte in data)))
    return document


async def test_b127_the_bytes_are_the_applications_own(client: Client, work: Work) -> None:
    client.job_serializer, client.job_deserializer = shrink, grow

    @job("secret")
    async def secret(ctx: Context, text: str) -> str:
        return text.upper()

    queued = await secret.enqueue("attack at dawn" * 50)
    (body,) = (await client.hgetall("jobs:{default}:body")).values()  # type: ignore[misc]  # redis-py's hints
    assert b"attack" not in body
    assert len(body) < 200
    await work(secret, job_serializer=shrink, job_deserializer=grow)
    assert await queued.result(timeout=5) == "ATTACK AT DAWN" * 50
    history = (await client.hgetall("jobs:{default}:result")).values()  # type: ignore[misc]  # redis-py's hints
    assert not [line for line in history if b"ATTACK" in line]


# -- B137, B141-B143 --------------------------------------------------------------------------


async def test_b137_old_names_still_run(client: Client, work: Work) -> None:
    @job("mail.welcome", aliases=("send_welcome", "welcome_mail"), queue="email", attempts=6)
    async def welcome(ctx: Context, to: str) -> list[Any]:
        return [ctx.function, ctx.attempts, to]

    await work(welcome)
    for name in ("mail.welcome", "send_welcome", "welcome_mail"):
        queued = await client.enqueue(name, {"to": "ada"})
        assert queued.queue == "email"
        assert await queued.result(timeout=5) == [name, 6, "ada"]
    with pytest.raises(InvalidPayload):
        await client.enqueue("send_welcome", {"too": "ada"})


async def test_b137_an_alias_that_is_taken_is_refused() -> None:
    @job("old")
    async def old(ctx: Context) -> None: ...

    @job("new", aliases=("old",))
    async def new(ctx: Context) -> None: ...

    with pytest.raises(ConfigurationError, match="'old', an alias of 'new', is the name"):
        Worker([old, new])
    with pytest.raises(InvalidOption, match="is a sequence of names"):
        job("other", aliases="old")(new.function.call)


async def test_b141_a_plain_def_runs_in_a_thread(client: Client, work: Work) -> None:
    @job
    def name_of_thread(ctx: Context) -> str:
        return threading.current_thread().name

    await work(name_of_thread)
    assert (await (await name_of_thread.enqueue()).result(timeout=5)).startswith("jobs-function")


async def test_b142_a_job_function_can_just_be_called() -> None:
    @job
    async def add(ctx: Context, a: int, b: int) -> int:
        return a + b

    @job
    def multiply(ctx: Context, a: int, b: int) -> int:
        return a * b

    assert (await add(Context(), 2, 3), await multiply(Context(), 2, b=3)) == (5, 6)


async def test_b143_applications_share_a_server_by_prefix(client: Client, redis_url: str) -> None:
    @job
    async def greet(ctx: Context) -> str:
        return "hi"

    async with Client.connect(redis_url, prefix="shop") as shop:
        queued = await greet.options(client=shop).enqueue()
        assert await client.queues() == []
        assert await shop.queues() == ["default"]
        worker = Worker([greet], redis_pool=shop, handle_signals=False, burst=True)
        await worker.async_run()
        await worker.close()
        assert await queued.result(timeout=5) == "hi"
        assert not [key async for key in client.scan_iter("jobs:*")]


def test_the_options_of_a_router_are_those_of_job() -> None:
    """`job` names its options for the type checkers; a router's are a `TypedDict` of the same."""
    parameters = [inspect.signature(one).parameters for one in get_overloads(job)]
    (named,) = [set(names) - {"name", "queue"} for names in parameters if "attempts" in names]
    assert set(FunctionOptions.__annotations__) == named
