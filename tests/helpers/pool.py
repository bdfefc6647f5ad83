"""A pool of processes without a worker, and what its tests ask about processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jobs import Context, JobFunction
from jobs.engine.processes import ProcessPool
from tests.helpers import cpu
from tests.helpers.waiting import wait_until

FUNCTIONS: dict[str, JobFunction[Any, Any]] = {
    "thumbnail": cpu.thumbnail,
    "facts": cpu.facts,
    "compute": cpu.compute,
    "needy": cpu.needy,
    "inside_out": cpu.inside_out,
    "apart": cpu.declared_apart,
    "shelved": cpu.Shelf.shelved,
}
OUTSIDE_IN: JobFunction[Any, Any] = cpu.outside_in.__wrapped__  # type: ignore[attr-defined]


def make_pool(size: int | None) -> ProcessPool:
    functions = [item.function for item in (*FUNCTIONS.values(), OUTSIDE_IN)]
    return ProcessPool(functions, size)


async def run(pool: ProcessPool, name: str, *args: Any, ctx: Context | None = None) -> Any:
    function = (OUTSIDE_IN if name == "outside_in" else FUNCTIONS[name]).function
    return await pool.run(function, ctx or Context(), args, {})


async def do(pool: ProcessPool, how: str, value: Any = None) -> Any:
    return await run(pool, "compute", how, value)


def alive(pid: int) -> bool:
    """Whether a process runs; one that is dead and not yet waited for does not."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


async def written(mark: Path) -> int:
    """The process id that a function wrote."""
    return int(await wait_until(lambda: content(mark), description="it began", timeout=20))


def content(mark: Path) -> str:
    return mark.read_text() if mark.exists() else ""
