"""Rules that every script keeps: declared keys only, replays, and a server that forgot it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import fields
from pathlib import Path

import pytest

from jobs.keys import QueueKeys, queue_keys
from jobs.store import pausing
from jobs.store._script import Script, script
from jobs.store.once import OnceKeys
from tests.helpers.source import ROOT
from tests.store.steps import NOW, Steps

LUA = ROOT / "jobs" / "store" / "lua"
SCRIPTS = sorted(path.stem for path in LUA.glob("*.lua"))
KEYS = {field.name for field in fields(QueueKeys)}
#: Scripts about one key beside the queues.
BESIDE = {"once_begin", "once_end"}
#: The first argument behind the command's name.
FIRST = re.compile(r"redis\.call\(\s*'(?P<command>[A-Z]+)'\s*(?:,\s*(?P<key>[^,)]+))?")
#: Commands that name no key.
KEYLESS = {"TIME", "PUBLISH"}
#: Variables that hold one of the declared keys.
CHOSEN = {"zset", "hash", "set", "TERMINAL[state]", "STATES[i][2]"}

every_script = pytest.mark.parametrize("name", SCRIPTS)


def code(name: str) -> str:
    """The script as it is sent, without comments."""
    return re.sub(r"--[^\n]*", "", Script(name).source)


def table_values(text: str) -> set[str]:
    """What stands in tables of states, such as {completed = completed}: keys, and codes 1 to 4."""
    return set(re.findall(r"(?:completed|failed|cancelled|expired) = (\w+)", text))


@every_script
def test_a_script_touches_only_keys_that_it_declares(name: str) -> None:
    loaded = Script(name)
    assert set(loaded.keys) <= (set(OnceKeys._fields) if name in BESIDE else KEYS)
    assert len(set(loaded.keys)) == len(loaded.keys)
    touched = {m["key"].strip() for m in FIRST.finditer(code(name)) if m["command"] not in KEYLESS}
    unknown = touched - set(loaded.keys) - CHOSEN
    assert not unknown, f"{name}.lua calls with {unknown}, which its `-- keys:` line does not name"
    assert table_values(code(name)) <= set(loaded.keys) | set("1234")


@every_script
def test_a_script_declares_no_key_in_vain(name: str) -> None:
    loaded = Script(name)
    body = "\n".join(loaded.source.splitlines()[1:])
    unused = [key for key in loaded.keys if len(re.findall(rf"\b{key}\b", body)) < 2]
    assert not unused


@every_script
def test_no_script_calls_by_a_computed_command(name: str) -> None:
    assert "pcall" not in code(name)
    assert not re.findall(r"redis\.call\(\s*[^'\s]", code(name))


@pytest.mark.parametrize("name", [name for name in SCRIPTS if name not in BESIDE])
def test_all_keys_of_a_call_share_one_slot(name: str) -> None:
    command = script(name).command(queue_keys("a{b}c"), ["1"] * script(name)._fixed)
    names = command[3 : 3 + command[2]]
    assert {key[: key.index("}") + 1] for key in names} == {"jobs:{a%7Bb%7Dc}"}


def test_a_wrong_number_of_arguments_is_an_error_that_names_them() -> None:
    with pytest.raises(TypeError, match=r"renew\.lua takes \('now', 'lease_ms', 'rest'\), got 1"):
        script("renew").command(queue_keys("q"), [1])
    with pytest.raises(TypeError, match="and 1"):
        script("beat").command(queue_keys("q"), [0, "w", 1, "{}"], ["more"])


@every_script
def test_an_error_names_the_files_own_line(name: str, tmp_path: Path) -> None:
    """Includes and declarations are put in on their own lines, so line numbers stay."""
    written = (LUA / f"{name}.lua").read_text(encoding="utf-8").splitlines()
    assert len(Script(name).source.splitlines()) == len(written)


async def test_a_server_that_forgot_its_scripts_learns_them_again(steps: Steps) -> None:
    """S19 in one call each."""
    for n in range(5):
        await steps.client.script_flush()
        assert await steps.add(f"{n}") == "+"
        await steps.client.script_flush()
        assert [job.id for job in await steps.claim(1)] == [f"{n}"]


async def test_every_script_can_be_replayed(steps: Steps) -> None:
    """The second of two equal calls changes nothing: rule 15."""
    await steps.add("a", "b", "c", "d", "e")
    await steps.claim(4)
    deadline = (await steps.dump())["leases"]["a"]
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: steps.add("x", again=True),
        lambda: steps.step(request=2, want=1),
        lambda: steps.renew(("b", 1)),
        lambda: steps.rescue_seen([("a", deadline)]),
        lambda: steps.cancel("a"),
        lambda: steps.cancel("b"),
        lambda: steps.retry("a"),
        lambda: steps.unpark("c"),
        lambda: steps.promote("e"),
        lambda: steps.remove("d"),
        lambda: pausing.pause(steps.client, steps.keys, ["f"], "why", now_ms=NOW),
        lambda: pausing.resume(steps.client, steps.keys, ["f"], now_ms=NOW),
        lambda: steps.change("e", body=b"new", priority=1, delay_ms=5_000),
        steps.prune,
        lambda: steps.watch("c"),
        lambda: steps.tick(NOW),
    ]
    for call in calls:
        await call()
        before = await steps.dump()
        await call()
        assert await steps.changes(before) == {}
        await steps.assert_sound()
