"""Imports point down, type-only imports included; what may be imported from outside, and where."""

from __future__ import annotations

import re
import sys
import tomllib

import pytest

from tests.helpers.source import PACKAGE, ROOT, Import, Module, modules

# From the bottom up. A name is a module of the package or a sub-package with all that is in it.
LAYERS: dict[str, tuple[str, ...]] = {
    "words": (
        "errors", "states", "options", "backoff", "crontab", "durations", "codec", "keys",
        "limits", "uniqueness", "checks", "job_options", "labels", "layers", "retention",
        "retry_rules", "timeouts", "timetable",
    ),
    "store": ("store",),
    "core": (
        "operations", "clock", "config", "connections", "context", "events", "logs", "loop",
        "middleware", "registry", "ids", "requests", "inbox", "handle", "client", "functions",
        "queues", "subscription", "server_check", "metrics", "pool", "wire", "tasks", "lane",
        "sender", "signature", "keyed", "conflicts", "limiter", "asked", "kept", "soft_timeout",
        "arq_client", "depends", "emitting", "once", "routers", "recurring", "schedules",
        "notes", "event_reader",
    ),
    "engine": ("engine",),
    "features": ("flows", "workflows"),
    "public": ("",),  # jobs/__init__.py
    "edges": ("cli", "web", "alerts", "asgi", "testing", "embedded", "demo"),
    "catalog": ("catalog",),
    "roots": ("__main__",),
}  # fmt: skip

BELOW: dict[str, set[str]] = {
    "words": set(),
    "store": {"words"},
    "core": {"words", "store"},
    "engine": {"words", "store", "core"},
    "features": {"words", "store", "core"},
    "public": {"words", "store", "core", "engine", "features"},
    "edges": {"words", "store", "core", "engine", "features", "public"},
    "catalog": {"public"},
    "roots": set(LAYERS),
}

SOCIABLE = {"words", "store", "core"}
"""Layers whose members may import each other (without cycles); features and edges may not."""

EXCEPTIONS: dict[tuple[str, str], str] = {
    ("cli", "embedded"): "`jobs dev` starts the server",
    ("cli", "demo"): "`jobs dev --demo` tells the story",
    ("demo", "embedded"): "the demo starts the server",
    ("demo", "catalog"): "the demo plays the jobs that ship",
    ("catalog", "errors"): "`jobs.errors` is public as a module",
}

HTTPX_HOME = "jobs.catalog._http"
"""The one module that imports httpx: its successor has another name."""

ARQ_LAYERS = {"core", "engine", "public"}
"""Where arq may be imported; everything else would survive its end."""

PURE = {"redis", "asyncio", "arq", "socket", "httpx"}
"""What words may not import: no I/O, no loop, no server."""

BROUGHT_ALONG = {
    "pydantic_core": "one project with pydantic, which pins its version",
    "httpcore": "httpx's own transport",
    "h11": "httpcore's own parser",
    "typing_extensions": "a requirement of pydantic",
}
"""What may be imported without a requirement of its own."""

MODULES = sorted(modules().values(), key=lambda module: module.name)
every_module = pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)


def part_of(name: str) -> str:
    """`jobs.store.queue` -> `store`; the package itself -> the empty name."""
    return name.removeprefix(PACKAGE).removeprefix(".").partition(".")[0]


def layer_of(part: str) -> str | None:
    return next((layer for layer, parts in LAYERS.items() if part in parts), None)


def is_ours(name: str) -> bool:
    return name == PACKAGE or name.startswith(f"{PACKAGE}.")


def refused(importer: str, imported: str, named: str = "") -> str | None:
    """The reason why one module may not import another; None if it may."""
    here, there = part_of(importer), part_of(imported)
    if here == "catalog" and named == PACKAGE:
        return None  # a public name may be that of a module too: `from jobs import cron`
    if here == there or (here, there) in EXCEPTIONS:
        return None
    low, high = layer_of(here), layer_of(there)
    if low is None or high is None:
        return f"{here if low is None else there!r} has no layer: place it in the table LAYERS"
    if low == high:
        return None if low in SOCIABLE else f"{low} do not import each other"
    if high not in BELOW[low]:
        return f"{low} may not import {high}"
    return None


