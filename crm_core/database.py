"""The database by its URL alone: ``sqlite+aiosqlite:///…`` or ``postgresql+asyncpg://…``.

Two pools each. *Reading* connections cannot write (the database itself refuses) and open no transaction, which saves
two round trips on every look-up. *Writing* ones open theirs at once: on SQLite with ``BEGIN IMMEDIATE``, one writer at
a time inside the process, so that a transaction never finds out half-way that it may not write.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import alembic.command
import alembic.config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import event, make_url, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from sqlalchemy import Connection, Engine

MIGRATION_LOCK = 0x63616C6C666C6F6F
BUSY_TIMEOUT_MS = 10_000
_PASSING = frozenset({"08", "53", "57"})
"""Classes of SQLSTATE that pass by themselves: the connection, resources, an operator's doing (also starting up)."""
_PASSING_WORDS = ("locked", "connection was closed", "unable to open database file", "disk I/O error", "disk is full")
"""The same for errors without an SQLSTATE: SQLite's, and the driver's own."""


class DatabaseAway(ConnectionError):
    """The database can't be had now, and that passes: as opposed to an answer that something is wrong, which stays
    until somebody changes it (a password, a schema, a statement). Raised by ``Database.begin``, ``read`` and ``open``,
    also for a connection that breaks inside their block. ``kind``: the class of what happened, for logs."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.kind = type(cause).__name__


class Database:
    """One database of one site. ``url`` as SQLAlchemy understands it; an SQLite database must be a file."""

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        dialect = self.url.get_backend_name()
        if dialect not in {"sqlite", "postgresql"}:
            raise ValueError(f"neither SQLite nor PostgreSQL: {dialect}")
        self.is_sqlite = dialect == "sqlite"
        if self.is_sqlite and (self.url.database in {None, "", ":memory:"} or self.url.query):
            raise ValueError("an SQLite database must be a file")
        self._writer, self._reader = self._sqlite_engines() if self.is_sqlite else self._postgresql_engines()
        self._turn = asyncio.Lock()

    def _sqlite_engines(self) -> tuple[AsyncEngine, AsyncEngine]:
        writer = create_async_engine(
            self.url.set(drivername="sqlite+aiosqlite"), pool_size=1, max_overflow=0, hide_parameters=True
        )
        reader = create_async_engine(
            self.url.set(drivername="sqlite+aiosqlite"),
            pool_size=4,
            max_overflow=4,
            isolation_level="AUTOCOMMIT",
            skip_autocommit_rollback=True,
            # An error that is logged must not carry a customer's number along.
            hide_parameters=True,
        )

        prepare_writing(writer.sync_engine)

        @event.listens_for(reader.sync_engine, "connect")
        def prepare_reader(connection: Any, _record: object) -> None:
            _pragmas(connection, "PRAGMA query_only=ON", "PRAGMA cache_size=-65536", "PRAGMA mmap_size=1073741824")

        return writer, reader

    def _postgresql_engines(self) -> tuple[AsyncEngine, AsyncEngine]:
        url = self.url.set(drivername="postgresql+asyncpg")
        # Short indexed statements: compiling them to machine code costs more than running them.
        settings = {"application_name": "callfloor", "jit": "off"}
        writer = create_async_engine(
            url,
            pool_size=4,
            max_overflow=4,
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args={"server_settings": settings},
        )
        reader = create_async_engine(
            url,
            pool_size=4,
            max_overflow=8,
            pool_pre_ping=True,
            isolation_level="AUTOCOMMIT",
            skip_autocommit_rollback=True,
            # An error that is logged must not carry a customer's number along.
            hide_parameters=True,
            connect_args={"server_settings": {**settings, "default_transaction_read_only": "on"}},
        )
        return writer, reader

    async def open(self, *, may_migrate: bool = True) -> None:
        """Connect; unless told not to, bring the schema to this version first."""
        if may_migrate:
            await self.migrate()
        else:
            async with _connection(self._writer):
                pass

    async def close(self) -> None:
        """Give up all connections."""
        await self._reader.dispose()
        await self._writer.dispose()

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """A connection inside a write transaction, committed at the end of the block and undone by an exception."""
        if self.is_sqlite:
            async with self.alone(), _connection(self._writer) as connection, connection.begin():
                yield connection
        else:
            async with _connection(self._writer) as connection, connection.begin():
                yield connection

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Nobody else in this process writes to an SQLite database during the block."""
        async with self._turn:
            yield

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for reading; each statement sees what is committed when it runs."""
        async with _connection(self._reader) as connection:
            yield connection

    async def is_alive(self) -> bool:
        """Whether the database answers."""
        try:
            async with self.read() as connection:
                await connection.execute(text("SELECT 1"))
        except (SQLAlchemyError, OSError, TimeoutError):
            return False
        return True

    async def stored_schema(self) -> str | None:
        """The revision of the stored schema, None for an empty database. No SQLite file is made by asking."""
        if self.is_sqlite and not await asyncio.to_thread(Path(str(self.url.database)).exists):
            return None
        async with self.read() as connection:
            return await connection.run_sync(lambda sync: MigrationContext.configure(sync).get_current_revision())

    async def migrate(self) -> None:
        """Bring the schema to this version. Safe when several processes start at once. A new SQLite file can be read by
        its owner only, and so are those that SQLite puts beside it."""
        if self.is_sqlite:
            await asyncio.to_thread(Path(str(self.url.database)).touch, mode=0o600)
        async with self.begin() as connection:
            if not self.is_sqlite:
                await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
            await connection.run_sync(_upgrade)


def prepare_writing(engine: Engine) -> None:
    """Have an engine for SQLite open its transactions as a writer."""

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        # The driver must not open transactions by itself; "begin" below does.
        connection.isolation_level = None
        _pragmas(
            connection,
            "PRAGMA journal_mode=WAL",
            "PRAGMA synchronous=NORMAL",
            "PRAGMA foreign_keys=ON",
            "PRAGMA cache_size=-65536",
        )

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _pragmas(connection: Any, *statements: str) -> None:
    cursor = connection.cursor()
    for statement in (f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}", *statements):
        cursor.execute(statement)
    cursor.close()


@asynccontextmanager
async def _connection(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection of the pool; what says that the database is away comes out as ``DatabaseAway``."""
    with _told_apart():
        async with AsyncExitStack() as stack:
            try:
                connection = await stack.enter_async_context(engine.connect())
            except OSError as error:
                # No route, no name, no socket: nobody is there.
                raise DatabaseAway(error) from error
            yield connection


@contextmanager
def _told_apart() -> Iterator[None]:
    try:
        yield
    except DatabaseAway:
        raise
    except (DBAPIError, PoolTimeout, ConnectionError, TimeoutError) as error:
        if not _is_away(error):
            raise
        raise DatabaseAway(error) from error


def _is_away(error: Exception) -> bool:
    if not isinstance(error, DBAPIError):
        return True
    state = getattr(error.orig, "sqlstate", None)
    if state:
        return str(state)[:2] in _PASSING
    return error.connection_invalidated or any(word in str(error.orig) for word in _PASSING_WORDS)


def known_schema() -> str:
    """The revision of the schema that this version of the program works with."""
    return ScriptDirectory.from_config(_alembic()).get_current_head() or ""


def _alembic() -> alembic.config.Config:
    config = alembic.config.Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def _upgrade(connection: Connection) -> None:
    config = _alembic()
    config.attributes["connection"] = connection
    alembic.command.upgrade(config, "head")
