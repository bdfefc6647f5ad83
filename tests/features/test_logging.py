"""What is logged: A65 and A149-A151."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import logging.config
from collections.abc import Iterator
from typing import Any

import pytest

from jobs import Client, Context, JobFailed, fixed, job, logs
from tests.features.conftest import Work
from tests.helpers import cpu
from tests.helpers.waiting import wait_until

own = logging.getLogger("shop.jobs.email")


class Written(io.StringIO):
    """What a handler has written, line by line."""

    @property
    def entries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]

    def of(self, logger: str) -> list[dict[str, Any]]:
        return [entry for entry in self.entries if entry["logger"] == logger]


@pytest.fixture
def written() -> Iterator[Written]:
    """JSON logs of everything, as `logs.configure` writes them."""
    stream, root = Written(), logging.getLogger()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.JsonFormatter())
    handler.addFilter(logs.JobFilter())
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield stream
    root.removeHandler(handler)
    root.setLevel(before)


@job("note", attempts=2, backoff=fixed("1ms"))
async def note(ctx: Context, how: str) -> None:
    if how == "fail":
        raise ValueError("secret text")
    own.info("sending", extra={"to": "ada@example.com", "template": how})


async def test_a65_the_life_of_a_job_is_logged(
    client: Client, work: Work, written: Written
) -> None:
    worker = await work(note)
    await (await note.options(id="n1").enqueue("welcome")).result(timeout=20)
    with pytest.raises(JobFailed):
        await (await note.options(id="n2").enqueue("fail")).result(timeout=20)
    await worker.close()
    told = [(e["event"], e["level"]) for e in written.of("jobs.worker") if e.get("job_id") == "n1"]
    assert told == [("started", "INFO"), ("completed", "INFO")]
    told = [(e["event"], e["level"]) for e in written.of("jobs.worker") if e.get("job_id") == "n2"]
    assert told == [
        *(("started", "INFO"), ("retried", "WARNING")),
        *(("started", "INFO"), ("failed", "ERROR")),
    ]


async def test_a149_automatic_lines_have_their_fields(
    client: Client, work: Work, written: Written
) -> None:
    worker = await work(note)
    with pytest.raises(JobFailed):
        await (await note.options(id="n2").enqueue("fail")).result(timeout=20)
    lines = [entry for entry in written.of("jobs.worker") if "event" in entry]
    job_fields = {"job_id": "n2", "function": "note", "queue": "default", "worker": worker.id}
    for line in lines:
        assert line.items() >= job_fields.items()
    assert [line["attempt"] for line in lines] == [1, 1, 2, 2]
    failed = lines[-1]
    assert (failed["event"], failed["attempts_made"], failed["error"]) == (
        "failed",
        2,
        "ValueError",
    )
    assert "ValueError: secret text" in failed["traceback"]
    assert "waited_ms" in lines[0]


def test_a149_fields_may_have_other_names() -> None:
    formatter = logs.JsonFormatter({"job_id": "jobId", "function": "jobName"})
    record = logging.makeLogRecord({"msg": "Job completed", "job_id": "7", "function": "email"})
    entry = json.loads(formatter.format(record))
    assert (entry["jobId"], entry["jobName"], entry["message"]) == ("7", "email", "Job completed")
    assert not {"job_id", "function", "args", "msg", "taskName"} & entry.keys()


async def test_a150_every_record_inside_a_job_carries_its_job(
    client: Client, work: Work, written: Written
) -> None:
    """In the function, in tasks and threads that it starts, and between jobs that run at once."""
    both = asyncio.Barrier(2)

    @job("inner")
    async def inner(ctx: Context, who: str) -> None:
        await both.wait()
        own.info("loop %s", who)
        await asyncio.create_task(task(who))
        await asyncio.to_thread(own.info, "thread %s", who)

    async def task(who: str) -> None:
        await asyncio.sleep(0)
        own.info("task %s", who)

    @job("plain")
    def plain(ctx: Context, who: str) -> None:
        own.info("plain %s", who)

    worker = await work(inner, plain)
    queued = [await inner.options(id=who).enqueue(who) for who in ("a", "b")]
    queued.append(await plain.options(id="c").enqueue("c"))
    for one in queued:
        await one.result(timeout=20)
    lines = written.of("shop.jobs.email")
    assert len(lines) == 7
    for line in lines:
        who = line["message"].split()[1]
        assert (line["job_id"], line["queue"], line["attempt"]) == (who, "default", 1)
        assert (line["function"], line["worker"]) == ("plain" if who == "c" else "inner", worker.id)
    own.info("outside")
    assert "job_id" not in written.entries[-1]
    assert logs.job_fields() == {}


async def test_a150_a_process_says_whose_job_it_runs(
    client: Client, work: Work, written: Written
) -> None:
    """Of all the jobs that one process runs, each of its own."""

    def told() -> list[dict[str, Any]]:
        return [e for e in written.of("tests.cpu") if e["message"].startswith("told")]

    await work(cpu.compute, max_processes=1)
    for name in ("one", "two"):
        await (await cpu.compute.options(id=name).enqueue("log", name)).result(timeout=20)
    await wait_until(lambda: len(told()) == 2, description="the records are written")
    assert [(entry["message"], entry["job_id"]) for entry in told()] == [
        ("told one", "one"),
        ("told two", "two"),
    ]


async def test_a150_fields_of_the_application_are_kept(
    client: Client, work: Work, written: Written
) -> None:
    await work(note)
    await (await note.options(id="n1").enqueue("welcome")).result(timeout=20)
    (line,) = written.of("shop.jobs.email")
    assert (line["to"], line["template"], line["job_id"]) == ("ada@example.com", "welcome", "n1")


async def test_a151_the_logging_of_the_standard_library_is_all_there_is(
    client: Client, work: Work
) -> None:
    """An application's own configuration takes the filter by name; other loggers ask for the
    fields.
    """
    stream = Written()
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "incremental": False,
            "filters": {"job": {"()": "jobs.logs.JobFilter"}},
            "formatters": {"line": {"format": "%(name)s [%(job_id)s] %(message)s"}},
            "handlers": {
                "own": {
                    "class": "logging.StreamHandler",
                    "stream": stream,
                    "filters": ["job"],
                    "formatter": "line",
                }
            },
            "loggers": {"shop": {"handlers": ["own"], "level": "INFO", "propagate": False}},
        }
    )
    fields: list[dict[str, Any]] = []

    @job("bridged")
    async def bridged(ctx: Context) -> None:
        fields.append(logs.job_fields())
        own.info("hello")

    try:
        worker = await work(bridged)
        await (await bridged.options(id="b1").enqueue()).result(timeout=20)
    finally:
        logging.getLogger("shop").handlers.clear()
        logging.getLogger("shop").propagate = True
    assert stream.getvalue() == "shop.jobs.email [b1] hello\n"
    assert fields == [
        {
            "job_id": "b1",
            "function": "bridged",
            "queue": "default",
            "attempt": 1,
            "worker": worker.id,
        }
    ]
