"""Reading and writing in one visit: several statements for the price of one change of threads.

Every statement that ``aiosqlite`` carries out goes to a thread and back several times; a look-up of four statements
then costs more in hand-overs than in reading. Here the whole of it runs in one go in a thread, on a connection of its
own. PostgreSQL answers through the network anyhow, and is asked as always.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

from sqlalchemy import CompoundSelect, Insert, Select, create_engine, event
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
        self._kept = threading.local()
        """Each thread keeps its connection: taking one from the pool costs a quarter of a look-up."""
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
        return await loop.run_in_executor(self._threads, _read, self._engine, self._kept, reading)

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


@dataclass(frozen=True, slots=True)
class _PreparedInsert:
    """As ``_Prepared``; ``order``: each parameter with what makes a value of the driver's of it."""

    text: str
    order: tuple[tuple[str, Callable[[Any], Any] | None], ...]
    fixed: Mapping[str, Any]


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

_prepared_inserts: dict[Insert, _PreparedInsert | None] = {}

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


def _prepare_insert(statement: Insert, dialect: Dialect) -> _PreparedInsert | None:
    """None: it needs more than the driver does."""
    compiled = cast("Any", statement.compile(dialect=dialect))
    if compiled.update_prefetch or compiled.postfetch or compiled.literal_execute_params:
        return None
    fixed = {name: bound.value for name, bound in compiled.binds.items() if not bound.required}
    for column in compiled.insert_prefetch:
        if column.default is None or not column.default.is_scalar:
            return None
        fixed[column.key] = column.default.arg
    return _PreparedInsert(
        text=compiled.string,
        order=tuple(
            (name, compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect))
            for name in compiled.positiontup
        ),
        fixed=fixed,
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


class _Writes(_NeverWaits):
    """Prepares what is inserted in bulk."""

    async def execute(self, statement: Any, parameters: Any = None) -> Any:
        if isinstance(parameters, list) and isinstance(statement, Insert):
            if statement not in _prepared_inserts and len(_prepared_inserts) < MOST_PREPARED:
                _prepared_inserts[statement] = _prepare_insert(statement, self.dialect)
            prepared = _prepared_inserts.get(statement)
            if prepared is not None:
                return self._insert(prepared, parameters)
        return await super().execute(statement, parameters)

    def _insert(self, prepared: _PreparedInsert, rows: Sequence[Mapping[str, Any]]) -> None:
        values = [
            [row[name] if make is None else make(row[name]) for name, make in prepared.order]
            for row in ([{**prepared.fixed, **row} for row in rows] if prepared.fixed else rows)
        ]
        driver = self._connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        try:
            driver.executemany(prepared.text, values)
        except sqlite3.Error as error:
            raise DBAPIError(prepared.text, None, error, hide_parameters=True) from error


def _processed(row: Sequence[Any], processors: Sequence[tuple[int, Callable[[Any], Any]]]) -> tuple[Any, ...]:
    values = list(row)
    for place, processor in processors:
        values[place] = processor(values[place])
    return tuple(values)


def _read(engine: Engine, kept: threading.local, reading: Reading[Answer]) -> Answer:
    connection: Connection | None = getattr(kept, "connection", None)
    if connection is None:
        connection = kept.connection = engine.connect()
    try:
        return _done(reading(cast("AsyncConnection", _Reads(connection))))
    except BaseException:
        kept.connection = None
        connection.close()
        raise
    finally:
        if connection.in_transaction():
            connection.rollback()


def _write(engine: Engine, writing: Writing[Answer]) -> Answer:
    with engine.begin() as connection:
        return _done(writing(cast("AsyncConnection", _Writes(connection))))


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
