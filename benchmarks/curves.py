"""How speed changes with concurrency, workers, queue length, payload, delays and priorities."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from benchmarks import drive, minute
from benchmarks.model import Context, Figures, Lines, Plot, Section, Table
from benchmarks.notebook import Notebook, Task, at_least, at_most, shown
from benchmarks.server import Server
from jobs import Request
from jobs.options import EnqueueOptions

NOTE = (
    "This project alone: no-op jobs with 200-byte payloads, one worker process, concurrency 100, "
    "unless the row says otherwise; the queue is filled before the workers begin. A queue of "
    "length n is one that holds n jobs more than the ones that are timed. Delayed jobs are due "
    "when the workers begin, so each is moved to the waiting ones first."
)
CONCURRENCY = (1, 10, 100, 1000)
PROCESSES = (1, 2, 4)
LENGTHS = (10**3, 10**4, 10**5, 10**6)
QUICK_LENGTH = 10**5
SIZES = (100, 1024, 4096, 16_384, 65_536)
PAYLOAD_BYTES = 256 * 2**20  # the most that one drain of the payload curve holds
MIXES = ("plain", "priorities", "delays", "both")
DELAY_S = 1.0

TARGETS = (
    at_least("queue of 10^6 against 10^3", "length.percent", 85, " %"),
    at_least("priorities against plain", "mix.priorities.percent", 85, " %"),
    at_least("delays against plain", "mix.delays.percent", 85, " %"),
    at_least("delays and priorities against plain", "mix.both.percent", 85, " %"),
    at_most("server CPU a job, 4 workers against 1", "workers.server_ratio", 1.25, "x"),
    at_most("longest call, jobs due in one minute", "minute.longest_ms", 10, " ms"),
)


def run(context: Context) -> Section:
    """Measure every curve; the short ones in `repeat` interleaved repetitions."""
    notebook = Notebook()
    with context.start_server() as server:
        bench = _Bench(context, server)
        tasks = [*bench.short() * context.repeat, *bench.long()]
        notebook.run(context, [*tasks, *minute.tasks(context, server)])
    return _section(notebook, context)


class _Bench:
    """The measurements of each curve."""

    def __init__(self, context: Context, server: Server) -> None:
        self._context, self._server = context, server
        self._jobs = context.jobs(30_000)

    def short(self) -> list[Task]:
        """What is repeated."""
        return [
            *(self._task(f"concurrency {n:,}", self.concurrency, n) for n in CONCURRENCY),
            *(self._task(f"{n} worker processes", self.processes, n) for n in PROCESSES),
            *(self._task(f"payload of {n:,} bytes", self.payload, n) for n in SIZES),
            *((f"queue in use: {name}", lambda name=name: self.mix(name)) for name in MIXES),
        ]

    def long(self) -> list[Task]:
        """What takes minutes to fill, and is measured once."""
        return [self._task(f"queue of {n:,} jobs", self.length, n) for n in lengths(self._context)]

    def _task(self, what: str, measure: Callable[[int], Figures], number: int) -> Task:
        return what, lambda: measure(number)

    def concurrency(self, number: int) -> Figures:
        """Slower with few slots: fewer jobs."""
        jobs = self._jobs // 4 if number < 10 else self._jobs
        self._fill(drive.requests(jobs))
        drained = drive.drain(self._context, self._server, jobs, concurrency=number)
        return {f"concurrency.{number}.jobs_per_s": drained.jobs_per_s}

    def processes(self, number: int) -> Figures:
        """The queue holds as many jobs for each worker."""
        jobs = self._jobs * number
        self._fill(drive.requests(jobs))
        drained = drive.drain(self._context, self._server, jobs, processes=number)
        return {
            f"workers.{number}.jobs_per_s": drained.jobs_per_s,
            f"workers.{number}.round_trips": drained.round_trips,
            f"workers.{number}.commands": drained.commands,
            f"workers.{number}.server_cpu_us": drained.server_cpu_us,
            f"workers.{number}.worker_cpu_us": drained.worker_cpu_us,
        }

    def payload(self, size: int) -> Figures:
        """As many jobs as fit into the memory meant for it."""
        jobs = min(self._jobs, PAYLOAD_BYTES // size)
        self._fill(drive.requests(jobs, size=size))
        drained = drive.drain(self._context, self._server, jobs)
        return {f"payload.{size}.jobs_per_s": drained.jobs_per_s}

    def mix(self, name: str) -> Figures:
        """The same jobs with delays, priorities, or both."""
        self._fill(drive.requests(self._jobs, options=_options(name)))
        if name in {"delays", "both"}:
            time.sleep(DELAY_S + 0.1)
        drained = drive.drain(self._context, self._server, self._jobs)
        return {
            f"mix.{name}.jobs_per_s": drained.jobs_per_s,
            f"mix.{name}.server_cpu_us": drained.server_cpu_us,
            f"mix.{name}.worker_cpu_us": drained.worker_cpu_us,
        }

    def length(self, number: int) -> Figures:
        """Time some jobs at the head of a queue that keeps `number` more."""
        self._fill(drive.requests(number + self._jobs))
        drained = drive.drain(self._context, self._server, self._jobs, leave_rest=True)
        return {f"length.{number}.jobs_per_s": drained.jobs_per_s}

    def _fill(self, wanted: Iterable[Request]) -> None:
        self._server.flush()
        drive.fill(self._server, wanted)


def lengths(context: Context) -> Sequence[int]:
    """The lengths of the queue that this run looks at."""
    return [n for n in LENGTHS if n <= QUICK_LENGTH or not context.quick]


def _options(mix: str) -> drive.Options:
    def of(number: int) -> EnqueueOptions:
        given: EnqueueOptions = {}
        if mix in {"priorities", "both"}:
            given["priority"] = 1 + number * 7 % 10
        if mix in {"delays", "both"} and number % 2:
            given["delay"] = DELAY_S
        return given

    return of


# -- what was found ------------------------------------------------------------------------


def _section(notebook: Notebook, context: Context) -> Section:
    longest = max(lengths(context))
    ratios = {
        f"mix.{name}.percent": notebook.percent(f"mix.{name}.jobs_per_s", "mix.plain.jobs_per_s")
        for name in MIXES[1:]
    }
    ratios["length.percent"] = notebook.percent(
        f"length.{longest}.jobs_per_s", f"length.{LENGTHS[0]}.jobs_per_s"
    )
    ratios["workers.server_ratio"] = notebook.ratio(
        "workers.4.server_cpu_us", "workers.1.server_cpu_us"
    )
    short = [f"The longest queue of this quick run is {longest:,}."] if context.quick else []
    return Section(
        name="curves",
        title="Scaling",
        note=NOTE,
        tables=[*_tables(notebook, context), minute.table(notebook)],
        plots=_plots(notebook, context),
        figures=notebook.figures(**ratios),
        caveats=[*short, *notebook.caveats()],
        targets=TARGETS,
    )


def _tables(notebook: Notebook, context: Context) -> list[Table]:
    return [
        _rates(notebook, "By concurrency", "concurrency", CONCURRENCY),
        _workers(notebook),
        _rates(notebook, "By length of the queue", "length", lengths(context)),
        _rates(notebook, "By payload, bytes", "payload", SIZES),
        _mixes(notebook),
    ]


def _rates(notebook: Notebook, title: str, curve: str, points: Sequence[int]) -> Table:
    cells = [shown(notebook.get(f"{curve}.{point}.jobs_per_s")) for point in points]
    return Table(title, ("", *(f"{point:,}" for point in points)), [("jobs/s", *cells)])


def _workers(notebook: Notebook) -> Table:
    rows = {
        "jobs/s": ("jobs_per_s", ",.0f"),
        "round trips a job": ("round_trips", ".4f"),
        "commands a job, with those in scripts": ("commands", ".1f"),
        "server CPU, µs a job": ("server_cpu_us", ".1f"),
        "worker CPU, µs a job": ("worker_cpu_us", ".1f"),
    }
    return Table(
        "By worker processes",
        ("", *map(str, PROCESSES)),
        [
            (title, *(shown(notebook.get(f"workers.{n}.{name}"), form) for n in PROCESSES))
            for title, (name, form) in rows.items()
        ],
        caption="On few cores the workers, the server and each other's caches share them.",
    )


def _mixes(notebook: Notebook) -> Table:
    titles = {
        "plain": "plain",
        "priorities": "ten priorities, mixed",
        "delays": "every second job delayed",
        "both": "both",
    }
    rows = [
        (
            title,
            shown(notebook.get(f"mix.{name}.jobs_per_s")),
            shown(notebook.ratio(f"mix.{name}.jobs_per_s", "mix.plain.jobs_per_s"), ".0%"),
            shown(notebook.get(f"mix.{name}.server_cpu_us"), ".1f"),
            shown(notebook.get(f"mix.{name}.worker_cpu_us"), ".1f"),
        )
        for name, title in titles.items()
    ]
    return Table(
        "With delays and priorities in use",
        ("", "jobs/s", "of plain", "server CPU, µs a job", "worker CPU, µs a job"),
        rows,
    )


def _plots(notebook: Notebook, context: Context) -> list[Plot]:
    drawn: list[Plot] = []
    for curve, title, label, points in (
        ("concurrency", "Drain by concurrency", "jobs at once", CONCURRENCY),
        ("workers", "Drain by worker processes", "worker processes", PROCESSES),
        ("length", "Drain by length of the queue", "jobs left waiting", lengths(context)),
        ("payload", "Drain by payload", "bytes", SIZES),
    ):
        series = {"jobs/s": _line(notebook, curve, "jobs_per_s", points)}
        logx = curve != "workers"
        drawn.append(Lines(f"curves-{curve}.svg", title, label, "jobs/s", series, logx=logx))
    costs = {
        "server": _line(notebook, "workers", "server_cpu_us", PROCESSES),
        "workers": _line(notebook, "workers", "worker_cpu_us", PROCESSES),
    }
    title = "CPU a job by worker processes"
    drawn.append(Lines("curves-cost.svg", title, "worker processes", "µs a job", costs))
    return drawn


def _line(
    notebook: Notebook, curve: str, name: str, points: Sequence[int]
) -> list[tuple[float, float]]:
    found = [(point, notebook.get(f"{curve}.{point}.{name}")) for point in points]
    return [(float(point), value) for point, value in found if value is not None]
