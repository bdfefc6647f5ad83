"""Options are layered, framework < queue < function < call; tags and headers add up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from jobs import (
    Client,
    Context,
    JobOptions,
    Queue,
    Worker,
    fixed,
    job,
)
from jobs.cli.run import run
from jobs.errors import InvalidOption
from tests.features.conftest import Work

SOON = fixed("1ms")


class Mail(BaseModel):
    to: str
    copies: int = 1


# -- labels --------------------------------------------------------------------------------


async def test_b132_tags(client: Client, work: Work) -> None:
    @job("bill", tags=["billing"])
    async def bill(ctx: Context) -> list[str]:
        return list(ctx.tags)

    plain = await bill.options(client=client).enqueue()
    tagged = await bill.options(client=client, tags=["customer:42", "billing"]).enqueue()
    assert (await plain.details()).tags == ["billing"]
    assert set((await tagged.details()).tags) == {"billing", "customer:42"}
    await work(bill)
    assert await plain.result(timeout=20) == ["billing"]
    assert set(await tagged.result(timeout=20)) == {"billing", "customer:42"}
    wrong: list[Any] = ["billing", [""], ["x" * 129], [1], [f"t{n}" for n in range(11)], ["a\n"]]
    for tags in wrong:
        with pytest.raises(InvalidOption, match="tag"):
            await client.enqueue("bill", {}, tags=tags)
    with pytest.raises(InvalidOption, match="those of its function counted"):
        await bill.options(client=client, tags=[f"t{n}" for n in range(10)]).enqueue()


async def test_b133_headers(client: Client, work: Work) -> None:
    @job("trace", headers={"tenant": "none", "app": "shop"})
    async def trace(ctx: Context) -> dict[str, str]:
        return dict(ctx.headers)

    @job("bare")
    async def bare(ctx: Context) -> dict[str, str]:
        return dict(ctx.headers)

    queued = await trace.options(client=client, headers={"tenant": "acme"}).enqueue()
    none = await bare.options(client=client).enqueue()
    assert (await queued.details()).headers == {"tenant": "acme", "app": "shop"}
    await work(trace, bare)
    assert await queued.result(timeout=20) == {"tenant": "acme", "app": "shop"}
    assert await none.result(timeout=20) == {}
    many = {str(n): "x" for n in range(33)}
    for headers in ("tenant", {"a": 1}, {1: "a"}, {"a": "x" * 5000}, many):
        with pytest.raises(InvalidOption, match="header"):
            await client.enqueue("trace", {}, headers=headers)
    made = Context(tags=["a"], headers={"b": "c"})
    assert (made.tags, made.headers) == (("a",), {"b": "c"})


# -- layers --------------------------------------------------------------------------------


async def test_a36_the_nearest_layer_that_says_something_holds(client: Client, work: Work) -> None:
    """Each option through the layers, as the worker that runs the job sees it."""
    place = Queue("q", defaults=JobOptions(attempts=4, timeout=40, expires="4h", tags=["queue"]))

    @job("tell", queue="q", attempts=5, tags=["function"])
    async def tell(ctx: Context) -> tuple[int, list[str]]:
        return ctx.attempts, list(ctx.tags)

    @job("plain", queue="q")
    async def plain(ctx: Context) -> int:
        return ctx.attempts

    @job("bare")
    async def bare(ctx: Context) -> int:
        return ctx.attempts

    await work(tell, plain, bare, queues=[place])
    assert await (await bare.options(client=client).enqueue()).result(timeout=20) == 3
    assert await (await plain.options(client=client).enqueue()).result(timeout=20) == 4
    told = await (await tell.options(client=client).enqueue()).result(timeout=20)
    assert (told[0], set(told[1])) == (5, {"queue", "function"})
    called = await tell.options(client=client, attempts=6, tags=["call"]).enqueue()
    told = await called.result(timeout=20)
    assert (told[0], set(told[1])) == (6, {"queue", "function", "call"})
    for name in ("attempt", "retry_fo", "tag"):
        with pytest.raises(InvalidOption, match="did you mean"):
            await client.enqueue("bare", {}, **{name: 1})
    with pytest.raises(InvalidOption, match=r"`job` has no option 'attempt' \(did you mean"):
        job("wrong", attempt=3)  # type: ignore[call-overload]  # the point


APP = """
from jobs import Context, JobOptions, Keep, Queue, Timeout, exponential, fixed, job

imports = Queue("imports", concurrency=3, rate="30/s", defaults=JobOptions(
    attempts=2, backoff=fixed(5), retry_on={OSError: "fail"}, tags=["bulk"]))

def classify(error): ...

@job("import", queue=imports, attempts=4, timeout=Timeout(soft=25, hard=30),
     retry_on={ValueError: classify}, keep_failed=Keep(count=9), tags=["csv"],
     headers={"tenant": "acme", "api_key": "hunter2"}, no_retry=(KeyError,))
