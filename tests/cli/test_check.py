"""`check`: what will go wrong, told before it does."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from jobs import (
    Context,
    Keep,
    Queue,
    Router,
    Schedule,
    Unique,
    cron,
    exponential,
    func,
    job,
    schedule,
)
from jobs.cli import application
from jobs.cli.findings import WHY, Finding
from jobs.cli.rules import look_at_code, names_an_hour
from jobs.cli.stored_rules import shortest_gap_ms
from jobs.timetable import Timing
from tests.cli.conftest import Cli, Program
from tests.helpers.source import ROOT


def found(**settings: Any) -> list[Finding]:
    return list(look_at_code(application.of(settings)))


def codes(**settings: Any) -> list[tuple[str, str]]:
    return [(one.code, one.subject) for one in found(**settings)]


class Letter(BaseModel):
    to: str


@job("good", attempts=5, backoff=exponential(2), timeout=30)
async def good(ctx: Context, letter: Letter) -> None: ...


def test_what_is_well_is_not_spoken_of() -> None:
    nightly = Schedule("nightly", "good", {"to": "ada"}, cron="0 3 * * *", tz="Europe/Berlin")
    assert codes(functions=(good,), queues=(Queue("default"),), schedules=(nightly,)) == []


def test_every_finding_has_its_parts() -> None:
    (one,) = found(functions=(job("slow", timeout=0)(good.function.call),))
    assert one.document() == {
        "code": "no-timeout",
        "level": "WARN",
        "subject": "job slow",
        "what": "no limit of time",
        "why": WHY["no-timeout"],
        "fix": 'give it timeout="5m", say',
    }


def test_a152_limits_of_time_and_retries_are_asked_for() -> None:
    async def plain(ctx: dict[str, Any], n: int) -> None: ...

    assert codes(functions=(plain,), job_timeout=None) == [
        ("no-timeout", f"job {plain.__qualname__}"),
        ("no-retry-policy", f"job {plain.__qualname__}"),
    ]
    assert codes(functions=(func(plain, name="p", backoff=exponential(1), timeout=5),)) == []


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"attempts": 1, "backoff": exponential(2)}, "never waited"),
        ({"attempts": 3, "backoff": exponential("1h"), "retry_for": "30m"}, "retry_for (30 m)"),
        ({"attempts": 3, "backoff": exponential("1h"), "expires": "30m"}, "expires (30 m)"),
        ({"attempts": 5, "max_starts": 2}, "max_starts=2"),
    ],
)
def test_b212_options_that_contradict(options: dict[str, Any], word: str) -> None:
    (one,) = found(functions=(job("odd", **options)(good.function.call),))
    assert one.code == "contradictory-options"
    assert word in one.what


@pytest.mark.parametrize(
    "options",
    [
        {"retry": "none"},
        {"attempts": 1},
        {"attempts": 3, "backoff": exponential("1h"), "retry_for": "3h"},
        {"retry_for": "3h", "max_starts": 5},
    ],
)
def test_options_that_agree(options: dict[str, Any]) -> None:
    assert codes(functions=(job("even", **options)(good.function.call),)) == []


def test_dead_letters_that_nobody_hears_of() -> None:
    @job("sad", queue=Queue("q", dead_letter="good"), keep_failed=Keep(count=0))
    async def sad(ctx: Context) -> None: ...

    assert codes(functions=(sad, good)) == [("contradictory-options", "job sad")]


@pytest.mark.parametrize(
    "settings",
    [{"keep_result": 60, "keep_result_forever": True}, {"burst": True, "autorun": False}],
)
def test_settings_that_contradict(settings: dict[str, Any]) -> None:
    assert codes(functions=(good,), **settings) == [("contradictory-options", "settings")]


class Session:
    """No JSON."""


class Heavy(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    session: Session


def test_a152_objects_do_not_belong_into_a_payload() -> None:
    @job("session")
    async def with_session(ctx: Context, session: Session) -> None: ...

    @job("bytes")
    async def with_bytes(ctx: Context, image: bytes | None = None) -> None: ...

    @job("heavy")
    async def with_heavy(ctx: Context, heavy: Heavy) -> None: ...

    wrong = found(functions=(with_session, with_bytes, with_heavy))
    assert [(one.code, one.subject, one.what.split()[0]) for one in wrong] == [
        ("object-in-payload", "job session", "session"),
        ("object-in-payload", "job bytes", "image"),
        ("object-in-payload", "job heavy", "payload"),
    ]


def test_a_key_that_is_free_before_its_job_ends() -> None:
    @job("short", unique=Unique(by="n", ttl="1m"), timeout="5m")
    async def short(ctx: Context, n: int) -> None: ...

    @job("long", unique=Unique(by="n", ttl="10m"), timeout="5m")
    async def long(ctx: Context, n: int) -> None: ...

    @job("until-its-end", unique=True, timeout="5m")
    async def until(ctx: Context, n: int) -> None: ...

    (one,) = found(functions=(short, long, until))
    assert (one.code, one.subject) == ("short-unique-key", "job short")
    assert one.what == "its key is held for 1 m, an attempt may run for 5 m"


def test_queues_and_functions_that_miss_each_other() -> None:
    @job("mail", queue="emial")
    async def mail(ctx: Context) -> None: ...

    wrong = found(functions=(mail,), queues=(Queue("email", dead_letter="gud"),))
    assert [(one.code, one.subject) for one in wrong] == [
        ("queue-without-function", "queue email"),
        ("undeclared-queue", "queue emial"),
        ("unknown-function", "queue email"),
    ]
    assert "did you mean 'email'?" in wrong[1].what
    assert codes(functions=(mail,)) == []  # nothing is declared, so nothing is amiss
    assert codes(functions=(job("m", queue=Queue("own"))(mail.function.call), good),
                 queues=(Queue("default"),)) == []  # fmt: skip


# -- the clock ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "yes"),
    [
        ("*/5 * * * *", False), ("0 * * * *", False), ("30 */5 * * * *", False),
        ("@hourly", False), ("0 9 * * *", True), ("0 * * * 1", True), ("@daily", True),
        ("0 0 9 * * *", True),
    ],
)  # fmt: skip
def test_when_a_zone_matters(expression: str, yes: bool) -> None:
    assert names_an_hour(expression) is yes


def test_a152_a_cron_schedule_without_a_zone() -> None:
    async def tidy(ctx: dict[str, Any]) -> None: ...

    @schedule("0 9 * * *")
    @job("morning")
    async def morning(ctx: Context) -> None: ...

    router = Router()
    router.add(Schedule("in-router", "morning", cron="@daily"))
    wrong = codes(
        functions=(morning, router),
        cron_jobs=(cron(tidy, hour=9, minute=0), cron(tidy, name="often", minute={0, 30})),
        schedules=(
            Schedule("said", "morning", cron="0 9 * * *", tz="UTC"),
            Schedule("interval", "morning", every="5m"),
        ),
    )
    assert [one for one in wrong if one[0] == "cron-without-zone"] == [
        ("cron-without-zone", f"cron job {tidy.__qualname__}"),
        ("cron-without-zone", "schedule in-router"),
        ("cron-without-zone", "schedule morning"),
    ]
    assert codes(functions=(), cron_jobs=(cron(tidy, hour=9),), timezone=UTC) == []


def test_b88_schedules_that_can_make_no_job() -> None:
    wrong = found(
        functions=(good,),
        schedules=(
            Schedule("unknown", "goood", {"to": "ada"}, every="5m"),
            Schedule("incomplete", "good", {}, every="5m"),
            Schedule("heavy", "good", {"to": "a" * 40_000}, every="5m"),
            Schedule("too-heavy", "good", {"to": "a" * 2_000_000}, every="5m"),
        ),
    )
    assert [(one.level, one.code, one.subject) for one in wrong] == [
        ("FAIL", "unknown-function", "schedule unknown"),
        ("FAIL", "invalid-arguments", "schedule incomplete"),
        ("WARN", "large-payload", "schedule heavy"),
        ("FAIL", "large-payload", "schedule too-heavy"),
    ]
    assert "did you mean 'good'?" in wrong[0].what
    assert wrong[1].fix == "`arq-jobs schema good` shows what it takes"
    assert wrong[2].what == "a payload of 39 KiB"


def test_the_shortest_gap() -> None:
    assert shortest_gap_ms(Timing.of({"cron": "0,10 * * * *"})) == 600_000
    over = datetime(2020, 1, 1, tzinfo=UTC)
    early = datetime(2019, 12, 31, tzinfo=UTC)
    assert shortest_gap_ms(Timing.of({"every": "1h", "start": early, "end": over})) is None


# -- the command ----------------------------------------------------------------------------------


PLAIN = "a plain arq function: only Retry and timeouts lead to another attempt"


def test_warnings_end_well_and_strict_does_not(cli: Cli) -> None:
    done = cli("check")
    assert done.code == 0
    assert done.err == "0 errors, 2 warnings in tests.cli.sample_app:WorkerSettings\n"
    assert done.out.splitlines()[:3] == [
        f"WARN  no-retry-policy  job add: {PLAIN}",
        "      why: its first ordinary exception is final: the job is a dead letter at once",
        "      fix: func(…, backoff=exponential(2)), or declare it with @job(attempts=…)",
    ]
    assert cli("check", "--strict").code == 1
    assert cli("check", "-q").out.splitlines() == [
        "no-retry-policy job add", "undeclared-queue queue slow",
    ]  # fmt: skip


def test_codes_can_be_ignored(cli: Cli) -> None:
    words = ("check", "--strict", "--ignore", "undeclared-queue", "--ignore", "no-retry-policy")
    assert (cli(*words).code, cli(*words).out) == (0, "")
    unknown = cli("check", "--ignore", "undeclared-que")
    assert unknown.code == 2
    assert "did you mean 'undeclared-queue'?" in unknown.err


def test_a_document(cli: Cli) -> None:
    document = cli("check", "--json").json
    assert document["ok"] is True
    assert document["server"] == {"asked": True, "reason": None}
    assert {one["code"] for one in document["findings"]} == {"no-retry-policy", "undeclared-queue"}
    assert all(one["why"] and one["fix"] and one["what"] for one in document["findings"])


def test_without_a_server_the_code_is_looked_at(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    away = cli("check", "--redis", "redis://:hunter2@127.0.0.1:1", "--json")
    assert away.code == 0
    assert away.json["server"]["asked"] is False
    assert "hunter2" not in away.out
    monkeypatch.delenv("JOBS_REDIS_URL")
    none = cli("check")
    assert none.code == 0
    assert "the code alone was looked at: no Redis or Valkey server is configured" in none.err
    assert cli("check", "--offline", "--json").json["server"]["reason"] == "--offline"


def test_an_application_that_cannot_be_read(cli: Cli, home: Path) -> None:
    assert cli("check", "--app", "nowhere").code == 2
    (home / "twice_app.py").write_text(
        "from jobs import Schedule\n"
        "class WorkerSettings:\n"
        "    schedules = [Schedule('one', 'x', every='5m'), Schedule('one', 'y', every='5m')]\n"
    )
    done = cli("check", "--app", "twice_app")
    assert done.code == 2
    assert "two schedules are called 'one'" in done.err


def test_a_failure_ends_with_1(program: Program) -> None:
    settings = program.home / "settings.py"
    settings.write_text(
        settings.read_text()
        + "    schedules = [__import__('jobs').Schedule('s', 'flakey', every='5m')]\n"
    )
    done = program("check", "--offline")
    assert done.code == 1
    assert done.out.startswith("FAIL  unknown-function  schedule s: ")
    assert "Traceback" not in done.err


def test_every_code_is_on_its_page() -> None:
    page = (ROOT / "docs/how-to/check.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE) == list(WHY)
