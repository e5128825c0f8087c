"""A real PostgreSQL that is stopped and started again: the daemon waits for it, and loses nothing meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from crm_core.database import Database
from cti.daemon import Daemon
from cti.settings import (
    DatabaseSettings,
    DeskSocketSettings,
    JournalSettings,
    RecordingsSettings,
    Settings,
    WebSettings,
)
from tests.core.plans import LI
from tests.core.test_recorder import Desk, rows_of
from tests.throwaway_postgres import ThrowawayPostgres

pytestmark = pytest.mark.postgres
WITHIN_S = 30


@pytest.fixture
def cluster() -> Iterator[ThrowawayPostgres]:
    """A PostgreSQL that this test may stop."""
    with ThrowawayPostgres() as cluster:
        yield cluster


async def until(condition: object, *, within_s: float = WITHIN_S) -> None:
    """Wait for something that a function without arguments tells."""
    assert callable(condition)
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[asyncio.Task[None]]:
    """A daemon that starts while the test goes on."""
    daemon = Daemon(settings)
    starting = asyncio.create_task(daemon.start())
    try:
        yield starting
    finally:
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await daemon.stop()


async def test_the_daemon_waits_for_its_database_and_what_happens_without_it_is_written_later(
    cluster: ThrowawayPostgres, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(
        database=DatabaseSettings(url=cluster.create("floor")),
        journal=JournalSettings(folder=tmp_path / "journal"),
        recordings=RecordingsSettings(folder=tmp_path),
        web=WebSettings(port=0),
        desk_socket=DeskSocketSettings(port=0),
        is_simulated=True,
    )
    cluster.stop()
    async with running(settings) as starting:
        await until(lambda: "the database is away" in caplog.text)
        assert not starting.done()
        cluster.restart()
        async with asyncio.timeout(WITHIN_S):
            await starting
    # The schema is there now; a recorder of our own goes on with it.
    database = Database(settings.database.url)
    await database.open()
    desk = Desk(database, tmp_path / "other")
    desk.recorder.start()
    desk.hall.ready(LI)
    cluster.stop()
    interaction = desk.whole_call()
    await until(lambda: desk.recorder.is_behind)
    cluster.restart()
    await until(lambda: not desk.recorder.is_behind)
    await desk.recorder.close()
    assert [row["id"] for row in await rows_of(database, "interaction")] == [interaction]
    await database.close()
