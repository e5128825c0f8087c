from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import alembic.command
import alembic.config
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import func, insert, inspect, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

import crm_core
from crm_core.centre import Step, load_centre
from crm_core.database import Database, DatabaseAway
from crm_core.schema import journal_position, metadata, party
from tests.throwaway_postgres import ThrowawayPostgres

if TYPE_CHECKING:
    from sqlalchemy import Connection

NOT_IN_METADATA = ("party_search", "phone_search", "alembic_version")


def differences(connection: Connection) -> list[object]:
    def is_ours(_object: object, name: str | None, kind: str, *_: object) -> bool:
        return kind != "table" or not str(name).startswith(NOT_IN_METADATA)

    context = MigrationContext.configure(
        connection, opts={"include_object": is_ours, "compare_type": True, "compare_server_default": False}
    )
    return list(compare_metadata(context, metadata))


def checks(connection: Connection) -> set[tuple[str, str]]:
    return {
        (name, str(check["name"]))
        for name in metadata.tables
        for check in inspect(connection).get_check_constraints(name)
    }


def position(reader: str) -> dict[str, object]:
    return {"reader": reader, "segment": "1", "byte_offset": 0, "at": 1.0}


async def test_the_migrated_schema_equals_the_tables_of_the_code(database: Database) -> None:
    async with database.begin() as connection:
        assert await connection.run_sync(differences) == []
        declared = {
            (table.name, f"ck_{table.name}_{str(check.name).removeprefix(f'ck_{table.name}_')}")
            for table in metadata.tables.values()
            for column in table.columns
            for check in column.constraints
        }
        assert await connection.run_sync(checks) == declared


async def test_migrating_twice_changes_nothing(database: Database) -> None:
    await database.migrate()
    async with database.begin() as connection:
        assert await connection.run_sync(differences) == []


