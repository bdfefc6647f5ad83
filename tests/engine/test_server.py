"""A client whose server is away, slow, or loses replies (S10, S29, S34); a worker that stays."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from typing import Any

import pytest

from jobs import Client, RedisSettings, State
from jobs.errors import EnqueueUnknown, ServerAway, ServerError
from jobs.keys import queue_keys
from jobs.requests import Request
from tests.helpers.acting import act
from tests.helpers.keyspace import audit, untyped
from tests.helpers.proxy import Proxy
from tests.helpers.servers import MakeServer, Server
from tests.helpers.waiting import wait_until
from tests.helpers.worker import running

SEED = 20261122


def free_port() -> int:
    """A port at which nobody listens."""
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


CALLS: dict[str, Any] = {
    "enqueue": lambda client: act.options(client=client).enqueue(),
    "by name": lambda client: client.enqueue("act"),
    "many": lambda client: client.enqueue_many([act.request()] * 250),
    "result": lambda client: client.job("a").result(),
    "state": lambda client: client.job("a").state(),
    "cancel": lambda client: client.job("a").cancel(),
    "counts": lambda client: client.queue().counts(),
    "retry": lambda client: client.queue().retry(["a"]),
    "queues": lambda client: client.queues(),
}


@pytest.mark.parametrize("call", CALLS)
async def test_without_a_server_every_call_fails_fast(call: str) -> None:
    """S31: no hang, and a sentence that names the address."""
    port = free_port()
    async with Client.connect(f"redis://127.0.0.1:{port}") as client:
        began = time.monotonic()
        with pytest.raises(ServerAway, match=rf"no server answers at 127.0.0.1:{port}"):
            await CALLS[call](client)
        assert time.monotonic() - began < 3


async def test_a_client_works_again_when_its_server_does(make_server: MakeServer) -> None:
    server = make_server()
    async with Client.connect(server.url) as client:
        await act.options(client=client, id="before").enqueue()
        with server.away():
            with pytest.raises(ServerError):  # what was sent into the dying connection is unknown
                await act.options(client=client, id="during").enqueue()
            with pytest.raises(ServerAway):
                await act.options(client=client, id="during").enqueue()
        job = await act.options(client=client, id="after").enqueue()
        assert not job.duplicate
        assert await job.state() is State.waiting


async def test_a_worker_outlives_its_server(
    make_server: MakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    """arq-B3: it says once that the server is away, once that it is back, and works on."""
    server = make_server()
    async with Client.connect(server.url) as client, running(server.url) as worker:
        assert await (await act.options(client=client).enqueue("ok", 1)).result(timeout=10) == 1
        with server.away():
            assert worker._session is not None
            link = worker._session.link
            await wait_until(lambda: link.away, description="the worker has noticed")
        assert await (await act.options(client=client).enqueue("ok", 2)).result(timeout=20) == 2
        await wait_until(lambda: "is back after" in caplog.text, description="it is said")
    assert caplog.text.count("trying again for ever") == 1
    assert not [record for record in caplog.records if record.exc_info]


# -- lost replies --------------------------------------------------------------------------


async def test_a_lost_reply_makes_no_second_job(server: Server, client: Client) -> None:
    """S29: 500 enqueues, a third of all replies cut after the server has executed the call."""
    dice = random.Random(SEED)
    ids = [f"job-{n}" for n in range(500)]
    unknown = 0
    with Proxy(server.port) as proxy:
        proxy.cuts = lambda asked: b"EVAL" in asked and dice.random() < 0.35
        async with Client.connect(proxy.url) as through:
            for job_id in ids:
                while True:
                    try:
                        job = await act.options(client=through, id=job_id).enqueue("ok", job_id)
                    except EnqueueUnknown:
                        unknown += 1
                    else:
                        break
                assert job.id == job_id
        assert proxy.cut > 100
    assert unknown > 10, "both tries of some calls were lost"
    assert (await client.queue().counts())[State.waiting] == 500
    assert await untyped(client).hlen(queue_keys("default").body) == 500


async def test_one_lost_reply_is_not_even_noticed(server: Server, client: Client) -> None:
    with Proxy(server.port) as proxy:
        lose = iter([True])
        proxy.cuts = lambda asked: b"EVALSHA" in asked and next(lose, False)
        async with Client.connect(proxy.url) as through:
            await act.options(client=client, id="warm").enqueue()
            job = await act.options(client=through, id="a").enqueue("ok", 1)
        assert proxy.cut == 1
        assert job.duplicate is False
    assert (await client.queue().counts())[State.waiting] == 2


async def test_a_bulk_that_broke_is_repeated_whole(server: Server, client: Client) -> None:
    """S34: every hundred is added whole or not at all; after the repetition each job once.

    Hundreds that were under way at the break may stand before it, each in its own order.
    """
    ids = [f"{n:04}" for n in range(2_000)]
    requests = [act.options(id=job_id).request("ok", job_id) for job_id in ids]
    with Proxy(server.port) as proxy:
        async with Client.connect(proxy.url) as through:
            seen = [0]

            def cuts(asked: bytes) -> bool:
                seen[0] += 1
                return seen[0] > 10

            proxy.cuts = cuts
            with pytest.raises(ServerError):
                await through.enqueue_many(requests)
            added = (await client.queue().counts())[State.waiting]
            assert added % 100 == 0
            proxy.cuts = lambda _: False
            jobs = await through.enqueue_many(requests)
    assert [job.id for job in jobs] == ids
    assert (await client.queue().counts())[State.waiting] == 2_000
    order = [info.id for info in await client.queue().jobs(State.waiting, 0, 2_000)]
    hundreds = [order[at : at + 100] for at in range(0, 2_000, 100)]
    assert sorted(hundreds) == [ids[at : at + 100] for at in range(0, 2_000, 100)]


async def test_a_workers_lost_replies_cost_nothing(server: Server, client: Client) -> None:
    """S08: steps are repeated under their request number; every job runs once, none is lost."""
    dice = random.Random(SEED)
    with Proxy(server.port) as proxy:
        proxy.cuts = lambda asked: b"EVALSHA" in asked and dice.random() < 0.25
        async with running(proxy.url, lease=10, max_jobs=10) as worker:
            jobs = await client.enqueue_many([act.request("ok", n) for n in range(1_500)])
            for number, job in enumerate(jobs):
                assert await job.result(timeout=30) == number
            proxy.cuts = lambda _: False
            stage = worker.ctx["stage"]
            assert sorted(stage.order) == sorted(job.id for job in jobs)
        assert proxy.cut > 3
    counts = await client.queue().counts()
    assert counts[State.completed] == 1_500
    metrics = await client.queue().metrics()
    assert (metrics.completed, metrics.lost, metrics.failed) == (1_500, 0, 0)


# -- cancelled calls -----------------------------------------------------------------------


async def test_a_cancelled_call_never_leaves_its_reply_to_another(
    server: Server, client: Client
) -> None:
    """S10: 200 calls through a slow proxy, half of them cancelled at random moments."""
    dice = random.Random(SEED)
    await client.enqueue_many([act.options(id=f"{n}").request("ok", n) for n in range(200)])
    with Proxy(server.port) as proxy:
        proxy.latency_s = 0.02
        settings = RedisSettings.from_dsn(proxy.url)
        async with Client.connect(settings) as through:

            async def look(number: int) -> int:
                info = await through.job(f"{number}").details()
                assert info.id == f"{number}"
                return int(info.args[1])

            calls = [asyncio.create_task(look(number)) for number in range(200)]
            for call in dice.sample(calls, 100):
                asyncio.get_running_loop().call_later(dice.random() * 0.3, call.cancel)
            answers = await asyncio.gather(*calls, return_exceptions=True)
            wrong = [
                (n, a) for n, a in enumerate(answers)
                if not isinstance(a, asyncio.CancelledError) and a != n
            ]  # fmt: skip
            assert not wrong
            assert sum(isinstance(a, asyncio.CancelledError) for a in answers) > 20
            proxy.latency_s = 0
            assert [await look(n) for n in range(0, 200, 10)] == list(range(0, 200, 10))
            assert not through.connection_pool._in_use_connections


async def test_more_calls_than_connections_wait_for_their_turn(redis_url: str) -> None:
    """A pool of five serves two hundred calls at once."""
    settings = RedisSettings.from_dsn(redis_url)
    settings.max_connections = 5
    async with Client.connect(settings) as client:
        jobs = await asyncio.gather(
            *(act.options(client=client, id=f"{n}").enqueue("ok", n) for n in range(200))
        )
        assert [job.id for job in jobs] == [f"{n}" for n in range(200)]
        assert len(await client.client_list()) <= 6


async def test_one_id_from_many_producers_is_one_job(redis_url: str, client: Client) -> None:
    """S30: 200 producers, 50 ids; 50 jobs, and 50 more once those have ended."""
    async with running(redis_url):
        for _ in range(2):
            calls = [act.options(client=client, id=f"{n % 50}").enqueue("gate") for n in range(200)]
            jobs = await asyncio.gather(*calls)
            assert sum(not job.duplicate for job in jobs) == 50
            for number in range(50):
                await client.job(f"{number}").cancel()
            for number in range(50):
                await client.job(f"{number}").abort(timeout=10)
    assert not await audit(client)


# -- streams -------------------------------------------------------------------------------


async def test_a_stream_of_jobs_is_enqueued_in_order_and_counted(client: Client) -> None:
    ids = [f"{n:04}" for n in range(1_050)]
    await act.options(client=client, id="0007").enqueue("first")
    added = await client.enqueue_stream(act.options(id=job_id).request("ok") for job_id in ids)
    assert added == 1_049
    waiting = await client.queue().jobs(State.waiting, 0, 2_000)
    assert [info.id for info in waiting] == ["0007", *(i for i in ids if i != "0007")]


async def test_a_stream_that_breaks_off_has_queued_what_came_before(client: Client) -> None:
    def requests() -> Iterator[Request]:
        for _ in range(250):
            yield act.request("ok")
        raise LookupError("the source is gone")

    with pytest.raises(LookupError, match="source is gone"):
        await client.enqueue_stream(requests())
    assert (await client.queue().counts())[State.waiting] in (100, 200)
