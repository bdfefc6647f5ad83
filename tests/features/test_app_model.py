"""How an application is built: A8, A10, A60-A63, B137, B140-B143."""

from __future__ import annotations

import inspect
import threading
from pathlib import Path
from typing import Any, get_overloads

import httpx
import pytest
from fastapi import Depends as FromFastAPI
from fastapi import FastAPI, Request
from pydantic import BaseModel
from redis.asyncio import Redis

from jobs import (
    Client,
    Context,
    Queue,
    Router,
    Schedule,
    State,
    Worker,
    cron,
    discover,
    job,
)
from jobs.asgi import Jobs
from jobs.errors import ConfigurationError, InvalidOption, InvalidPayload
from jobs.options import Queue as PlainQueue
from jobs.routers import FunctionOptions
from tests.features.conftest import Work
from tests.helpers.keyspace import audit
from tests.helpers.waiting import wait_until

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
        return str(await queued.result(timeout=20))

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
    whole.add(cron(tick, hour=3), Schedule("weekly", welcome.request(), cron="0 9 * * 1"))
    worker = await work(whole)
    assert await (await welcome.enqueue()).result(timeout=20) == ["email.welcome", "email", 7]
    assert await (await reset_password.enqueue()).result(timeout=20) == ["email.reset", "urgent", 2]
    assert [item.coroutine for item in worker.cron_jobs] == [tick]
    assert [item.name for item in worker.schedules] == ["weekly"]
    assert set(worker.queues) == {"email", "urgent", "default"}


def write_package(folder: Path, name: str, **modules: str) -> None:
    package = folder / name
    package.mkdir()
    for module, text in modules.items():
        (package / f"{module}.py").write_text(text)


DECLARED = """
from jobs.catalog.flaky import flaky  # to be enqueued here, not to be run
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
    with pytest.raises(ConfigurationError, match="functions, cron jobs, schedules and routers"):
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
    assert await (await welcome.enqueue("ada")).result(timeout=20) == "email/welcome to ada"
    queued = await client.enqueue_job("password-reset", "bob", _queue_name="email")
    assert queued is not None
    assert await queued.result(timeout=20) == "email/password-reset to bob"
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
    assert await known.result(timeout=20) == "welcomed"
    assert await unknown.result(timeout=20) == ["farewell", 2, {"to": "ada"}]
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
    assert await lost.result(timeout=20) == "ada"


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
        await one.result(timeout=20)
    assert sorted(seen) == sorted(names)


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
    assert await (await image.enqueue(Resize(type="resize"))).result(timeout=20) == "resized to 100"
    queued = await client.enqueue("image", {"type": "compress"})
    assert await queued.result(timeout=20) == "compressed"


# -- B137, B141-B143 --------------------------------------------------------------------------


async def test_b137_old_names_still_run(client: Client, work: Work) -> None:
    @job("mail.welcome", aliases=("send_welcome", "welcome_mail"), queue="email", attempts=6)
    async def welcome(ctx: Context, to: str) -> list[Any]:
        return [ctx.function, ctx.attempts, to]

    await work(welcome)
    for name in ("mail.welcome", "send_welcome", "welcome_mail"):
        queued = await client.enqueue(name, {"to": "ada"})
        assert queued.queue == "email"
        assert await queued.result(timeout=20) == [name, 6, "ada"]
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
    assert (await (await name_of_thread.enqueue()).result(timeout=20)).startswith("jobs-function")


async def test_b142_a_job_function_can_just_be_called() -> None:
    @job
    async def add(ctx: Context, a: int, b: int) -> int:
        return a + b

    @job
    def multiply(ctx: Context, a: int, b: int) -> int:
        return a * b

    assert (await add(Context(), 2, 3), await multiply(Context(), 2, b=3)) == (5, 6)


async def test_b143_applications_share_a_server_by_prefix(
    redis_url: str, redis_client: Redis
) -> None:
    @job
    async def greet(ctx: Context) -> str:
        return "hi"

    async with (
        Client.connect(redis_url, prefix="shop") as shop,
        Client.connect(redis_url, prefix="blog") as blog,
    ):
        queued = await greet.options(client=shop, id="g1").enqueue()
        assert not (await greet.options(client=blog, id="g1").enqueue()).duplicate
        worker = Worker([greet], redis_pool=shop, handle_signals=False, burst=True)
        await worker.async_run()
        await worker.close()
        assert await queued.result(timeout=20) == "hi"
        assert await blog.job("g1").state() is State.waiting
        prefixes = {key.partition(b":")[0] async for key in redis_client.scan_iter()}
        assert prefixes <= {b"shop", b"blog", b"arq"}
        assert not await audit(redis_client, prefix="shop", allowed=("blog:*", "*:health-check"))


def test_the_options_of_a_router_are_those_of_job() -> None:
    """`job` names its options for the type checkers; a router's are a `TypedDict` of the same."""
    parameters = [inspect.signature(one).parameters for one in get_overloads(job)]
    (named,) = [set(names) - {"name", "queue"} for names in parameters if "attempts" in names]
    assert set(FunctionOptions.__annotations__) == named
