"""The reference is complete and true: its tables are compared with the code."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from typing import Any, get_overloads

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from jobs import Client, Context, Job, JobInfo, JobOptions, Keep, Queue, Worker, errors, job
from jobs.arq_client import ArqClient
from jobs.catalog.email import EmailSettings
from jobs.catalog.push import OneSignalSettings
from jobs.catalog.webhook import WebhookSettings
from jobs.durations import to_seconds
from jobs.handle import JobInfo as _Info
from jobs.keys import QueueKeys, queue_keys
from jobs.metrics import QueueMetrics
from jobs.options import FRAMEWORK_DEFAULTS, EnqueueOptions
from jobs.queues import QueueView
from jobs.states import TRANSITIONS, State
from tests.helpers.docs import blocks, pages, text_of
from tests.helpers.source import ROOT

SECTIONS: dict[str, type[BaseModel]] = {
    "EMAIL": EmailSettings,
    "ONESIGNAL": OneSignalSettings,
    "WEBHOOK": WebhookSettings,
}
#: Read by code instead of a model; the default that the documents name.
PLAIN = {
    "JOBS_REDIS_URL": "",
    "REDIS_URL": "",
    "REDIS_HOST": "",
    "REDIS_PORT": "6379",
    "REDIS_PASSWORD": "",
    "JOBS_APP": "settings:WorkerSettings",
    "JOBS_ALLOW_UNSAFE_SERVER": "",
    "STRIPE_SECRETS": "required",
}


def variables() -> dict[str, str]:
    """Every variable with its default as text; "" for none."""
    found = dict(PLAIN)
    for prefix, model in SECTIONS.items():
        for name, field in model.model_fields.items():
            found[f"{prefix}_{name.upper()}"] = _default(field)
    return found


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if value is None or value == "":
        return ""
    if isinstance(value, bool | tuple):
        return json.dumps(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def rows(page: str) -> dict[str, list[str]]:
    """The rows of all tables of a page by each name in their first cell."""
    found: dict[str, list[str]] = {}
    for line in text_of(page).splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| `"):
            found |= dict.fromkeys(re.findall(r"`(\w+)", cells[0]), cells[1:])
    return found


def test_the_table_of_settings_is_that_of_the_models() -> None:
    table = {
        name: cells[0].strip("`\u2013")
        for name, cells in rows("docs/reference/settings.md").items()
    }
    assert table == variables()


def test_the_settings_of_the_repository_have_no_further_part() -> None:
    text = (ROOT / "settings.py").read_text()
    parts = re.findall(r"^    (\w+): \w+ \| None = None$", text, re.MULTILINE)
    assert {part.upper() for part in parts} == {*SECTIONS, "STRIPE"}


def test_env_example_has_every_variable_with_its_default_and_no_other() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    given = dict(
        line.removeprefix("# ").split("=", 1) for line in lines if re.match(r"(# )?[A-Z_]+=", line)
    )
    expected = variables()
    assert given.keys() == expected.keys()
    for name, default in expected.items():
        optional = f"# {name}={given[name]}" in lines
        assert optional == (default != "required"), name
        if optional and name not in {"JOBS_REDIS_URL", "REDIS_URL", "REDIS_HOST"}:
            assert given[name] == default, name


@pytest.mark.parametrize(("prefix", "model"), SECTIONS.items())
def test_env_example_is_valid_as_it_stands(prefix: str, model: type[BaseModel]) -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    given: dict[str, Any] = {}
    for line in lines:
        if line.startswith(f"{prefix}_"):
            name, value = line.removeprefix(f"{prefix}_").lower(), line.partition("=")[2]
            given[name.partition("=")[0]] = json.loads(value) if value[0] in "[{" else value
    model.model_validate(given)


def test_every_variable_that_the_code_reads_is_documented() -> None:
    shells = {"FORCE_COLOR", "NO_COLOR", "CLICOLOR", "TERM", "TZ", "SHELL", "VISUAL", "EDITOR"}
    shells |= {"XDG_CACHE_HOME", "COMP_WORDS", "_TYPER_COMPLETE_ARGS"}
    internal = {"JOBS_SUPERVISOR_FD"}  # from a supervisor to its own workers
    pattern = re.compile(r"environ(?:\.get\(|\[)\"([A-Z_]+)\"|\"(JOBS_[A-Z_]+)\"")
    read = {
        name
        for path in (ROOT / "jobs").rglob("*.py")
        for names in pattern.findall(path.read_text())
        for name in names
        if name
    }
    assert read - shells - internal <= variables().keys()


def test_every_option_is_in_the_tables() -> None:
    table = rows("docs/reference/options.md")
    names = {field.name for field in dataclasses.fields(JobOptions)}
    names |= set(EnqueueOptions.__annotations__)
    names |= (
        inspect.signature(Queue).parameters.keys() | inspect.signature(Worker).parameters.keys()
    )
    names |= {field.name for field in dataclasses.fields(Keep)}
    names |= inspect.signature(get_overloads(job)[-1]).parameters.keys()
    assert names <= table.keys(), names - table.keys()
    strange = table.keys() - names - {"client"}
    assert not strange, f"documented and not there: {strange}"


def test_the_defaults_of_the_framework_are_the_documented_ones() -> None:
    table = rows("docs/reference/options.md")
    defaults, keep = FRAMEWORK_DEFAULTS, FRAMEWORK_DEFAULTS.keep_completed
    assert keep is not None
    assert keep.age is not None
    assert keep.max_bytes is not None
    assert table["attempts"][0] == str(defaults.attempts)
    assert table["timeout"][0] == f"{defaults.timeout} s"
    assert table["priority"][0] == str(defaults.priority)
    assert str(defaults.backoff) == "exponential 2 s"
    assert table["backoff"][0].startswith("`exponential(2)`")
    hours, megabytes = to_seconds(keep.age) / 3600, keep.max_bytes / 2**20
    assert table["keep_completed"][0] == f"{hours:g} h, {keep.count:,} jobs, {megabytes:g} MiB"
    assert (table["keep_failed"][0], defaults.keep_failed) == ("for ever", Keep())


@pytest.mark.parametrize(
    "name",
    [
        "job_completion_wait",
        "max_jobs",
        "max_tries",
        "lease",
        "max_deliveries",
        "job_timeout",
        "keep_result",
        "health_check_interval",
    ],
)
def test_the_defaults_of_the_worker_are_the_documented_ones(name: str) -> None:
    default = inspect.signature(Worker).parameters[name].default
    documented = re.findall(r"\d+", rows("docs/reference/options.md")[name][0])
    assert str(default) == documented[0]


def test_the_tree_of_errors_is_that_of_the_code() -> None:
    (tree,) = (block for block in blocks("docs/reference/errors.md") if "JobsError\n" in block.text)
    drawn = inspect.getdoc(errors) or ""
    for line in tree.text.splitlines():
        assert line in drawn, line
    classes = {
        n for n, v in vars(errors).items() if inspect.isclass(v) and v.__module__ == errors.__name__
    }
    names = re.findall(r"^[│├└─ ]*([A-Z]\w+)", tree.text, re.MULTILINE)
    assert set(names) == classes


def test_the_client_page_names_every_public_member() -> None:
    text = text_of("docs/reference/client.md")
    hidden = {
        "settings",
        "prefix",
        "max_body_bytes",
        "from_settings",
        "job_info",
        "cancel_job",
        "wait_end",
        "read_end",
        "address",
    }
    classes = (Client, ArqClient, Job, QueueView)
    members = {name for cls in classes for name in vars(cls) if name[0] != "_"} - hidden
    members |= {field.name for field in dataclasses.fields(JobInfo)}
    members |= {field.name for field in dataclasses.fields(QueueMetrics)} - {"queue"}
    members |= {name for name in vars(Context) if name[0] != "_"}
    words = set(re.findall(r"\w+", text))
    assert members <= words, members - words
    assert JobInfo is _Info


def test_the_keys_page_names_every_key_with_its_type() -> None:
    source = inspect.getsource(QueueKeys)
    said = re.findall(
        r"^    (\w+): str  #: (?:(zset|hash|list|stream)|the same)", source, re.MULTILINE
    )
    table = {name: cells[0] for name, cells in rows("docs/reference/keys.md").items()}
    expected = {name: kind or "zset" for name, kind in said}
    assert table == expected
    assert len(expected) == len(queue_keys("q").all())


def test_the_drawn_states_are_the_table_of_transitions() -> None:
    (drawing,) = (b for b in blocks("docs/explanation/states.md") if b.language == "mermaid")
    drawn = set(re.findall(r"^ +(\S+) --> (\S+?):", drawing.text, re.MULTILINE))
    names = {None: "[*]"} | {state: state.value for state in State}
    table = {
        (names[start], names[end])
        for start, ends in TRANSITIONS.items()
        for end in ends
        if start is not State.suspended
    }
    assert drawn == table


def test_the_index_of_architecture_names_modules_that_exist() -> None:
    text = text_of("docs/explanation/architecture.md")
    for name in re.findall(r"^\d\. \*\*`([\w/.]+)`\*\*", text, re.MULTILINE):
        path = ROOT / "jobs" / name
        assert path.exists() or path.with_suffix(".py").exists(), name


def test_pages_are_short() -> None:
    """What a program has written does not count."""
    written = re.compile(
        r"<!-- written by .*?: begin -->.*?<!-- written by .*?: end -->", re.DOTALL
    )
    texts = {page: written.sub("", text_of(page)) for page in pages()}
    long = {page: lines for page, text in texts.items() if (lines := text.count("\n")) > 250}
    assert not long, f"split these pages: {long}"
