"""The embedded server: options in, a running server out."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Self

from redis import Redis
from redis.exceptions import RedisError

from jobs.embedded import process
from jobs.embedded.binary import find_binary
from jobs.embedded.process import HOST, Running
from jobs.errors import ConfigurationError, ServerAway

DATA_DIR = Path(".jobs/valkey")
PUBLISHED = Path(".jobs/server.json")


def read_published(path: str | Path = PUBLISHED) -> Running | None:
    """Return the server that `publish=` announced in `path`, or None if none runs any more."""
    running = Running.read(Path(path))
    return running if running and process.command_of(running.pid) else None


class EmbeddedServer:
    """One server process on 127.0.0.1, from `start()` to `stop()`; also a context manager.

    Both calls block, for about 0.05 s: use `asyncio.to_thread` where a loop is running.

    Args:
        data_dir: folder of its data, made if missing; default `.jobs/valkey`. None makes
            a temporary one that is removed at the end.
        port: the wanted port; if it is taken, the next free one above it. Default: any free port.
        persistent: keep the data: append-only file, synced every second; default True. False keeps
            everything in memory, and ends the server without a last write.
        publish: announce the server in `.jobs/server.json` (or in the file given) for other
            commands to find with `read_published`; default False.
        config: further server options by their names in valkey.conf, such as
            `{"maxmemory": "64mb", "save": "900 1"}`; they win over the ones above.
        binary: the server binary; default `find_binary()`.
    """

    def __init__(  # noqa: PLR0913 - options, each by name
        self,
        data_dir: str | Path | None = DATA_DIR,
        *,
        port: int | None = None,
        persistent: bool = True,
        publish: bool | str | Path = False,
        config: Mapping[str, str] | None = None,
        binary: str | Path | None = None,
    ) -> None:
        self.persistent = persistent
        self.config = dict(config or {})
        self.data_dir = Path(data_dir).absolute() if data_dir is not None else Path()
        self.port = port or 0
        self.version = ""
        self.kind = ""
        self._temporary = data_dir is None
        self._publish = PUBLISHED if publish is True else Path(publish) if publish else None
        self._binary = Path(binary) if binary else None
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._lock: IO[bytes] | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        state = f"running at {self.url}" if self.running else "stopped"
        return f"<EmbeddedServer {state}, data in {self.data_dir}>"

    @property
    def url(self) -> str:
        """The address for clients, with the password if `config` sets `requirepass`."""
        password = self.config.get("requirepass")
        return f"redis://{f':{password}@' if password else ''}{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        """The id of the server process; raises ServerAway before `start()` and after `stop()`."""
        if self._process is None:
            raise ServerAway("expected a running embedded server, but it was not started")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the server process lives; it may end by itself, for instance killed by a test."""
        return self._process is not None and self._process.poll() is None

    @property
    def log_path(self) -> Path:
        """The server's own log, begun anew by every start."""
        return self.data_dir / "server.log"

    def start(self, timeout_s: float = 10.0) -> Self:
        """Start the server and return when it answers; nothing to do if it runs already.

        Args:
            timeout_s: how long loading the data may take.

        Raises ConfigurationError without a usable binary or data folder, or if another process
        uses that folder; ServerAway, with the end of its log, if the server does not come up.
        """
        if self.running:
            return self
        self.stop()  # it may have ended by itself
        binary = self._binary or find_binary()
        try:
            self._take_folder()
            self._launch(binary, time.monotonic() + timeout_s)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End the server and wait for it; a temporary data folder goes with it. Safe to repeat."""
        self._stand_down()
        if self._process is not None:
            process.end(self._process, gently=self.persistent)
        self._release()

    def _take_folder(self) -> None:
        """Make the data folder, lock it, and end what a killed starter left running in it."""
        try:
            if self._temporary:
                self.data_dir = Path(tempfile.mkdtemp(prefix="jobs-valkey-"))
            self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = (self.data_dir / "lock").open("wb")
        except OSError as error:
            raise ConfigurationError(
                f"expected a data folder that can be written: {error}; choose another `data_dir`"
            ) from error
        if not process.try_lock(self._lock):
            raise ConfigurationError(self._in_use())
        process.reap(self._record, str(self.data_dir))

    @property
    def _record(self) -> Path:
        return self.data_dir / "process.json"

    def _in_use(self) -> str:
        other = Running.read(self._record)
        at = f" at {other.url} (process {other.pid})" if other else ""
        return (
            f"the data folder {self.data_dir} already has a running server{at}: "
            "use that one through JOBS_REDIS_URL, stop it, or choose another `data_dir`"
        )

    def _launch(self, binary: Path, deadline: float) -> None:
        """Try port after port: a port free a moment ago may be taken when the server binds."""
        for port in process.free_ports(self.port):
            self.port = port
            self._spawn(binary)
            if self._await_answer(deadline):
                return
            if "Address already in use" not in self._log_tail():
                break
        raise ServerAway(f"{binary} did not start; its log ends with: {self._log_tail()}")

    def _spawn(self, binary: Path) -> None:
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the binary chosen by find_binary
                [binary, *self._arguments()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.data_dir,
                start_new_session=True,
            )
        running = Running(self.url, self._process.pid)
        running.write(self._record)
        self._guard = process.post_guard(
            running.pid, self.data_dir, gently=self.persistent, remove=self._temporary
        )

    def _arguments(self) -> list[str]:
        options = {
            "bind": HOST,
            "port": str(self.port),
            "save": "",
            "appendonly": "yes" if self.persistent else "no",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
            "set-proc-title": "no",  # the guard knows the process by the folder in its arguments
            **self.config,
        }
        flags = [[f"--{name}", *(shlex.split(value) or [""])] for name, value in options.items()]
        return ["--dir", str(self.data_dir), *(word for flag in flags for word in flag)]

    def _stand_down(self) -> None:
        guard, self._guard = self._guard, None
        if guard is not None:
            with contextlib.suppress(BrokenPipeError):
                guard.communicate(b"\n")
            guard.wait()

    def _await_answer(self, deadline: float) -> bool:
        """Wait until the server has loaded its data; False if it ended or needs too long."""
        while self.running and time.monotonic() < deadline:
            if self._answers():
                if self._publish:
                    Running(self.url, self.pid).write(self._publish)
                return True
            time.sleep(0.005)
        self._stand_down()
        if self._process is not None:
            process.end(self._process, gently=False)
        return False

    def _answers(self) -> bool:
        """Ask who answers on the port: another process may have taken it first."""
        try:
            with Redis.from_url(self.url, socket_timeout=1.0) as client:
                client.ping()  # refused while data is loaded, unlike INFO
                info = client.info("server")
        except RedisError:
            return False
        self.kind = str(info.get("server_name", "redis"))
        self.version = str(info.get("valkey_version", info["redis_version"]))
        return int(info["process_id"]) == self.pid

    def _log_tail(self) -> str:
        with contextlib.suppress(OSError):
            return " | ".join(self.log_path.read_text(errors="replace").splitlines()[-3:])
        return "(no log)"

    def _release(self) -> None:
        """Forget the process: its records, its lock, its temporary folder."""
        if self._process is not None:
            self._withdraw(self._process.pid)
        self._process = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None
            if self._temporary:
                shutil.rmtree(self.data_dir, ignore_errors=True)

    def _withdraw(self, pid: int) -> None:
        for path in (self._record, self._publish):
            if path and (record := Running.read(path)) and record.pid == pid:
                path.unlink(missing_ok=True)
