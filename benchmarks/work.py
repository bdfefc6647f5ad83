"""Real work: mail, push, sleeping, CPU in the process pool, and jobs that fail and are retried."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from benchmarks import drive, family, meter
from benchmarks.drive import QUEUE
from benchmarks.measure import watch
from benchmarks.model import Bars, Context, Failed, Figures, Section, Table
from benchmarks.notebook import Notebook, Task, at_least, at_most, shown
from benchmarks.real import letter, notice
from benchmarks.server import Server
from benchmarks.sinking import sink
from benchmarks.work_functions import CRUNCH_MS, crunch_function
from jobs import Request

NOTE = (
    "One worker process. E-mail: the catalog's function with the template `welcome`, ten at once "
    "over the mailer's four connections, to a mail server on this machine that only takes. Push: "
    "the catalog's function, twenty at once, without the queue's rate limit, to a service on this "
    "machine. Beside both stand the same calls without a queue. Sleep: 50 ms, a hundred at once. "
    f"CPU: {CRUNCH_MS} ms each in the process pool. Failures: five in a hundred jobs fail at "
    "their first attempt, one in twenty of those again, with 0.1 s between attempts."
)
MAILER_CONNECTIONS = 4
AT_ONCE = {"mail": 10, "push": 20}
SLEEPERS_IDEAL = 2000
CORES = 2
WARM_UP = 8  # jobs that start the processes of the pool before its time is taken

TARGETS = (
    at_least("sleep 50 ms, 100 at once", "sleep.jobs_per_s", 1940, " jobs/s"),
    at_least("CPU work, share of both cores", "cpu.percent", 90, " %"),
    at_most("connections to the mail server", "mail.connections", MAILER_CONNECTIONS),
    at_most("connections to the push service", "push.connections", AT_ONCE["push"]),
    at_least("jobs completed in spite of failures", "failures.completed_percent", 100, " %"),
)


def run(context: Context) -> Section:
    """Measure each kind of work, repetitions interleaved."""
    notebook = Notebook()
    with context.start_server() as server:
        bench = _Bench(context, server)
        notebook.run(context, bench.tasks() * context.repeat)
    return _section(notebook)


class _Bench:
    """The measurements, one for each kind of work."""

    def __init__(self, context: Context, server: Server) -> None:
        self._context, self._server = context, server

    def tasks(self) -> list[Task]:
        """One repetition."""
        return [
            ("e-mail", lambda: self.real("mail", "smtp", 5000)),
            ("push", lambda: self.real("push", "http", 5000)),
            ("sleep 50 ms", self.sleep),
            ("CPU in the process pool", self.cpu),
            ("failures and retries", self.failures),
        ]

    def real(self, app: str, kind: str, number: int) -> Figures:
        """A function of the catalog through the queue, and called without one."""
        context, jobs = self._context, self._context.jobs(number)
        at_once = AT_ONCE[app]
        with sink(context, kind) as (port, _):
            words = ["--port", str(port), "--concurrency", str(at_once)]
            alone = drive.bare(context, app, jobs, *words)
        with sink(context, kind) as (port, taken):
            self._server.flush()
            drive.fill(self._server, _real_requests(app, jobs))
            rate = self._drain(app, jobs, at_once, {"port": port})
            counts = taken()
        if counts["messages"] != jobs:
            raise Failed(f"{counts['messages']:,} of {jobs:,} messages came")
        return {
            f"{app}.jobs_per_s": rate,
            f"{app}.alone_per_s": alone,
            f"{app}.connections": float(counts["connections"]),
        }

    def sleep(self) -> Figures:
        """The ideal is a hundred every 50 ms."""
        jobs = max(self._context.jobs(10_000), 3000)
        self._server.flush()
        drive.fill(self._server, drive.requests(jobs, "nap"))
        rate = self._drain("plain", jobs, 100)
        return {"sleep.jobs_per_s": rate, "sleep.percent": rate / SLEEPERS_IDEAL * 100}

    def cpu(self) -> Figures:
        """CPU seconds of the worker and its pool over the wall's, times the cores."""
        if crunch_function() is None:
            raise Failed("jobs have no process pool yet")
        jobs = self._context.jobs(1000)
        self._server.flush()
        with drive.crew(self._context, self._server, "cpu", concurrency=4 * CORES) as made:
            meter.go(made)
            drive.fill(self._server, _crunches(WARM_UP))
            watch(made, WARM_UP)
            drive.fill(self._server, _crunches(jobs))
            pids = [process.pid for process in made.processes]
            before, began, done = family.cpu_s(pids), time.monotonic(), made.finished()
            watch(made, WARM_UP + jobs)
            used, wall = family.cpu_s(pids) - before, time.monotonic() - began
        return {
            "cpu.jobs_per_s": (WARM_UP + jobs - done) / wall,
            "cpu.percent": used / (CORES * wall) * 100,
        }

    def failures(self) -> Figures:
        """Every job must end completed."""
        jobs = self._context.jobs(20_000)
        self._server.flush()
        drive.fill(self._server, map(_shaky, range(jobs)))
        rate = self._drain("plain", jobs, 100)
        counters = drive.totals(self._server)
        return {
            "failures.jobs_per_s": rate,
            "failures.attempts": float(counters.get("claimed", 0)),
            "failures.jobs": float(jobs),
            "failures.completed_percent": counters.get("completed", 0) / jobs * 100,
            "failures.failed": float(counters.get("failed", 0)),
        }

    def _drain(
        self, app: str, jobs: int, at_once: int, settings: Mapping[str, object] | None = None
    ) -> float:
        with drive.crew(
            self._context, self._server, app, concurrency=at_once, settings=settings
        ) as made:
            meter.go(made)
            watch(made, jobs)
            return drive.rate(made, jobs)


