"""Jobs that failed for good: the rows on dead letters, one test each and some more."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from jobs import (
    Client,
    Context,
    DeadLetter,
    Fail,
    JobFailed,
    JobOptions,
    Keep,
    Queue,
    State,
    clock,
    fixed,
    job,
)
from jobs.errors import (
    InvalidFilter,
    InvalidPayload,
    JobNotFound,
    UnsafeAll,
    WrongState,
)
from jobs.keys import queue_keys
from jobs.operations.actions import Progress
from jobs.operations.letter_files import FileArchive, _cell, export
from jobs.store.audit import audit
from tests.features.conftest import Work
from tests.helpers.waiting import wait_until


class Email(BaseModel):
    to: str
    template: str = "welcome"


@job("letters.send", queue="email", attempts=2, backoff=fixed("1ms"))
async def send(ctx: Context, email: Email) -> str:
    if email.to.startswith("bad"):
        raise ConnectionError(f"550 no mailbox for {email.to}, try {ctx.attempt}")
    return f"sent to {email.to}"


@job("letters.charge", queue="billing", attempts=1)
async def charge(ctx: Context, cents: int, *, currency: str = "EUR") -> None:
    raise Fail(f"card {cents} refused at 0x7f{cents:04x}")


@job("letters.book", queue="billing", attempts=1)
async def book(ctx: Context, n: int) -> None:
    if n % 2:
        raise ValueError(f"no account {n}")
    raise ValueError(f"ledger {n} is 'closed'")


async def fail(client: Client, work: Work, *requests: Any, **options: Any) -> list[str]:
    """Enqueue these jobs, run them until they failed, and stop the worker."""
    worker = await work(send, charge, book, **options)
    handles = await client.enqueue_many(requests)
    for handle in handles:
        with pytest.raises(JobFailed):
            await handle.result(timeout=20)
    await worker.close()
    return [handle.id for handle in handles]


async def test_a120_the_failing_transition_itself_makes_the_dead_letter(
    client: Client, work: Work
) -> None:
    """Out of attempts, not before; and no listener has a part in it."""
    began_ms = clock.now_ms()
    (job_id,) = await fail(client, work, send.options(id="e1").request(Email(to="bad@x.org")))
    info = await client.job(job_id, "email").details()
    assert [entry["outcome"] for entry in info.history] == ["retried", "failed"]
    letter = await client.dead_letters("email").get(job_id)
    assert (letter.queue_name, letter.job_id, letter.job_type) == ("email", "e1", "letters.send")
    assert letter.job_data == {"to": "bad@x.org", "template": "welcome"}
    assert letter.error.type == "ConnectionError"
    assert letter.error.message == "550 no mailbox for bad@x.org, try 2"
    assert "in send" in letter.error.stack
    assert letter.attempts == 2
    assert began_ms <= letter.failed_at.timestamp() * 1000 <= clock.now_ms() + 1000


async def test_a121_the_record_names_the_job_the_error_and_the_time(
    client: Client, work: Work
) -> None:
    await fail(client, work, charge.options(id="c1").request(995, currency="USD"))
    record = (await client.dead_letters("billing").get("c1")).record()
    assert record["originalJob"] == "letters.charge"
    assert record["error"]["message"].startswith("card 995 refused")
    assert record["failedAt"].endswith("+00:00")


async def test_a122_the_record_has_all_fields_of_bullmq(client: Client, work: Work) -> None:
    await fail(client, work, charge.options(id="c1").request(995, currency="USD"))
    record = (await client.dead_letters("billing").get("c1")).record()
    assert record["originalQueue"] == "billing"
    assert record["originalJobId"] == "c1"
    assert record["data"] == {"cents": 995, "currency": "USD"}
    assert set(record["error"]) == {"message", "stack"}
    assert record["attempts"] == 1


async def test_a123_list_get_edit_redrive_and_discard(client: Client, work: Work) -> None:
    bad = [send.options(id=f"e{n}").request(Email(to=f"bad{n}@x.org")) for n in range(4)]
    await fail(client, work, *bad)
    letters = client.dead_letters("email")
    page = await letters.list()
    assert {letter.job_id for letter in page.letters} == {"e0", "e1", "e2", "e3"}
    assert page.cursor is None
    assert [letter.job_id for letter in (await letters.list("args.to:bad2@x.org")).letters] == [
        "e2"
    ]

    await letters.edit("e2", {"to": "good@x.org"})
    assert (await letters.redrive("id:e1")).done == 1
    assert (await letters.discard(ids=["e0", "nobody"])).partial
    assert {letter.job_id for letter in (await letters.list()).letters} == {"e3"}
    await work(send)
    assert await client.job("e2", "email").result(timeout=20) == "sent to good@x.org"
    assert (await client.job("e2", "email").details()).kwargs["template"] == "welcome"
    with pytest.raises(JobFailed):
        await client.job("e1", "email").result(timeout=20)
    with pytest.raises(JobNotFound):
        await letters.get("e0")


async def test_b151_replay_with_an_edited_payload_is_checked_first(
    client: Client, work: Work
) -> None:
    await fail(client, work, charge.options(id="c1").request(995))
    letters = client.dead_letters("billing")
    for changes in ({"cents": "many"}, {"euros": 9}):
        with pytest.raises(InvalidPayload):
            await letters.edit("c1", changes)
    assert (await letters.get("c1")).job_data == {"cents": 995}, "nothing half done"
    await client.enqueue("letters.charge", {"cents": 1}, queue="billing", id="w")
    with pytest.raises(WrongState, match="it is waiting"):
        await letters.edit("w", {"cents": 2})
    with pytest.raises(JobNotFound):
        await letters.edit("nobody", {"cents": 2})


async def test_b178_errors_are_grouped_by_function_and_fingerprint(
    client: Client, work: Work
) -> None:
    requests = [
        *(charge.options(id=f"c{n}").request(n * 100) for n in range(1, 8)),
        *(book.options(id=f"b{n}").request(n) for n in range(1, 6)),
    ]
    await fail(client, work, *requests)
    found = await client.dead_letters("billing").groups()
    assert (found.counted, found.bounded) == (12, [])
    assert [(g.function, g.error_type, g.count) for g in found.groups] == [
        ("letters.charge", "Fail", 7),
        ("letters.book", "ValueError", 3),
        ("letters.book", "ValueError", 2),
    ]
    cards = found.groups[0]
    assert len(cards.ids) == 5
    assert set(cards.ids) <= {f"c{n}" for n in range(1, 8)}
    assert cards.first <= cards.last
    assert len({group.fingerprint for group in found.groups}) == 3
    bounded = await client.dead_letters("billing").groups(bound=5)
    assert (bounded.counted, bounded.bounded) == (5, [("billing", State.failed)])
    assert (await client.dead_letters().groups("queue:nothing")).groups == []


async def test_a123_redrive_at_a_rate_goes_on_where_it_stopped(client: Client, work: Work) -> None:
    await fail(client, work, *(charge.options(id=f"c{n:02}").request(n) for n in range(12)))
    letters = client.dead_letters("billing")

    class Stop(Exception):
        """Somebody pressed Ctrl-C."""

    def stop(progress: Progress) -> None:
        if progress.done == 8:
            raise Stop

    with pytest.raises(Stop):
        await letters.redrive(everything=True, rate="20/s", on_progress=stop)
    assert (await client.queue("billing").counts())[State.failed] == 4
    began = time.monotonic()
    result = await letters.redrive(everything=True, rate="10/s")
    assert time.monotonic() - began > 0.15, "4 jobs at 10/s, in portions of 2"
    assert (result.total, result.done) == (4, 4)
    assert (await client.queue("billing").counts())[State.waiting] == 12


async def test_a123_export_as_lines_and_as_a_table(client: Client, work: Work) -> None:
    await fail(client, work, *(charge.options(id=f"c{n}").request(n) for n in range(3)))
    letters = client.dead_letters("billing")

    async def chosen() -> AsyncIterator[DeadLetter]:
        async for info in letters.iterate("args.cents:1"):
            yield DeadLetter.of(info)

    lines = io.StringIO()
    assert await export(chosen(), lines) == 1
    assert json.loads(lines.getvalue())["jobData"] == {"cents": 1}
    table = io.StringIO()
    assert await export(chosen(), table, "csv") == 1
    (row,) = csv.DictReader(io.StringIO(table.getvalue()))
    assert (row["jobId"], row["jobType"], row["attempts"]) == ("c1", "letters.charge", "1")
    assert row["error.message"].startswith("card 1 refused")


def test_a123_no_cell_of_a_table_is_a_formula() -> None:
    assert _cell("=cmd()") == "'=cmd()"
    assert _cell("fine") == "fine"


async def test_a123_archive_removes_what_was_taken(
    client: Client, work: Work, tmp_path: Path
) -> None:
    await fail(client, work, *(charge.options(id=f"c{n:03}").request(n) for n in range(120)))
    letters, file = client.dead_letters("billing"), tmp_path / "archive.jsonl"
    assert (await letters.archive(FileArchive(file), older_than="30d")).total == 0
    dry = await letters.archive(FileArchive(file), everything=True, dry_run=True)
    assert (dry.total, file.exists()) == (120, False)
    result = await letters.archive(FileArchive(file), everything=True)
    assert (result.done, result.failed) == (120, 0)
    kept = [json.loads(line) for line in file.read_text().splitlines()]
    assert {entry["id"] for entry in kept} == {f"c{n:03}" for n in range(120)}
    assert kept[0]["letter"]["originalQueue"] == "billing"
    assert kept[0]["history"][-1]["error"]["type"] == "Fail"
    assert file.stat().st_mode & 0o777 == 0o600
    assert (await letters.list()).letters == []
    with pytest.raises(UnsafeAll):
        await letters.archive(FileArchive(file))


async def test_a123_what_the_archive_did_not_take_stays(client: Client, work: Work) -> None:
    await fail(client, work, *(charge.options(id=f"c{n:03}").request(n) for n in range(150)))
    letters = client.dead_letters("billing")
    taken: list[str] = []

    async def full(some: Sequence[dict[str, Any]]) -> None:
        if taken:
            raise OSError("no space left")
        taken.extend(letter["id"] for letter in some)
        await letters.redrive(ids=[taken[0]])  # somebody else, meanwhile

    with pytest.raises(OSError, match="no space"):
        await letters.archive(full, everything=True)
    counts = await client.queue("billing").counts()
    assert (len(taken), counts[State.failed], counts[State.waiting]) == (100, 50, 1)


async def test_a123_purge_by_age(client: Client, work: Work) -> None:
    await fail(client, work, *(charge.options(id=f"c{n}").request(n) for n in range(3)))
    letters = client.dead_letters("billing")
    assert (await letters.purge("1h")).total == 0
    assert (await letters.purge(0, dry_run=True)).total == 3
    assert (await letters.purge(0)).done == 3
    assert (await client.queue("billing").counts())[State.failed] == 0


async def test_b150_all_dead_letters_must_be_said(client: Client, work: Work) -> None:
    await fail(client, work, charge.options(id="c1").request(1))
    letters = client.dead_letters("billing")
    for act in (letters.redrive, letters.discard):
        with pytest.raises(UnsafeAll, match="everything=True"):
            await act()
    with pytest.raises(InvalidFilter, match="leave the state out"):
        await letters.discard("state:completed")
    with pytest.raises(InvalidFilter, match="'billing' alone"):
        await letters.discard("queue:email")
    with pytest.raises(InvalidFilter, match="one queue"):
        await client.dead_letters().discard(ids=["c1"])
    assert (await letters.discard(everything=True)).done == 1


async def test_k10_k11_retention_does_not_change_the_counters(client: Client, work: Work) -> None:
    """Removed letters were failures all the same; kept ones do not keep an alert ringing."""
    nothing = JobOptions(keep_failed=Keep(count=2))
    queue = Queue("billing", defaults=nothing)
    await work(charge, queues=[queue])
    await client.enqueue_many([charge.request(n) for n in range(9)])

    async def all_failed() -> bool:
        return (await client.queue("billing").metrics()).failed == 9

    await wait_until(all_failed, description="all failed")
    figures = await client.queue("billing").metrics()
    assert (figures.failed, figures.dead) == (9, 2)
    assert (await client.dead_letters("billing").discard(everything=True)).done == 2
    figures = await client.queue("billing").metrics()
    assert (figures.failed, figures.dead) == (9, 0), "counters are apart from what is kept"


async def test_the_audit_finds_nothing_after_all_this(client: Client, work: Work) -> None:
    await fail(client, work, *(charge.options(id=f"c{n}").request(n) for n in range(5)))
    letters = client.dead_letters("billing")
    await letters.redrive("id:c1")
    await letters.discard("id:c2")
    await letters.edit("c3", {"cents": 9})
    assert await audit(client, queue_keys("billing")) == []
