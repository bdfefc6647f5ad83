"""The command line bound to this project's settings: `python cli.py enqueue email --help`.

The commands live in jobs/cli/; the installed scripts `jobs` and `arq-jobs` are the same program
and look for settings.py in the current folder.
"""

from __future__ import annotations

from jobs.cli import main

if __name__ == "__main__":
    main(app="settings:WorkerSettings")