def own(module: Module) -> list[Import]:
    return [found for found in module.imports if is_ours(found.target)]


def foreign(module: Module) -> set[str]:
    names = {found.target.partition(".")[0] for found in module.imports}
    return names - {PACKAGE, "__future__"}


@every_module
def test_every_module_has_a_layer(module: Module) -> None:
    assert layer_of(part_of(module.name)), (
        f"{module.name} has no layer: place it in the table LAYERS of {__name__}"
    )


@every_module
def test_imports_point_down(module: Module) -> None:
    wrong = [
        f"{module.where(found.line)} imports {found.target}: {reason}"
        for found in own(module)
        if (reason := refused(module.name, found.target, found.named))
    ]
    assert not wrong, "\n".join(wrong)


def test_nothing_imports_in_a_circle() -> None:
    """Imports inside functions count: they hide a circle, and do not open it."""
    waiting = {
        module.name: {found.target for found in own(module) if not found.for_types} - {module.name}
        for module in MODULES
    }
    while free := {name for name, targets in waiting.items() if not targets & waiting.keys()}:
        waiting = {name: targets for name, targets in waiting.items() if name not in free}
    circle = {name: sorted(targets & waiting.keys()) for name, targets in waiting.items()}
    assert not circle, f"these modules import each other in a circle, or wait for one: {circle}"


@every_module
def test_words_are_pure(module: Module) -> None:
    if layer_of(part_of(module.name)) == "words":
        assert not foreign(module) & PURE


@every_module
def test_arq_stays_where_its_end_can_be_survived(module: Module) -> None:
    if "arq" in foreign(module):
        assert layer_of(part_of(module.name)) in ARQ_LAYERS


@every_module
def test_httpx_has_one_home(module: Module) -> None:
    assert ("httpx" in foreign(module)) <= (module.name == HTTPX_HOME)


@every_module
def test_what_is_imported_is_declared(module: Module) -> None:
    """Whatever happens to be in the development environment is not there for the users."""
    undeclared = foreign(module) - sys.stdlib_module_names - declared() - BROUGHT_ALONG.keys()
    assert not undeclared, f"{module.name} imports {undeclared}: name them in pyproject.toml"


def declared() -> set[str]:
    """The import names of the package's requirements, extras included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    lines = [*project["dependencies"], *(line for extra in extras for line in extra)]
    names = [re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in lines]
    return {name.replace("-", "_").lower() for name in names}


@pytest.mark.parametrize(
    ("importer", "imported", "reason"),
    [
        ("jobs.errors", "jobs.store.queue", "words may not import store"),
        ("jobs.store.queue", "jobs.client", "store may not import core"),
        ("jobs.client", "jobs.engine.worker", "core may not import engine"),
        ("jobs.engine.worker", "jobs.flows", "engine may not import features"),
        ("jobs.flows", "jobs.engine.worker", "features may not import engine"),
        ("jobs.flows", "jobs.workflows", "features do not import each other"),
        ("jobs.engine.worker", "jobs", "engine may not import public"),
        ("jobs", "jobs.cli", "public may not import edges"),
        ("jobs.web.app", "jobs.alerts", "edges do not import each other"),
        ("jobs.embedded.server", "jobs.cli.dev", "edges do not import each other"),
        ("jobs.catalog.email", "jobs.states", "catalog may not import words"),
        ("jobs.client", "jobs.novelty", "'novelty' has no layer"),
    ],
)
def test_the_rules_refuse(importer: str, imported: str, reason: str) -> None:
    assert reason in (refused(importer, imported) or "")


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("jobs.catalog.email", "jobs"),
        ("jobs.catalog.email", "jobs.catalog._http"),
        ("jobs.cli.dev", "jobs.embedded"),
        ("jobs.engine.worker", "jobs.store.queue"),
        ("jobs.store.queue", "jobs.store._script"),
        ("jobs", "jobs.engine.worker"),
    ],
)
def test_the_rules_allow(importer: str, imported: str) -> None:
    assert refused(importer, imported) is None