def first_schema(connection: Connection) -> None:
    """A database as the first version left it, with queues, agents and a recording in it."""
    config = alembic.config.Config()
    config.set_main_option("script_location", str(Path(crm_core.__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    alembic.command.upgrade(config, "0001")
    for statement in (
        "INSERT INTO queue (slug, name, is_recorded) VALUES ('sales', 'Sales', true), ('legal', 'Legal', false)",
        "INSERT INTO agent (slug, name, pbx, endpoint, phone_kind) VALUES ('li', 'Li', 'pbx1', 'li', 'desk')",
        "INSERT INTO queue_agent (queue, agent) VALUES ('sales', 'li'), ('legal', 'li')",
        "INSERT INTO queue_skill (queue, skill, proficiency) VALUES ('sales', 'technical', 4), ('sales', 'english', 3)",
        "INSERT INTO app_user (username, name, password_hash, role, agent, created_at, password_changed_at)"
        " VALUES ('li', 'Li', 'x', 'agent', 'li', 1, 1)",
        "INSERT INTO recording (file, interaction, started_at, state) VALUES ('a.wav', 'pbx1-1', 1, 'complete')",
    ):
        connection.execute(text(statement))


async def test_an_old_database_is_brought_up_and_nothing_is_lost(blank_url: str, tmp_path: Path) -> None:
    old = Database(blank_url if blank_url.startswith("postgresql") else f"sqlite+aiosqlite:///{tmp_path / 'old.db'}")
    async with old.begin() as connection:
        if not old.is_sqlite:
            await connection.execute(text("DROP SCHEMA public CASCADE"))
            await connection.execute(text("CREATE SCHEMA public"))
        await connection.run_sync(first_schema)
    await old.open()
    async with old.begin() as connection:
        assert await connection.run_sync(differences) == []
        stored = await load_centre(connection)
        with pytest.raises(IntegrityError):
            async with connection.begin_nested():
                await connection.execute(text("DELETE FROM agent"))
        files = list(await connection.execute(text("SELECT file, state, basis, objected_at FROM recording")))
    await old.close()
    assert {one.slug: one.recording for one in stored.queues} == {"sales": "announced", "legal": "off"}
    assert {one.slug: one.steps for one in stored.queues} == {
        "sales": (Step(after_s=0, text="english >= 3 and technical >= 4"),),
        "legal": (),
    }
    assert stored.agents[0].queues == ("legal", "sales")
    assert [tuple(one) for one in files] == [("a.wav", "complete", "", None)]


async def test_a_failed_write_leaves_nothing_behind(database: Database) -> None:
    async def write(*readers: str) -> None:
        async with database.begin() as connection:
            for reader in readers:
                await connection.execute(insert(journal_position), position(reader))

    with pytest.raises(IntegrityError):
        await write("a", "b", "a")
    async with database.read() as connection:
        assert await connection.scalar(select(func.count()).select_from(journal_position)) == 0


async def test_many_writers_at_once_all_get_their_turn(database: Database) -> None:
    async def write(number: int) -> None:
        async with database.begin() as connection:
            await connection.scalar(select(func.count()).select_from(journal_position))
            await connection.execute(insert(journal_position), position(str(number)))

    await asyncio.gather(*(write(number) for number in range(30)))
    async with database.read() as connection:
        assert await connection.scalar(select(func.count()).select_from(journal_position)) == 30


async def test_a_cancelled_writer_leaves_nothing_and_the_next_gets_its_turn(database: Database) -> None:
    has_written = asyncio.Event()

    async def write_and_wait() -> None:
        async with database.begin() as connection:
            await connection.execute(insert(journal_position), position("a"))
            has_written.set()
            await asyncio.Event().wait()

    writer = asyncio.create_task(write_and_wait())
    await has_written.wait()
    writer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writer
    async with database.begin() as connection:
        await connection.execute(insert(journal_position), position("b"))
    async with database.read() as connection:
        assert list(await connection.scalars(select(journal_position.c.reader))) == ["b"]


async def test_a_reading_connection_cannot_write(database: Database) -> None:
    async with database.read() as connection:
        with pytest.raises(DBAPIError):
            await connection.execute(insert(journal_position), position("a"))
    async with database.read() as connection:
        assert await connection.scalar(select(func.count()).select_from(journal_position)) == 0


async def test_a_reader_sees_what_was_committed_meanwhile(database: Database) -> None:
    async with database.read() as reading:
        assert await reading.scalar(select(func.count()).select_from(journal_position)) == 0
        async with database.begin() as writing:
            await writing.execute(insert(journal_position), position("a"))
        assert await reading.scalar(select(func.count()).select_from(journal_position)) == 1


async def test_references_are_enforced(database: Database) -> None:
    row = {"kind": "person", "name": "a", "name_key": "a", "created_at": 1.0, "updated_at": 1.0, "merged_into": 99}
    with pytest.raises(IntegrityError):
        async with database.begin() as connection:
            await connection.execute(insert(party), row)


async def test_a_database_that_answers_is_alive_and_one_that_is_away_is_not(database: Database, free_port: int) -> None:
    assert await database.is_alive()
    away = Database(f"postgresql+asyncpg://nobody@127.0.0.1:{free_port}/none")
    assert not await away.is_alive()
    await away.close()


@pytest.mark.postgres
async def test_a_server_that_turns_us_away_is_an_error_of_the_database_like_any_other(postgres_url: str) -> None:
    away = Database(f"{postgres_url}_that_is_not_there")
    assert not await away.is_alive()
    with pytest.raises(DBAPIError):
        await away.open()
    await away.close()


@pytest.mark.postgres
async def test_a_server_that_is_starting_up_or_ends_our_connection_is_away_for_now(postgres_url: str) -> None:
    with ThrowawayPostgres() as cluster:
        url = cluster.create("waking")
        cluster.stop()
        cluster.restart(is_starting_up=True)
        waking = Database(url)
        assert not await waking.is_alive()
        with pytest.raises(DatabaseAway, match=r"starting up|not accepting connections"):
            await waking.open()
        with pytest.raises(DatabaseAway):
            async with waking.read():
                pass
        await waking.close()
    database = Database(postgres_url)
    with pytest.raises(DatabaseAway):
        async with database.begin() as connection:
            await connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    # What stays wrong is said as it is.
    with pytest.raises(DBAPIError):
        async with database.begin() as connection:
            await connection.execute(text("SELECT nonsense"))
    await database.close()


async def test_a_file_that_cannot_be_opened_now_is_away_and_what_the_block_does_else_is_not(tmp_path: Path) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'gone' / 'crm.db'}")
    with pytest.raises(DatabaseAway):
        async with database.read():
            pass
    await database.close()
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'crm.db'}")
    await database.open()
    with pytest.raises(FileNotFoundError):
        async with database.read():
            (tmp_path / "recording.wav").read_bytes()
    await database.close()


async def test_a_new_database_file_is_for_its_owner_only(tmp_path: Path) -> None:
    made = Database(f"sqlite+aiosqlite:///{tmp_path / 'crm.db'}")
    await made.open()
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    await made.close()
    assert modes
    assert set(modes.values()) == {0o600}


@pytest.mark.parametrize("url", ["sqlite+aiosqlite://", "sqlite+aiosqlite:///:memory:", "mysql+aiomysql://h/d"])
def test_a_url_that_cannot_work_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="SQLite"):
        Database(url)


async def test_the_audit_cannot_be_rewritten(database: Database) -> None:
    columns = "(at, username, role, action, object, object_id)"
    async with database.begin() as connection:
        await connection.execute(text(f"INSERT INTO audit {columns} VALUES (1, 'a', 'agent', 'view', 'party', '1')"))
    for statement in ("UPDATE audit SET username = 'b'", "DELETE FROM audit"):
        with pytest.raises(DBAPIError, match="append-only"):
            async with database.begin() as connection:
                await connection.execute(text(statement))
