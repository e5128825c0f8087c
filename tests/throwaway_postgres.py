"""A PostgreSQL cluster that lives as long as a test run: own folder, own port, no sync to disk."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

_DATABASE_NAME = re.compile(r"^[a-z][a-z0-9_]{0,62}$")


class PostgresMissing(Exception):
    """The server's programs are not installed, or it did not start."""


def postgres_programs() -> Path:
    """The folder of ``initdb``, ``postgres`` and ``psql``, the newest version first; raises ``PostgresMissing``."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]), reverse=True
    )
    if found:
        return found[0].parent
    in_path = shutil.which("initdb")
    if in_path is None:
        raise PostgresMissing("PostgreSQL is not installed: apt-get install postgresql, or CALLFLOOR_WITHOUT=postgres")
    return Path(in_path).resolve().parent


class ThrowawayPostgres:
    """``with ThrowawayPostgres() as cluster: url = cluster.create("name")``."""

    def __init__(self) -> None:
        self._programs = postgres_programs()
        # PostgreSQL refuses to run as root; its package brings a user of its own.
        self._owner = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
        self._folder = Path(tempfile.mkdtemp(prefix="callfloor-postgres-"))
        self._server: subprocess.Popen[bytes] | None = None
        self.port = 0

    def __enter__(self) -> Self:
        if self._owner is not None:
            os.chown(self._folder, self._owner.pw_uid, self._owner.pw_gid)
        data = self._folder / "data"
        self._run("initdb", "-D", str(data), "-U", "callfloor", "-E", "UTF8", "--locale=C.UTF-8", "-A", "trust", "-N")
        for _ in range(5):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
            if self._start(data):
                return self
        log = (self._folder / "server.log").read_text(errors="replace")
        self._remove()
        raise PostgresMissing(f"PostgreSQL did not start:\n{log}")

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._remove()

    def stop(self) -> None:
        """End the server; what it holds stays."""
        if self._server is not None:
            self._server.send_signal(2)  # SIGINT: fast shutdown, open sessions are ended
            try:
                self._server.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()

    def restart(self, *, is_starting_up: bool = False) -> None:
        """Start the server again after ``stop``, on the same port. ``is_starting_up``: and stay in that state."""
        data = self._folder / "data"
        if is_starting_up:
            (data / "standby.signal").touch()
        if not self._start(data, answer=1 if is_starting_up else 0):
            raise PostgresMissing((self._folder / "server.log").read_text(errors="replace"))

    def create(self, database: str) -> str:
        """Create an empty database and return its SQLAlchemy address for asyncpg."""
        if not _DATABASE_NAME.match(database):
            raise ValueError(database)
        self._sql(f"CREATE DATABASE {database}")
        return f"postgresql+asyncpg://callfloor@127.0.0.1:{self.port}/{database}"

    def drop(self, database: str) -> None:
        """Remove a database, whoever is still connected to it."""
        if not _DATABASE_NAME.match(database):
            raise ValueError(database)
        self._sql(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")

    def _start(self, data: Path, answer: int = 0) -> bool:
        """Whether it came so far. ``answer``: of ``pg_isready``, 1 while it takes no connections yet."""
        settings = {
            "hot_standby": "off",
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "shared_buffers": "64MB",
            "max_connections": "60",
            "autovacuum": "off",
        }
        with (self._folder / "server.log").open("ab") as log:
            self._server = subprocess.Popen(
                [
                    str(self._programs / "postgres"),
                    *("-D", str(data), "-p", str(self.port), "-h", "127.0.0.1", "-k", str(self._folder)),
                    *(word for name, value in settings.items() for word in ("-c", f"{name}={value}")),
                ],
                stdout=log,
                stderr=log,
                cwd=self._folder,
                **self._as_owner(),  # type: ignore[call-overload]
            )
        deadline = time.monotonic() + 30
        while self._server.poll() is None and time.monotonic() < deadline:
            ready = subprocess.run(
                [str(self._programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)], check=False
            )
            if ready.returncode == answer:
                return True
            time.sleep(0.05)
        return False

    def _sql(self, statement: str) -> None:
        subprocess.run(
            [
                str(self._programs / "psql"),
                *("-qX", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(self.port)),
                *("-U", "callfloor", "-d", "postgres", "-c", statement),
            ],
            check=True,
            capture_output=True,
        )

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._programs / program), *arguments],
            capture_output=True,
            cwd=self._folder,
            check=False,
            **self._as_owner(),  # type: ignore[call-overload]
        )
        if done.returncode != 0:
            raise PostgresMissing(f"{program} failed: {done.stderr.decode(errors='replace')}")

    def _as_owner(self) -> dict[str, object]:
        if self._owner is None:
            return {}
        return {"user": self._owner.pw_uid, "group": self._owner.pw_gid, "extra_groups": []}

    def _remove(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
