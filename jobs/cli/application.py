"""The application behind the commands: its settings class, as arq reads it.

The attributes with the names of the `Worker`'s arguments count.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from jobs import Worker, registry
from jobs.cli.codes import Problem
from jobs.cli.context import Cli
from jobs.engine.assembly import ArqDefaults, collect, served_queues
from jobs.errors import UnknownFunction, did_you_mean
from jobs.keys import check_name
from jobs.options import Queue
from jobs.recurring import Schedule
from jobs.routers import expand

logger = logging.getLogger("jobs.cli")


@dataclass(frozen=True)
class Application:
    """What a settings class says: the worker's arguments, the functions, the queues, the clock.

    `described` are the queues that somebody gives as a `Queue`: the others are only named by
    their functions. `cron_jobs` and `given_schedules` include those of routers.
    """

    spec: str
    settings: Mapping[str, Any]
    functions: Mapping[str, registry.Function]
    queues: Mapping[str, Queue]
    default_queue: str
    described: frozenset[str] = frozenset()
    cron_jobs: Sequence[Any] = ()
    given_schedules: Sequence[Schedule] = ()

    def function(self, name: str) -> registry.Function:
        """One function by its name.

        Raises:
            UnknownFunction: with the nearest name that there is.
        """
        if name not in self.functions:
            raise UnknownFunction(name, self.functions)
        return self.functions[name]


def load(cli: Cli) -> Application:
    """The application that `--app` names.

    Raises:
        Problem: it cannot be imported, or is no settings class.
    """
    module_name, _, attribute = cli.app.partition(":")
    module = _import(module_name)
    attribute = attribute or "WorkerSettings"
    if not hasattr(module, attribute):
        raise Problem(
            f"the module {module_name!r} ({module.__file__}) has no {attribute!r}",
            "name the settings class: --app module:attribute, or JOBS_APP",
        )
    return of(getattr(module, attribute), cli.app)


def of(settings: Any, spec: str = "") -> Application:
    """The application of a settings class, or of a dict of the same content."""
    given = _worker_arguments(settings)
    defaults = {
        name: given.get(name, parameter.default)
        for name, parameter in inspect.signature(Worker).parameters.items()
    }
    names = ("max_tries", "job_timeout", "keep_result", "keep_result_forever")
    functions, cron_jobs, schedules = expand(
        defaults["functions"], defaults["cron_jobs"], defaults["schedules"]
    )
    own_queue = check_name(defaults["queue_name"])
    queues = served_queues(
        functions, defaults["queues"], defaults["queue_name"], own_needed=bool(cron_jobs)
    )
    found = collect(functions, cron_jobs, ArqDefaults(*(defaults[name] for name in names)))
    found = {name: replace(f, queue=f.queue or own_queue) for name, f in found.items()}
    places = [getattr(item, "queue", None) for item in functions]
    described = {q.name for q in (*defaults["queues"], *places) if isinstance(q, Queue)}
    return Application(
        spec, given, found, queues, own_queue, frozenset(described), cron_jobs, schedules
    )


def _worker_arguments(settings: Any) -> dict[str, Any]:
    """What the worker takes of the settings, those of base classes too.

    arq's own command reads the class's own names alone and drops the rest in silence (arq-E7); a
    name that is nearly one of the worker's is spoken of here.
    """
    if not isinstance(settings, Mapping) and not inspect.isclass(settings):
        raise Problem(
            f"expected a settings class or a dict, found {settings!r:.80}",
            "name the settings class: --app module:attribute, or JOBS_APP",
        )
    given = dict(settings) if isinstance(settings, Mapping) else _attributes(settings)
    known = inspect.signature(Worker).parameters
    for name in given.keys() - known.keys():
        if not name.startswith("_") and get_close_matches(name, known, n=1, cutoff=0.85):
            logger.warning("the setting %r is unknown%s", name, did_you_mean(name, known))
    return {name: _function(value) for name, value in given.items() if name in known}


def _attributes(settings: type) -> dict[str, Any]:
    return {
        name: value for part in reversed(settings.__mro__) for name, value in vars(part).items()
    }


def _function(value: Any) -> Any:
    return value.__func__ if isinstance(value, staticmethod) else value


def _import(name: str) -> ModuleType:
    """Import a module, looking into the current folder first."""
    here = str(Path.cwd())
    if sys.path[:1] != [here]:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except SystemExit as error:  # what settings do that want no traceback under arq's command
        raise Problem(str(error.code), f"importing {name!r} ended with this: repair it") from error
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise _no_module(name, here) from error
        raise _broken(name, error) from error
    except Exception as error:  # an application may raise anything while it is imported
        raise _broken(name, error) from error


def _no_module(name: str, here: str) -> Problem:
    return Problem(
        f"there is no module {name!r} in {here} or on Python's path",
        "go to the application's folder, or name its settings: --app module:attribute (JOBS_APP)",
    )


def _broken(name: str, error: BaseException) -> Problem:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "importlib" not in f.filename]
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if len(frames) > 1 else ""
    if isinstance(error, SyntaxError):
        place = f" ({error.filename}:{error.lineno})"
    return Problem(
        f"importing {name!r} failed: {type(error).__name__}: {error}{place}",
        "repair it; --debug shows the whole trace",
    )
