"""Make `.venv` from the lock files, or say in a few milliseconds that it is up to date.

usage: python tools/environment.py run|dev        (any Python >= 3.11; `make` finds one)
`run` is enough for the demo, `dev` adds the tools of the tests. The folder is made anew when
a lock or the Python version changed; the package itself is linked again when pyproject.toml did.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "made-from.json"
LOCKS = {"run": Path("requirements/run.txt"), "dev": Path("requirements/dev.txt")}
PYTHON = VENV / ("Scripts" if sys.platform == "win32" else "bin") / "python"

HINT = (
    "{step} failed (exit status {status}), see above. Behind a proxy: set HTTPS_PROXY; with own "
    "certificates: PIP_CERT and SSL_CERT_FILE; with a mirror: PIP_INDEX_URL and UV_DEFAULT_INDEX"
)

Parts = dict[str, str]
"""What an environment is made of: `python` (version), `run`, `dev` and `project` (file hashes)."""


def wanted(*, dev: bool) -> Parts:
    """Return the parts that the files here ask for."""
    parts = {"python": ".".join(map(str, sys.version_info[:2])), "run": digest(LOCKS["run"])}
    if dev:
        parts["dev"] = digest(LOCKS["dev"])
    return parts | {"project": digest(Path("pyproject.toml"))}


def digest(path: Path) -> str:
    """Return the hash of a file's content: a checkout changes its time, not its content."""
    return hashlib.sha256((ROOT / path).read_bytes()).hexdigest()


def present() -> Parts:
    """Return the parts of the environment that is there; empty if there is none."""
    try:
        parts: Parts = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}
    return parts if PYTHON.exists() else {}


def remember(parts: Parts) -> None:
    """Write down what was done, so that a failed next step does not repeat it."""
    STAMP.write_text(json.dumps(parts))


def installer() -> list[str]:
    """Return the command that installs: `uv` where it is present, for it is faster, else pip."""
    if uv := shutil.which("uv"):
        return [uv, "pip", "install", "--quiet", "--python", str(PYTHON)]
    # Nothing but errors is shown, and modules are compiled when they are first used: saves 10 s.
    options = ["-qq", "--disable-pip-version-check", "--no-input", "--no-compile"]
    return [str(PYTHON), "-m", "pip", "install", *options]


def install(words: str, *options: str) -> None:
    """Run one installing step; end the program with a hint if it fails."""
    print(f"{words} …", file=sys.stderr, flush=True)
    status = subprocess.run([*installer(), *options], cwd=ROOT, check=False).returncode
    if status:
        raise SystemExit(HINT.format(step=words.capitalize(), status=status))


def make() -> None:
    """Make an empty environment in place of the old one."""
    print(f"making .venv with Python {sys.version.split()[0]} …", file=sys.stderr, flush=True)
    try:
        venv.create(VENV, with_pip=True, clear=True, prompt="jobs")
    except subprocess.CalledProcessError as error:
        raise SystemExit(
            f"expected a Python that can make environments, but {error}; "
            "on Debian and Ubuntu: apt install python3-venv"
        ) from error


def main(kind: str) -> None:
    """Do what is missing, step by step; what is there already stays."""
    have = present()
    want = wanted(dev=kind == "dev" or "dev" in have)
    if want == have:
        return
    if any(have.get(part) != want[part] for part in have.keys() - {"project"}) or not have:
        make()
        have = {"python": want["python"]}
    lock = "dev" if "dev" in want else "run"
    if lock not in have:
        install("installing the locked packages", "--require-hashes", "-r", str(LOCKS[lock]))
        have = {part: want[part] for part in want if part != "project"}
        remember(have)
    install("installing this package", "--no-deps", "--no-build-isolation", "-e", ".")
    remember(want)


if __name__ == "__main__":
    main(sys.argv[1])
