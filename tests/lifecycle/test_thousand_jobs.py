"""The promise to users of arq: their command, our queue, a thousand jobs of our command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from jobs import Client, State
from tests.helpers.source import ROOT


def run(redis_url: str, *command: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"REDIS_URL": redis_url, "PYTHONPATH": str(ROOT)}
    environment.pop("JOBS_REDIS_URL", None)
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


async def test_arqs_command_runs_a_thousand_jobs_of_this_project(
    redis_url: str, tmp_path: Path
) -> None:
    lines = tmp_path / "jobs.jsonl"
    job = {"job": "flaky", "succeed_on": 1}
    lines.write_text("".join(json.dumps(job | {"message": f"m{n}"}) + "\n" for n in range(1000)))
    sent = run(redis_url, sys.executable, "-m", "jobs", "enqueue", "many", str(lines))
    assert sent.returncode == 0, sent.stderr
    arq = Path(sys.executable).parent / "arq"
    ended = run(redis_url, str(arq), "settings.WorkerSettings", "--burst")
    assert ended.returncode == 0, ended.stderr
    async with Client.connect(redis_url) as client:
        counts = await client.queue("default").counts()
    assert {state: number for state, number in counts.items() if number} == {State.completed: 1000}
