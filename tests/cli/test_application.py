"""The settings class behind the commands."""

from __future__ import annotations

import logging

import pytest

from jobs import Context
from jobs.cli import application


async def work(ctx: Context) -> None:
    """Do nothing."""


class Base:
    functions = (work,)
    max_jobs = 7


def test_inherited_settings_count() -> None:
    class Settings(Base):
        max_jobs = 9

    app = application.of(Settings)
    assert list(app.functions) == ["work"]
    assert app.settings["max_jobs"] == 9


def test_a_misspelt_setting_is_named(caplog: pytest.LogCaptureFixture) -> None:
    class Settings(Base):
        max_job = 3
        my_own_thing = 4

    with caplog.at_level(logging.WARNING):
        app = application.of(Settings)
    assert app.settings["max_jobs"] == 7
    assert caplog.messages == ["the setting 'max_job' is unknown (did you mean 'max_jobs'?)"]
