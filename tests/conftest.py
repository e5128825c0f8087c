"""Fixtures that all tests share, and the switch that leaves out what a machine does not have.

``CALLFLOOR_WITHOUT=asterisk,chromium,postgres`` skips by name, and the last line of the run counts what was skipped.
Without it a missing part is a failure, not a skip.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from cti.asterisk.local_pbx import AsteriskProgram, LocalPbx, PhoneAccount, installed_root
from tests.databases import blank_url, database, postgres_template, sqlite_template
from tests.throwaway_postgres import ThrowawayPostgres

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence

__all__ = ["blank_url", "database", "postgres_template", "sqlite_template"]

MARKER_OF_PART = {"asterisk": "pbx", "chromium": "browser", "postgres": "postgres"}
PART_OF_FIXTURE = {
    "asterisk_root": "asterisk",
    "asterisk_roots": "asterisk",
    "local_pbx": "asterisk",
    "chromium": "chromium",
    "postgres_cluster": "postgres",
    "postgres_url": "postgres",
}
_left_out: dict[str, int] = {}


def _without() -> frozenset[str]:
    named = frozenset(part.strip() for part in os.environ.get("CALLFLOOR_WITHOUT", "").split(",") if part.strip())
    unknown = named - MARKER_OF_PART.keys()
    if unknown:
        raise pytest.UsageError(
            f"CALLFLOOR_WITHOUT knows {', '.join(sorted(MARKER_OF_PART))}; not {', '.join(sorted(unknown))}"
        )
    return named


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    without = _without()
    for item in items:
        parts = {part for part, marker in MARKER_OF_PART.items() if item.get_closest_marker(marker)}
        parts |= {PART_OF_FIXTURE[name] for name in getattr(item, "fixturenames", ()) if name in PART_OF_FIXTURE}
        for part in parts:
            item.add_marker(MARKER_OF_PART[part])
        for part in sorted(parts & without):
            item.add_marker(pytest.mark.skip(reason=f"CALLFLOOR_WITHOUT={part}"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in terminalreporter.stats.get("skipped", []):
        part = re.search(r"CALLFLOOR_WITHOUT=(\w+)", str(report.longrepr))
        if part is not None:
            _left_out[part[1]] = _left_out.get(part[1], 0) + 1


def pytest_unconfigure() -> None:
    if _left_out:
        counts = ", ".join(f"{count} without {part}" for part, count in sorted(_left_out.items()))
        print(f"skipped by CALLFLOOR_WITHOUT: {counts}")


@pytest.fixture
def free_port() -> int:
    """A TCP port on loopback that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[ThrowawayPostgres]:
    """A PostgreSQL of our own for this run."""
    with ThrowawayPostgres() as cluster:
        yield cluster


@pytest.fixture
def postgres_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """SQLAlchemy address (asyncpg) of an empty database of this test alone. May also be asked for by
    ``request.getfixturevalue("postgres_url")`` in a test that is parametrised with both databases."""
    if "postgres" in _without():
        pytest.skip("CALLFLOOR_WITHOUT=postgres")
    cluster: ThrowawayPostgres = request.getfixturevalue("postgres_cluster")
    name = f"test_{uuid.uuid4().hex[:16]}"
    url = cluster.create(name)
    yield url
    cluster.drop(name)


def _root(version: int) -> Path:
    root = installed_root(version)
    AsteriskProgram.find(root)
    return root


@pytest.fixture(scope="session")
def asterisk_root() -> Path:
    """The unpacked Asterisk 22."""
    return _root(22)


@pytest.fixture(scope="session")
def asterisk_roots() -> dict[int, Path]:
    """The unpacked Asterisks by version: 22 and 16."""
    return {version: _root(version) for version in (22, 16)}


class StartPbx(Protocol):
    """What the fixture ``local_pbx`` gives: call it to get a running Asterisk; all of them end with the test."""

    async def __call__(
        self,
        *,
        phones: Sequence[PhoneAccount] = ...,
        queues: Iterable[str] = ...,
        routes: Mapping[str, str] | None = ...,
        static_members: Mapping[str, Sequence[str]] | None = ...,
        settings: Mapping[str, str] | None = ...,
        trunk_contact: str = ...,
        version: int = ...,
        pbx: str = ...,
        rtp_timeout_s: int = ...,
        fallback_s: int = ...,
        extra_dialplan: str = ...,
    ) -> LocalPbx: ...


@pytest.fixture
async def local_pbx() -> AsyncIterator[StartPbx]:
    """Starts real Asterisks on free ports of 127.0.0.1."""
    running: list[LocalPbx] = []
    # Short, because the path of Asterisk's control socket is limited.
    folder = Path(tempfile.mkdtemp(prefix="callfloor-pbx-"))

    async def start(*, phones: Sequence[PhoneAccount] = (), version: int = 22, **settings: Any) -> LocalPbx:
        pbx = LocalPbx(_root(version), folder / str(len(running)), version=version, phones=phones, **settings)
        running.append(pbx)
        await pbx.start()
        return pbx

    yield start
    for pbx in running:
        await pbx.stop()
    shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class Chromium:
    """How tests start the browser: its program and the switches that give it a microphone without asking."""

    executable_path: str
    args: tuple[str, ...] = (
        "--no-sandbox",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        "--autoplay-policy=no-user-gesture-required",
        "--allow-loopback-in-peer-connection",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        "--no-default-browser-check",
        "--no-pings",
        "--disable-gpu",
        "--disable-dev-shm-usage",
    )


@pytest.fixture(scope="session")
def chromium() -> Chromium:
    """Chromium for Playwright: ``launch(executable_path=chromium.executable_path, args=list(chromium.args))``."""
    program = os.environ.get("CALLFLOOR_CHROMIUM") or shutil.which("chromium")
    assert program, "Chromium is not installed: apt-get install chromium, or CALLFLOOR_WITHOUT=chromium"
    return Chromium(program)
