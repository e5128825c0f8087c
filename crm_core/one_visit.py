"""Reading and writing in one visit: several statements for the price of one change of threads.

Every statement that ``aiosqlite`` carries out goes to a thread and back several times; a look-up of four statements
then costs more in hand-overs than in reading. Here the whole of it runs in one go in a thread, on a connection of its
own. PostgreSQL answers through the network anyhow, and is asked as always.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

from sqlalchemy import CompoundSelect, Select, create_engine, event
from sqlalchemy.exc import DBAPIError

from crm_core.database import BUSY_TIMEOUT_MS, prepare_writing

if TYPE_CHECKING:
    from sqlalchemy import Connection, Dialect, Engine
    from sqlalchemy.ext.asyncio import AsyncConnection

    from crm_core.database import Database

Answer = TypeVar("Answer")
Reading = Callable[["AsyncConnection"], Coroutine[Any, Any, Answer]]
Writing = Callable[["AsyncConnection"], Coroutine[Any, Any, Answer]]

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
        return await loop.run_in_executor(self._threads, _read, self._engine, reading)

    def close(self) -> None:
        """Give up threads and connections; a reading under way ends by itself."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
        if self._engine is not None:
            self._engine.dispose()


class OneWritingVisit:
    """Runs writing functions of ``crm_core`` against ``database``, each in a transaction of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._engine: Engine | None = None
        self._thread: ThreadPoolExecutor | None = None
        if database.is_sqlite:
            self._engine = _writing_engine(database)
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="crm-write")

    async def write(self, writing: Writing[Answer]) -> Answer:
        """The answer of ``writing``, which awaits nothing but the connection that it is given; committed when this
        returns, undone when it raises.

        Raises what the writing raises; SQLAlchemy's errors when the database fails.
        """
        if self._engine is None or self._thread is None:
            async with self._database.begin() as connection:
                return await writing(connection)
        async with self._database.alone():
            done = asyncio.get_running_loop().run_in_executor(self._thread, _write, self._engine, writing)
            try:
                return await asyncio.shield(done)
            except asyncio.CancelledError:
                # The thread goes on: nobody else may write before it is through.
                await asyncio.wait([done])
                raise

    def close(self) -> None:
        """Give up thread and connection; a writing under way ends by itself first."""
        if self._thread is not None:
            self._thread.shutdown()
        if self._engine is not None:
            self._engine.dispose()


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A statement as the driver takes it: its text, the parameters in their order, its columns."""

    text: str
    order: tuple[str, ...]
    fixed: Mapping[str, Any]
    columns: tuple[str, ...]
    processors: tuple[tuple[int, Callable[[Any], Any]], ...]


class _Rows:
    """What a prepared statement found, as much of SQLAlchemy's result as reading functions use."""

    def __init__(self, rows: Sequence[Any]) -> None:
        self._rows = rows

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)

    def all(self) -> Sequence[Any]:
        return self._rows

    def first(self) -> Any:
        return self._rows[0] if self._rows else None


class _Found(_Rows):
    def __init__(self, columns: tuple[str, ...], rows: Sequence[tuple[Any, ...]]) -> None:
        super().__init__(rows)
        self._columns = columns

    def mappings(self) -> _Rows:
        return _Rows([dict(zip(self._columns, row, strict=True)) for row in self._rows])


_prepared: dict[tuple[Any, tuple[tuple[str, int], ...]], _Prepared] = {}
"""By statement, and by how many values each of its lists has. Preparing costs more than reading."""

MOST_PREPARED = 100
"""Statements made anew for each reading would fill the memory."""


def _prepare(
    statement: Select[Any] | CompoundSelect[Any], parameters: Mapping[str, Any], dialect: Dialect
) -> _Prepared:
    compiled = statement.compile(dialect=dialect)
    state = cast("Any", compiled).construct_expanded_state(parameters)
    given = {name for name, value in parameters.items() if not isinstance(value, list)}
    given |= {
        f"{name}_{place + 1}"
        for name, value in parameters.items()
        if isinstance(value, list)
        for place in range(len(value))
    }
    columns = list(statement.selected_columns)
    processors = [
        (place, processor)
        for place, column in enumerate(columns)
        if (processor := column.type.dialect_impl(dialect).result_processor(dialect, None)) is not None
    ]
    return _Prepared(
        text=state.statement,
        order=tuple(state.positiontup),
        fixed={name: value for name, value in state.parameters.items() if name not in given},
        columns=tuple(str(column.key) for column in columns),
        processors=tuple(processors),
    )


class _NeverWaits:
    """What functions of ``crm_core`` need of an ``AsyncConnection``, over a plain one: every await is over at once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.dialect = connection.dialect

    async def execute(self, statement: Any, parameters: Any = None) -> Any:
        return self._connection.execute(statement, parameters)

    async def scalars(self, statement: Any, parameters: Any = None) -> Any:
        return self._connection.scalars(statement, parameters)

    async def scalar(self, statement: Any, parameters: Any = None) -> Any:
        return self._connection.scalar(statement, parameters)


class _Reads(_NeverWaits):
    """Prepares what is read with parameters, as look-ups do."""

    async def execute(self, statement: Any, parameters: Any = None) -> Any:
        if isinstance(parameters, dict) and isinstance(statement, Select | CompoundSelect):
            return self._execute_prepared(statement, parameters)
        return await super().execute(statement, parameters)

    def _execute_prepared(self, statement: Select[Any] | CompoundSelect[Any], parameters: dict[str, Any]) -> Any:
        """A statement of a reading function that was read with before goes straight to the driver."""
        lengths = tuple((name, len(value)) for name, value in parameters.items() if isinstance(value, list))
        key = (statement, lengths)
        prepared = _prepared.get(key)
        if prepared is None:
            if len(_prepared) >= MOST_PREPARED or any(not length for _, length in lengths):
                return self._connection.execute(statement, parameters)
            prepared = _prepared[key] = _prepare(statement, parameters, self.dialect)
        values = {**prepared.fixed, **parameters}
        for name, _ in lengths:
            for place, value in enumerate(parameters[name]):
                values[f"{name}_{place + 1}"] = value
        driver = self._connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        try:
            rows = driver.execute(prepared.text, [values[name] for name in prepared.order]).fetchall()
        except sqlite3.Error as error:
            raise DBAPIError(prepared.text, None, error, hide_parameters=True) from error
        if prepared.processors:
            rows = [_processed(row, prepared.processors) for row in rows]
        return _Found(prepared.columns, rows)


def _processed(row: Sequence[Any], processors: Sequence[tuple[int, Callable[[Any], Any]]]) -> tuple[Any, ...]:
    values = list(row)
    for place, processor in processors:
        values[place] = processor(values[place])
    return tuple(values)


def _read(engine: Engine, reading: Reading[Answer]) -> Answer:
    with engine.connect() as connection:
        return _done(reading(cast("AsyncConnection", _Reads(connection))))


def _write(engine: Engine, writing: Writing[Answer]) -> Answer:
    with engine.begin() as connection:
        return _done(writing(cast("AsyncConnection", _NeverWaits(connection))))


def _done(work: Coroutine[Any, Any, Answer]) -> Answer:
    try:
        work.send(None)
    except StopIteration as done:
        return cast("Answer", done.value)
    work.close()
    raise TypeError("work in one visit may await its connection only")


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


def _writing_engine(database: Database) -> Engine:
    engine = create_engine(
        database.url.set(drivername="sqlite+pysqlite"),
        pool_size=1,
        max_overflow=0,
        hide_parameters=True,
        connect_args={"check_same_thread": False},
    )
    prepare_writing(engine)
    return engine
