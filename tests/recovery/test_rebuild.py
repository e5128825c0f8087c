"""Interactions anew from the journal: the same rows, once."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from crm_core.database import Database
from cti import events as e
from cti.events import Event
from cti.journal import Journal, Position
from cti.journal_keeping import DAY_S, JournalKeeping
from cti.recorder import Recorder
from cti.whatif.described import one_queue
from cti.whatif.run import Run
from tests.core.plans import LI
from tests.core.test_recorder import rows_of

TABLES = ("interaction", "interaction_leg", "interaction_decision", "interaction_offer")


async def over(database: Database) -> dict[str, list[dict[str, Any]]]:
    """The rows of all interactions that are over."""
    ended = {row["id"] for row in await rows_of(database, "interaction") if row["ended_at"] is not None}
    rows = {table: await rows_of(database, table) for table in TABLES}
    return {
        table: sorted((row for row in rows[table] if row.get("interaction", row.get("id")) in ended), key=str)
        for table in TABLES
    }


async def test_a_day_comes_back_whole_from_its_journal_and_a_second_time_changes_nothing(
    sqlite_template: Path, tmp_path: Path
) -> None:
    shutil.copy(sqlite_template, tmp_path / "crm.db")
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'crm.db'}")
    await database.open(may_migrate=False)
    folder = tmp_path / "journal"
    written = Journal(folder, segment_bytes=60_000, preface=lambda: [e.PlanChanged(at=day.now, plan=day.core.plan)])

    def recorder() -> Recorder:
        return Recorder(
            database,
            owner_of=day.core.plan.owner_of,
            where=lambda: written.position,
            clock=lambda: day.now,
            region="DE",
        )

    def journaled(fact: Event) -> None:
        written.append([fact])
        live.listen(fact)

    scenario = one_queue(agents=6, calls_per_hour=90, hours=1.5, talk_s=150, patience_s=90)
    day = Run(scenario, seed=1, on_fact=journaled)
    written.open()
    live = recorder()
    live.follow(day.core.conversations)
    day.run()
    for output in day.core.wake(now=day.now + 60):
        # The last wrap-up ends, with nobody on the line any more.
        if isinstance(output, Event):
            journaled(output)
    live.start()
    await live.close()
    before = await over(database)
    assert len(before["interaction"]) == len(before["interaction_offer"]) > 50

    middle = scenario.starts_at + 2700
    async with database.begin() as connection:
        for table in TABLES:
            await connection.exec_driver_sql(f"DELETE FROM {table}")
    looked = await recorder().rebuild(folder, is_dry=True)
    assert (looked.new, looked.changed, looked.same) == (len(before["interaction"]), 0, 0)
    assert await rows_of(database, "interaction") == []
    late = await recorder().rebuild(folder, since_at=middle)
    assert {row["id"] for row in await rows_of(database, "interaction")} == {
        row["id"] for row in before["interaction"] if row["started_at"] >= middle
    }
    assert 0 < late.new < looked.new
    await recorder().rebuild(folder)
    assert await over(database) == before

    async with database.begin() as connection:
        await connection.exec_driver_sql(
            "UPDATE interaction SET outcome = 'unknown', talk_s = 1 WHERE agent = 'agent1'"
        )
    looked = await recorder().rebuild(folder, is_dry=True)
    assert looked.changed > 0
    assert set(looked.differences.values()) == {("talk_s", "outcome")}
    await recorder().rebuild(folder)
    assert await over(database) == before
    await database.close()


def test_old_parts_of_the_journal_go_once_the_database_has_them_and_early_when_the_disk_fills_up(
    tmp_path: Path,
) -> None:
    written = Journal(tmp_path, segment_bytes=200)
    written.open()
    for at in range(30):
        written.append([e.DeskFresh(at=float(at), agent=LI)])
    last = written.position.segment
    assert last > 5
    now, free, read_to = 0.0, 10**12, Position(4, 10)

    def kept() -> list[int]:
        return sorted(int(path.stem) for path in tmp_path.glob("*.journal"))

    age_from = (tmp_path / "00000001.journal").stat().st_mtime
    keeping = JournalKeeping(
        tmp_path,
        written=lambda: read_to,
        keep_days=30,
        keep_free_mb=500,
        clock=lambda: age_from + now,
        free=lambda _: free,
    )
    assert keeping.tidy() == []
    # Too little room: what the database has goes, what it does not have never does.
    free = 100_000_000
    assert keeping.tidy() == [1, 2, 3]
    assert keeping.is_full
    free, now, read_to = 10**12, 31 * DAY_S, Position(last, 0)
    assert keeping.tidy() == list(range(4, last))
    assert kept() == [last]
    assert not keeping.is_full
