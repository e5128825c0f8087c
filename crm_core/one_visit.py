"""Reading in one visit: several statements for the price of one change of threads.

Every statement that ``aiosqlite`` carries out goes to a thread and back several times; a look-up of four statements
then costs more in hand-overs than in reading. Here the whole of it runs in one go in a thread, on a connection of its
own. PostgreSQL answers through the network anyhow, and is read as always.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar, cast

from sqlalchemy import create_engine, event

from crm_core.database import BUSY_TIMEOUT_MS

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.ext.asyncio import AsyncConnection

    from crm_core.database import Database

Answer = TypeVar("Answer")
Reading = Callable[["AsyncConnection"], Coroutine[Any, Any, Answer]]

THREADS = 2


class OneVisit:
    """Runs reading functions of ``crm_core`` against ``database``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._engine: Engine | None = None
        self._threads: ThreadPoolExecutor | None = None
        if database.is_sqlite:
            self._engine = _reading_engine(database)
            self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="crm-read")

    async def read(self, reading: Reading[Answer]) -> Answer:
        """The answer of ``reading``, which awaits nothing but the connection that it is given.

        Raises what the reading raises; SQLAlchemy's errors when the database fails.
        """
        if self._engine is None or self._threads is None:
            async with self._database.read() as connection:
                return await reading(connection)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, _visit, self._engine, reading)

    def close(self) -> None:
        """Give up threads and connections; a reading under way ends by itself."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
        if self._engine is not None:
            self._engine.dispose()


class _NeverWaits:
    """What reading functions need of an ``AsyncConnection``, over a plain one: every await is over at once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.dialect = connection.dialect

    async def execute(self, statement: Any, parameters: Any = None) -> Any:
        return self._connection.execute(statement, parameters)

    async def scalars(self, statement: Any, parameters: Any = None) -> Any:
        return self._connection.scalars(statement, parameters)

    async def scalar(self, statement: Any, parameters: Any = None) -> Any:
        return self._connection.scalar(statement, parameters)


def _visit(engine: Engine, reading: Reading[Answer]) -> Answer:
    with engine.connect() as connection:
        work = reading(cast("AsyncConnection", _NeverWaits(connection)))
        try:
            work.send(None)
        except StopIteration as done:
            return cast("Answer", done.value)
        work.close()
        raise TypeError("a reading may await its connection only")


def _reading_engine(database: Database) -> Engine:
    engine = create_engine(
        database.url.set(drivername="sqlite+pysqlite"),
        pool_size=THREADS,
        max_overflow=0,
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
        connect_args={"check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        for pragma in (
            f"busy_timeout={BUSY_TIMEOUT_MS}",
            "query_only=ON",
            "cache_size=-65536",
            "mmap_size=1073741824",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return engine
