"""Write requirements/*.txt: exact versions with the hashes of every file the registry has.

usage: python tools/lock.py [--upgrade] [--upgrade-package NAME …]

`run.txt` is the package with all its extras, `dev.txt` the same versions and the tools of dev.in.
The first is small, so that `make run` is quick; the second adds type checkers of 300 MB.
One file serves every supported Python and platform: differences are markers inside it.
Versions stay as they are unless a requirement changed or `--upgrade` asks for newer ones.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCRATCH = ROOT / "build" / "lock-venv"
RUN, DEV = Path("requirements/run.txt"), Path("requirements/dev.txt")
RUN_IN = "requirements/run.in"
PIN = re.compile(r"[a-z0-9][a-z0-9.-]*==[^ ;]+( ; [^:]+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?")
"""What a line of a lock file may be: no index, no address, no path."""


def resolver() -> Path:
    """Return the `uv` on PATH, or one installed into a scratch environment under build/."""
    if found := shutil.which("uv"):
        return Path(found)
    uv = SCRATCH / "bin" / "uv"
    if not uv.exists():
        venv.create(SCRATCH, with_pip=True, clear=True)
        subprocess.run([SCRATCH / "bin" / "pip", "install", "--quiet", "uv"], check=True)
    return uv


def lock(uv: Path, target: Path, *sources: str, options: list[str]) -> None:
    """Resolve `sources` and the package's own requirements into `target`."""
    fixed = "--quiet --no-config --universal --python-version 3.11 --all-extras --generate-hashes"
    fixed += f" --no-annotate --no-header --output-file {target} pyproject.toml"
    subprocess.run(
        [uv, "pip", "compile", *options, *fixed.split(), *sources],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        check=True,
    )


def strange_lines(lock_file: Path) -> list[str]:
    """Return the lines that are neither a pinned version nor a hash."""
    return [line for line in lock_file.read_text().splitlines() if not PIN.fullmatch(line)]


def main(options: list[str]) -> int:
    """Write both files; 1 if something else than versions and hashes came out."""
    uv = resolver()
    lock(uv, RUN, RUN_IN, options=options)
    lock(uv, DEV, RUN_IN, "requirements/dev.in", options=[*options, "--constraints", str(RUN)])
    for path in (RUN, DEV):
        if strange := strange_lines(ROOT / path):
            print(f"{path}: expected only versions and hashes, found {strange[:3]}")
            return 1
        print(f"{path}: {sum('==' in line for line in (ROOT / path).open())} packages")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
