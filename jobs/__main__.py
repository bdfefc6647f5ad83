"""`python -m jobs`: the command line, also where a shell's own `jobs` hides the script."""

from __future__ import annotations

from jobs.cli import main

if __name__ == "__main__":
    main()
