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
KILLS = 5
#: After the death of the one whose turn it was, another begins after ten seconds.
RECOVERY_S = 45.0


async def kill_some(workers: Crew, random: Random) -> None:
    """Kill whoever runs, at a random moment between the first letters and the last ones."""
    for kill in range(1, KILLS + 1):
        told = LETTERS * kill * random.uniform(0.3, 0.9) / KILLS
        await wait_until(
            lambda told=told: len(workers.ledger.ids("effect")) >= told,
            description=f"{told:.0f} letters were told of",
            timeout=RECOVERY_S,
            poll=0.01,
        )
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

            async def all_told() -> bool:
                for worker in workers.workers:
                    if worker.returncode is not None and worker.note_end():
                        workers.start_many(1, ready=False)
                return workers.ledger.ids("effect") == {*doomed, *poison}

            await wait_until(
                all_told, description="all were told of", timeout=RECOVERY_S, poll=0.05
            )
            found = await counts(client)
            assert found[State.failed] == LETTERS
            told = workers.ledger.count("effect")
            logger.info("%d letters were told of %d times", LETTERS, told)
            assert told <= LETTERS + 10 * (KILLS + 3), "only calls that ran at a kill ran again"
            assert await audit(client, KEYS) == []
