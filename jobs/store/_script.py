"""Loads the Lua files; the header of a file is its signature.

    #!lua flags=allow-oom
    -- One sentence of purpose.
    -- keys: ready later          names of jobs.keys.QueueKeys
    -- args: now:int id:str rest:list
    -- returns: what comes back
    -- include: time record       files of lua/lib, put in on this line

`keys`, `args` and `include` lines are turned into Lua on those same lines, so that an error of
the server names the file's own line. `rest:list` is the index of the first of the remaining
arguments.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from operator import attrgetter
from typing import Any, Protocol

from redis.exceptions import NoScriptError

from jobs.keys import QueueKeys

#: Items in one call of a script: a few ms of the server at most (FAULTS rule 6).
MAX_ITEMS = 100

_LUA = files("jobs.store") / "lua"
_HEADER = re.compile(r"^-- (keys|args|include): (.*)$")


class AsyncCommands(Protocol):
    """The one method of an asynchronous client that scripts need."""

    async def execute_command(self, *args: Any, **options: Any) -> Any: ...


class SyncCommands(Protocol):
    """The one method of a blocking client that scripts need."""

    def execute_command(self, *args: Any, **options: Any) -> Any: ...


class Script:
    """One Lua file: what it takes, its text for the server, and how to call it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.keys: tuple[str, ...] = ()
        self.args: tuple[str, ...] = ()
        lines = (_LUA / f"{name}.lua").read_text(encoding="utf-8").splitlines()
        self.source = "\n".join([lines[0], *map(self._translate, lines[1:])])
        self.sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()
        self._takes_rest = "rest" in self.args
        self._fixed = len(self.args) - self._takes_rest
        self._names = _getter(self.keys)

    def command(self, keys: QueueKeys, args: Sequence[Any], rest: Sequence[Any] = ()) -> list[Any]:
        """The EVALSHA command of one call.

        Raises:
            TypeError: the number of arguments is not the one that the header declares.
        """
        if len(args) != self._fixed or (rest and not self._takes_rest):
            raise TypeError(f"{self.name}.lua takes {self.args}, got {len(args)} and {len(rest)}")
        names = self._names(keys)
        return ["EVALSHA", self.sha, len(self.keys), *names, *args, *rest]

    async def __call__(
        self, client: AsyncCommands, keys: QueueKeys, args: Sequence[Any], rest: Sequence[Any] = ()
    ) -> Any:
        """Run the script; sends its text when the server does not know it (any more)."""
        command = self.command(keys, args, rest)
        try:
            return await client.execute_command(*command)
        except NoScriptError:
            return await client.execute_command("EVAL", self.source, *command[2:])

    def call(
        self, client: SyncCommands, keys: QueueKeys, args: Sequence[Any], rest: Sequence[Any] = ()
    ) -> Any:
        """The same on a blocking client, for threads."""
        command = self.command(keys, args, rest)
        try:
            return client.execute_command(*command)
        except NoScriptError:
            return client.execute_command("EVAL", self.source, *command[2:])

    def _translate(self, line: str) -> str:
        if not (match := _HEADER.match(line)):
            return line
        kind, words = match[1], match[2].split()
        if kind == "include":
            return " ".join(map(_library, words))
        if kind == "keys":
            self.keys = tuple(words)
            return _assign(words, [f"KEYS[{n}]" for n in range(1, len(words) + 1)])
        names, types = zip(*(word.split(":") for word in words), strict=True)
        self.args = names
        return _assign(names, [_argument(kind, n) for n, kind in enumerate(types, 1)])


def _getter(names: tuple[str, ...]) -> Callable[[QueueKeys], tuple[str, ...]]:
    """All the keys of a script at once."""
    first, *others = names
    if not others:
        return lambda keys: (getattr(keys, first),)
    return attrgetter(first, *others)


@cache
def script(name: str) -> Script:
    """The script of `lua/<name>.lua`, loaded once."""
    return Script(name)


def _assign(names: Sequence[str], values: Sequence[str]) -> str:
    return f"local {', '.join(names)} = {', '.join(values)}"


def _argument(kind: str, position: int) -> str:
    forms = {
        "int": f"tonumber(ARGV[{position}])",
        "str": f"ARGV[{position}]",
        "list": f"{position}",
    }
    return forms[kind]


def _library(name: str) -> str:
    lines = (_LUA / "lib" / f"{name}.lua").read_text(encoding="utf-8").splitlines()
    return " ".join(line.strip() for line in lines if not line.lstrip().startswith("--"))
