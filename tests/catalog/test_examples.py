"""Every job that ships has an example payload, made by `arq-jobs schema`, that is taken."""

from __future__ import annotations

import json

import pytest

from jobs.catalog.email import send_email
from jobs.catalog.flaky import flaky
from jobs.catalog.push import send_push
from jobs.catalog.stripe import handle_stripe_event
from jobs.catalog.webhook import deliver_webhook
from jobs.cli import application
from jobs.cli.requests import make_request
from jobs.cli.schema import example_for
from jobs.requests import Preparer
from tests.helpers.source import ROOT

CATALOG = application.of(
    {"functions": (send_email, send_push, handle_stripe_event, deliver_webhook, flaky)}
)


@pytest.mark.parametrize("name", CATALOG.functions)
def test_the_example_passes_the_checks_of_enqueue(name: str) -> None:
    function = CATALOG.functions[name]
    example, problems = example_for(CATALOG, function)
    assert (example is None, problems) == (False, [])
    assert example is not None
    through_json = json.loads(json.dumps(example))
    Preparer().prepare(make_request(function, through_json, {}))


def test_no_job_of_the_catalog_is_forgotten() -> None:
    """Each module of the catalog that declares a job is looked at here."""
    modules = {
        path.stem
        for path in (ROOT / "jobs/catalog").glob("[a-z]*.py")
        if "@job(" in path.read_text(encoding="utf-8")
    }
    seen = {f.call.__module__.rpartition(".")[2] for f in CATALOG.functions.values()}
    assert seen == modules
