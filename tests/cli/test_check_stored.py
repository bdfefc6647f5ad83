"""`check` with a server: stored schedules, waiting jobs, how long jobs took."""

from __future__ import annotations

import pytest

from jobs import Client, RedisSettings, Worker, registry
from tests.cli.conftest import Ask, Cli
from tests.cli.sample_app import flaky, sleep


def stored(cli: Cli) -> dict[str, dict[str, str]]:
    findings = cli("check", "--json").json["findings"]
    return {one["subject"]: one for one in findings if "schedule" in one["subject"]}


def test_b88_stored_schedules_are_looked_at(
    cli: Cli, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(client: Client) -> None:
        await client.schedules.upsert("gone", "emial", {}, every="5m")
        await client.schedules.upsert("well", "sleep", {"seconds": 1, "mark": "m"}, every="5m")
        await client.schedules.upsert("wrong", "sleep", {"seconds": 1}, every="5m")

    monkeypatch.delitem(registry.functions, "sleep")  # another program stores them
    ask(work)
    found = stored(cli)
    assert found.keys() == {"schedule gone", "schedule wrong"}
    assert found["schedule gone"]["code"] == "unknown-function"
    assert "did you mean 'email'?" in found["schedule gone"]["what"]
    assert found["schedule wrong"]["code"] == "invalid-arguments"
    assert cli("check").code == 1


def test_a_schedule_that_nobody_makes_the_jobs_of(
    cli: Cli, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.schedules.ORPHANED_MS", -1000 * 3600)
    ask(lambda client: client.schedules.upsert("late", "flaky", {}, every="5m"))
    assert stored(cli)["schedule late"]["code"] == "overdue-schedule"


def test_a_schedule_that_overtakes_its_jobs(cli: Cli, ask: Ask, redis_url: str) -> None:
    async def work(client: Client) -> None:
        payload = {"seconds": 0.3, "mark": "m"}
        await client.schedules.upsert("hurry", "sleep", payload, every="100ms")
        await client.schedules.upsert("calm", "sleep", payload, every="100ms", overlap="skip")
        await client.schedules.pause("hurry")
        await client.schedules.pause("calm")
        await sleep.options(client=client).enqueue(seconds=0.3, mark="m")
        worker = Worker(
            [sleep], redis_settings=RedisSettings.from_dsn(redis_url), burst=True,
            handle_signals=False,
        )  # fmt: skip
        await worker.async_run()
        await worker.close()

    ask(work)
    found = stored(cli)
    assert found.keys() == {"schedule hurry"}
    assert found["schedule hurry"]["code"] == "overtaking-schedule"


def test_a152_large_payloads_that_wait(cli: Cli, ask: Ask) -> None:
    async def work(client: Client) -> None:
        await flaky.options(client=client).enqueue("x" * 40_000)
        await flaky.options(client=client).enqueue("x")

    ask(work)
    (one,) = [
        f for f in cli("check", "--json").json["findings"] if f["code"] == "large-payload"
    ]  # fmt: skip
    assert one["subject"] == "job flaky"
    assert one["what"].startswith("a payload of 39 KiB waits in queue default (")
