"""Workers are killed while they tell of dead letters: each letter is told of all the same."""

from __future__ import annotations

from pathlib import Path
from random import Random

from jobs import Client, Request, State
from jobs.store.audit import audit
from tests.faults.judging import KEYS, counts, enqueue_noted, logger, random_of_this_run
from tests.helpers.processes import Crew, crew
from tests.helpers.waiting import wait_until

LETTERS = 400
KILLS = 4
#: After the death of the one whose turn it was, another begins after five seconds.
RECOVERY_S = 45.0


async def told(workers: Crew, number: float) -> None:
    """Wait until so many letters were told of; whoever dies meanwhile is replaced."""

    def so_many() -> bool:
        for worker in workers.workers:
            if worker.note_end():
                workers.start_many(1, ready=False)
        return len(workers.ledger.ids("effect")) >= number

    what = f"{number:.0f} letters were told of"
    await wait_until(so_many, description=what, timeout=RECOVERY_S, poll=0.01)


async def kill_some(workers: Crew, random: Random) -> None:
    """Kill whoever runs, at random moments between the first letters and the last ones."""
    for kill in range(1, KILLS + 1):
        await told(workers, LETTERS * kill * random.uniform(0.3, 0.9) / KILLS)
        alive = workers.alive()
        random.choice([worker for worker in alive if worker.started()] or alive).kill()
        workers.start_many(1, ready=False)


async def test_no_dead_letter_goes_untold(redis_url: str, tmp_path: Path) -> None:
    options = {"app": "letters", "dead_letter": "mourn", "lease": 0.6, "concurrency": 10}
    with crew(redis_url, tmp_path, **options) as workers:
        async with Client.connect(redis_url) as client:
            doomed = {f"d{n}": Request("doomed") for n in range(LETTERS - 1)}
            poison = {"p": Request("poison", kwargs={"how": "kill"})}
            await enqueue_noted(client, workers.ledger, poison | doomed)
            workers.start_many(3, ready=False)
            await kill_some(workers, random_of_this_run())

            await told(workers, LETTERS)
            assert workers.ledger.ids("effect") == {*doomed, *poison}
            found = await counts(client)
            assert found[State.failed] == LETTERS
            calls = workers.ledger.count("effect")
            logger.info("%d letters were told of %d times", LETTERS, calls)
            assert calls <= LETTERS + 10 * (KILLS + 3), "only calls that ran at a kill ran again"
            assert await audit(client, KEYS) == []