def _real_requests(app: str, number: int) -> Iterable[Request]:
    """Mail or notifications, by the names of the catalog's functions."""
    name, queue, payload = ("email", "email", letter) if app == "mail" else ("push", "push", notice)
    for n in range(number):
        yield Request(name, kwargs=payload(n), options={"queue": queue})


def _crunches(number: int) -> Iterable[Request]:
    for _ in range(number):
        yield Request("crunch", kwargs={"ms": CRUNCH_MS}, options={"queue": QUEUE})


def _shaky(number: int) -> Request:
    """Five in a hundred fail once, and one in twenty of these twice."""
    failures = 0 if number % 20 else 1 if number % 400 else 2
    return Request("shaky", kwargs={"failures": failures}, options={"queue": QUEUE})


# -- what was found ------------------------------------------------------------------------


def _section(notebook: Notebook) -> Section:
    return Section(
        name="work",
        title="Real work",
        note=NOTE,
        tables=[_kinds(notebook), _failures(notebook)],
        plots=[_plot(notebook)],
        figures=notebook.figures(
            **{f"{app}.percent": _of_alone(notebook, app) for app in ("mail", "push")}
        ),
        caveats=notebook.caveats(),
        targets=TARGETS,
    )


def _of_alone(notebook: Notebook, app: str) -> float | None:
    return notebook.percent(f"{app}.jobs_per_s", f"{app}.alone_per_s")


def _kinds(notebook: Notebook) -> Table:
    get = notebook.get
    rows = [
        (
            title,
            shown(get(f"{app}.jobs_per_s")),
            shown(_of_alone(notebook, app), ".0f"),
            "% of the same calls without a queue",
            shown(get(f"{app}.connections")),
        )
        for title, app in (("e-mail", "mail"), ("push", "push"))
    ]
    sleep, cpu = shown(get("sleep.percent"), ".1f"), shown(get("cpu.percent"), ".1f")
    return Table(
        "Jobs a second",
        ("", "jobs/s", "", "", "connections"),
        [
            *rows,
            ("sleep 50 ms", shown(get("sleep.jobs_per_s")), sleep, "% of the ideal 2,000/s", None),
            ("CPU, 20 ms each", shown(get("cpu.jobs_per_s")), cpu, "% of both cores", None),
        ],
    )


def _failures(notebook: Notebook) -> Table:
    rows = [
        ("jobs", shown(notebook.get("failures.jobs"))),
        ("jobs/s", shown(notebook.get("failures.jobs_per_s"))),
        ("attempts", shown(notebook.get("failures.attempts"))),
        ("completed, %", shown(notebook.get("failures.completed_percent"), ".2f")),
        ("failed for good", shown(notebook.get("failures.failed"))),
    ]
    return Table("Five in a hundred fail", ("", ""), rows)


def _plot(notebook: Notebook) -> Bars:
    names = {"e-mail": "mail", "push": "push", "sleep 50 ms": "sleep", "5 % fail": "failures"}
    data = {
        title: (notebook.get(f"{name}.jobs_per_s") or 0.0, min(values), max(values))
        for title, name in names.items()
        if (values := notebook.values.get(f"{name}.jobs_per_s"))
    }
    return Bars("work-rates.svg", "Real work, one worker process", "jobs/s", data)