async def import_file(ctx: Context, path: str) -> None: ...

async def plain(ctx, n: int) -> None: ...

class WorkerSettings:
    functions = [import_file, plain]
    queues = [imports]
    max_tries = 7
"""


def config_show(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    """The document of `arq-jobs config show --json`."""
    capsys.readouterr()
    assert run(["config", "show", "--json", *words]) == 0
    return json.loads(capsys.readouterr().out)


def rows(options: list[dict[str, Any]]) -> dict[str, tuple[Any, str]]:
    return {row["name"]: (row["value"], row["source"]) for row in options}


def test_a36_config_show_prints_each_value_and_where_it_came_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "shown_app.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    app = ("--app", "shown_app:WorkerSettings")
    shown = config_show(capsys, *app)
    functions = {entry["name"]: rows(entry["options"]) for entry in shown["functions"]}
    queues = {entry["name"]: rows(entry["options"]) for entry in shown["queues"]}
    mine, plain = functions["import"], functions["plain"]
    assert mine["attempts"] == (4, "function")
    assert mine["backoff"] == ("fixed 5 s", "queue")
    assert mine["priority"] == (3, "framework")
    assert mine["timeout"] == ("soft 25 s, hard 30 s", "function")
    assert mine["retry_on"][1] == "function + queue"
    assert "OSError: fail" in mine["retry_on"][0]
    assert "KeyError: fail" in mine["retry_on"][0]
    assert "ValueError: as classify decides" in mine["retry_on"][0]
    assert mine["keep_failed"] == ("9 jobs", "function")
    assert mine["keep_cancelled"] == ("as keep_completed", "framework")
    assert mine["tags"] == ("csv, bulk", "function + queue")
    assert mine["expires"] == (None, "framework")
    assert "hunter2" not in str(shown)
    assert mine["headers"][0] == "tenant: acme, api_key: ***"
    assert plain["attempts"] == (7, "worker")
    assert queues["imports"]["attempts"] == (2, "queue")
    assert queues["imports"]["concurrency"] == (3, "queue")
    assert queues["default"]["concurrency"] == (10, "framework")
    every = {
        option for option in JobOptions.__dataclass_fields__ if option not in ("retry", "no_retry")
    }
    for entry in [*functions.values(), *queues.values()]:
        assert every <= entry.keys()

    one = config_show(capsys, *app, "--function", "import")
    assert (one["settings"], one["queues"], len(one["functions"])) == ([], [], 1)
    assert run(["config", "show", *app, "--queue", "import"]) != 0
    assert "did you mean 'imports'" in capsys.readouterr().err
    assert run(["config", "show", *app]) == 0
    assert "function.import.attempts" in capsys.readouterr().out


async def test_a36_what_is_shown_is_what_a_worker_uses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The plan that the engine makes of a function has the values that were shown."""
    from jobs.cli.application import of
    from jobs.engine.plans import plan_for

    (tmp_path / "used_app.py").write_text(APP)
    monkeypatch.syspath_prepend(str(tmp_path))
    import used_app  # type: ignore[import-not-found]  # written above

    app = of(used_app.WorkerSettings)
    worker = Worker(used_app.WorkerSettings.functions, queues=used_app.WorkerSettings.queues,
                    max_tries=7)  # fmt: skip
    for name, function in app.functions.items():
        queue = worker.queues[function.queue or "default"]
        plan = plan_for(worker._registry[name], queue.defaults)
        shown = config_show(capsys, "--app", "used_app:WorkerSettings", "--function", name)
        values = rows(shown["functions"][0]["options"])
        assert plan.attempts == values["attempts"][0]
        assert str(plan.backoff) == values["backoff"][0]
        assert ", ".join(plan.tags) == (values["tags"][0] or "")
        assert plan.traceback_limit == values["traceback_limit"][0]


def test_b132_b133_labels_and_limits_of_time_on_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JOBS_REDIS_URL", "redis://localhost:1")  # a dry run asks no server
    app = ("--app", "tests.cli.sample_app:WorkerSettings")
    words = ["--note", "x", "--tag", "a", "--tag", "b", "--header", "tenant=acme"]
    words += ["--retry-for", "2d", "--start-by", "2030-01-01T00:00Z", "--dry-run", "--json"]
    capsys.readouterr()
    assert run(["enqueue", *app, "flaky", *words]) == 0
    options = json.loads(capsys.readouterr().out)["job"]["options"]
    assert (options["tags"], options["headers"]) == (["a", "b"], {"tenant": "acme"})
    assert (options["retry_for"], options["start_by"]) == (172_800_000, 1_893_456_000_000)
    assert run(["enqueue", *app, "flaky", "--header", "tenant", "--dry-run"]) != 0
    assert "expected NAME=VALUE" in capsys.readouterr().err
