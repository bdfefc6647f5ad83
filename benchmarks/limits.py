"""How far drain and enqueue are from what the server alone and an empty event loop can do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from benchmarks import drive, native, stream
from benchmarks.model import Bars, Context, Figures, Section, Table
from benchmarks.notebook import Notebook, Task, shown
from benchmarks.server import Server
from jobs.store._script import MAX_ITEMS

NOTE = (
    "No-op jobs with 200-byte payloads, one worker process, concurrency 100. The server alone is "
    "driven with the same scripts and arguments: by redis-benchmark, which can enqueue and claim, "
    "and by a recorded run of the store (each call ends the hundred jobs of the one before and "
    "claims a hundred more) whose bytes are replayed over one socket, the next request when the "
    "answer has arrived. The empty event loop makes one asyncio task for each empty coroutine, a "
    "hundred at a time, on uvloop, and speaks to nobody. A bare round trip is a SET of 200 bytes "
    "by the same client library."
)
NATIVE = "server alone: redis-benchmark"
MANY = 8  # connections of redis-benchmark that keep the server busy


class Limit(NamedTuple):
    """One figure of ours beside what bounds it."""

    ours: str
    bound: str
    what: str
    by: str


LIMITS: Sequence[Limit] = (
    Limit("drain", "drain.stream", "drain", "server alone: the whole life of a job, replayed"),
    Limit("drain", "drain.claims", "drain", "server alone: claims only, redis-benchmark"),
    Limit("drain", "tasks", "drain", "empty event loop: one task a job"),
    Limit("bulk", "bulk.native_many", "enqueue in bulk", f"{NATIVE}, {MANY} connections"),
    Limit("bulk", "bulk.native", "enqueue in bulk", f"{NATIVE}, 1 connection"),
    Limit("bulk", "bulk.stream", "enqueue in bulk", "server alone: replayed over one connection"),
    Limit("one", "one.native", "enqueue one by one", f"{NATIVE}, 1 connection"),
    Limit("one", "roundtrips", "enqueue one by one", "bare round trips of the same client"),
)  # fmt: skip


def run(context: Context) -> Section:
    """Measure ours and the bounds, repetitions interleaved."""
    notebook = Notebook()
    with context.start_server() as server:
        bench = _Bench(context, server)
        notebook.run(context, bench.tasks() * context.repeat)
    return _section(notebook)


class _Bench:
    """The measurements, each a method that returns figures by name."""

    def __init__(self, context: Context, server: Server) -> None:
        self._context, self._server = context, server
        self._jobs = context.jobs(50_000)
        self._recorded: stream.Recorded | None = None

    def tasks(self) -> list[Task]:
        """One repetition."""
        return [
            ("drain by our worker", self.drain),
            ("the server alone, replayed", self.replayed),
            ("the server alone, enqueued by redis-benchmark", self.native_enqueue),
            ("the server alone, claimed by redis-benchmark", self.native_claims),
            ("an empty event loop", self.loop),
            ("enqueue by our client", self.enqueue),
        ]

    def drain(self) -> Figures:
        self._server.flush()
        drive.fill(self._server, drive.requests(self._jobs))
        drained = drive.drain(self._context, self._server, self._jobs)
        return {
            "drain": drained.jobs_per_s,
            "drain.worker_cpu_us": drained.worker_cpu_us,
            "drain.server_cpu_us": drained.server_cpu_us,
        }

    def replayed(self) -> Figures:
        server = self._server
        server.flush()
        recorded = self._recorded or stream.record(server, self._jobs)
        if self._recorded is not None:  # the scripts are known again after a small run
            stream.record(server, 100)
        self._recorded = recorded
        enqueued = stream.replay(server, recorded.jobs, recorded.enqueue)
        drained = stream.replay(server, recorded.jobs, recorded.drain)
        return {
            "bulk.stream": enqueued.jobs_per_s,
            "bulk.stream_server_cpu_us": enqueued.server_cpu_us,
            "drain.stream": drained.jobs_per_s,
            "drain.stream_server_cpu_us": drained.server_cpu_us,
        }

    def native_enqueue(self) -> Figures:
        server, hundred = self._server, MAX_ITEMS
        many = native.enqueue_command(server, hundred)
        single = native.enqueue_command(server, 1)
        calls = self._jobs // hundred
        figures = {}
        for name, command, number, clients in (
            ("bulk.native", many, calls, 1),
            ("bulk.native_many", many, calls, MANY),
            ("one.native", single, self._context.jobs(20_000), 1),
        ):
            stream.empty(server)
            jobs_a_call = hundred if command is many else 1
            figures[name] = native.run(server, command, number, clients) * jobs_a_call
        return figures

    def native_claims(self) -> Figures:
        server, hundred = self._server, MAX_ITEMS
        enqueue, claim = native.enqueue_command(server, hundred), native.claim_command(server)
        calls = self._jobs // hundred
        stream.empty(server)
        native.run(server, enqueue, calls, 1)
        return {"drain.claims": native.run(server, claim, calls, 1) * hundred}

    def loop(self) -> Figures:
        return {"tasks": drive.bare(self._context, "tasks", self._context.jobs(1_000_000))}

    def enqueue(self) -> Figures:
        context, url = self._context, ["--url", self._server.url]
        self._server.flush()
        trips = drive.bare(context, "roundtrips", context.jobs(20_000), *url)
        one = drive.bare(context, "enqueue", context.jobs(20_000), *url)
        self._server.flush()
        bulk = drive.bare(context, "enqueue", self._jobs, *url, "--bulk")
        return {"roundtrips": trips, "one": one, "bulk": bulk}


def _section(notebook: Notebook) -> Section:
    ratios = {f"{limit.bound}.ratio": notebook.ratio(limit.ours, limit.bound) for limit in LIMITS}
    return Section(
        name="limits",
        title="The limits",
        note=NOTE,
        tables=[_limits(notebook), _costs(notebook)],
        plots=_plots(notebook),
        figures=notebook.figures(**ratios),
        caveats=notebook.caveats(),
    )


def _limits(notebook: Notebook) -> Table:
    rows = [
        (
            limit.what,
            shown(notebook.get(limit.ours)),
            limit.by,
            shown(notebook.get(limit.bound)),
            shown(notebook.ratio(limit.ours, limit.bound), ".0%"),
        )
        for limit in LIMITS
    ]
    return Table("Ours and what bounds it", ("", "jobs/s", "limit", "jobs/s", "ours / limit"), rows)


def _costs(notebook: Notebook) -> Table:
    rows = [
        ("drain by our worker", "drain.worker_cpu_us", "drain.server_cpu_us"),
        ("drain replayed", "", "drain.stream_server_cpu_us"),
        ("enqueue in bulk replayed", "", "bulk.stream_server_cpu_us"),
    ]
    return Table(
        "CPU microseconds a job",
        ("", "worker", "server"),
        [(what, *(shown(notebook.get(name), ".1f") for name in names)) for what, *names in rows],
        caption="A million divided by a server's microseconds: its jobs/s if it never waited.",
    )


def _plots(notebook: Notebook) -> list[Bars]:
    plots = []
    for ours, title in (
        ("drain", "Drain"),
        ("bulk", "Enqueue in bulk"),
        ("one", "Enqueue one by one"),
    ):
        bounds = [limit for limit in LIMITS if limit.ours == ours]
        named = {"jobs": ours} | {limit.by.split(": ")[-1]: limit.bound for limit in bounds}
        data = {
            name: (notebook.get(figure) or 0.0, min(values), max(values))
            for name, figure in named.items()
            if (values := notebook.values.get(figure))
        }
        plots.append(Bars(f"limits-{ours}.svg", f"{title}: ours and its limits", "jobs/s", data))
    return plots
