"""What happened on the floor stands in the database, once, whatever stops and starts in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from crm_core import schema
from crm_core.database import Database
from cti import commands as c
from cti import events as e
from cti.events import DialOutcome
from cti.inbound import Output
from cti.journal import Journal
from cti.recorder import Recorder
from tests.core.hall import Hall
from tests.core.plans import ANN, LI, small_plan


class Desk:
    """A hall whose facts go to a journal and a recorder, as the driver has it."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.plan = small_plan(wrap_up_s=30)
        self.hall = Hall(self.plan)
        self.journal = Journal(folder)
        self.journal.open()
        self.database = database
        self.recorder = self.new_recorder()
        decide, wake = self.hall.core.handle, self.hall.core.wake

        def handle(event: e.Event, *, now: float) -> list[Output]:
            self._tell([event])
            outputs = decide(event, now=now)
            self._tell([one for one in outputs if isinstance(one, e.Event)])
            return outputs

        def woken(*, now: float) -> list[Output]:
            outputs = wake(now=now)
            self._tell([one for one in outputs if isinstance(one, e.Event)])
            return outputs

        self.hall.core.handle = handle  # type: ignore[method-assign]
        self.hall.core.wake = woken  # type: ignore[method-assign]
        self.is_heard = True

    def new_recorder(self) -> Recorder:
        return Recorder(
            self.database,
            owner_of=self.plan.owner_of,
            where=lambda: self.journal.position,
            clock=lambda: self.hall.now,
            region="DE",
        )

    def _tell(self, facts: list[e.Event]) -> None:
        self.journal.append(facts)
        if self.is_heard:
            for fact in facts:
                self.recorder.listen(fact)

    def whole_call(self) -> str:
        """A caller talks 60 s with Li, who writes a note, sets a disposition and wraps up for 10 s."""
        hall = self.hall
        caller, leg, bridge, interaction = hall.talk(LI)
        hall.feed(e.CallerLookedUp(at=hall.now, interaction=interaction, parties=(), how="none"))
        hall.feed(e.RecordingStarted(at=hall.now, leg=caller, file="1.1.wav"))
        hall.now += 60
        hall.feed(e.NoteSaved(at=hall.now, interaction=interaction, agent=LI, text="Wants a quote\x00 for 李伟"))
        hall.part(bridge, leg, caller)
        hall.ends(leg)
        hall.ends(caller)
        hall.feed(e.DispositionSet(at=hall.now, interaction=interaction, agent=LI, code="sale"))
        hall.wait(10)
        hall.feed(e.WrapUpFinished(at=hall.now, agent=LI))
        return interaction


async def rows_of(database: Database, table: str) -> list[dict[str, Any]]:
    async with database.read() as connection:
        return [dict(row) for row in (await connection.execute(text(f"SELECT * FROM {table}"))).mappings()]


async def test_a_whole_call_is_one_interaction_with_its_legs_decision_recording_note_and_times(
    database: Database, tmp_path: Path
) -> None:
    desk = Desk(database, tmp_path / "journal")
    desk.recorder.start()
    desk.hall.ready(LI)
    interaction = desk.whole_call()
    await desk.recorder.close()
    (row,) = await rows_of(database, "interaction")
    assert row["id"] == interaction
    assert (row["queue"], row["agent"], row["outcome"], row["disposition"]) == ("sales", "li", "answered", "sale")
    assert row["note"] == "Wants a quote for 李伟"
    assert (row["talk_s"], row["wrap_up_s"], row["wait_s"]) == (60.0, 10.0, 0.0)
    legs = await rows_of(database, "interaction_leg")
    assert sorted((leg["role"], leg["agent"]) for leg in legs) == [("agent", "li"), ("customer", "")]
    assert all(leg["ended_at"] is not None for leg in legs)
    (decision,) = await rows_of(database, "interaction_decision")
    assert decision["agent"] == "li"
    (recording,) = await rows_of(database, "recording")
    assert (recording["file"], recording["state"]) == ("1.1.wav", "pending")


async def test_a_stop_in_the_middle_of_a_call_loses_nothing_and_counts_nothing_twice(
    database: Database, tmp_path: Path
) -> None:
    desk = Desk(database, tmp_path / "journal")
    desk.recorder.start()
    desk.hall.ready(LI, ANN)
    first = desk.whole_call()
    caller, leg, bridge, second = desk.hall.talk(ANN)
    await desk.recorder.close()
    # Killed here: the journal goes on (the PBX told it), nobody hears it.
    desk.is_heard = False
    desk.hall.now += 30
    desk.hall.part(bridge, leg, caller)
    desk.hall.ends(leg)
    desk.hall.ends(caller)
    desk.hall.wait(60)
    desk.journal.close()
    again = desk.new_recorder()
    assert await again.catch_up(tmp_path / "journal") > 0
    once_more = desk.new_recorder()
    await once_more.catch_up(tmp_path / "journal")
    found = {row["id"]: row for row in await rows_of(database, "interaction")}
    assert set(found) == {first, second}
    assert found[second]["talk_s"] == 30.0
    assert found[second]["answered_at"] is not None
    assert found[second]["outcome"] == "answered"
    assert len(await rows_of(database, "interaction_leg")) == 4


class DatabaseThatIsAway(Database):
    """Refuses every transaction while ``is_away``."""

    is_away = False

    def _refuse(self) -> None:
        if self.is_away:
            raise OperationalError("connect", {}, ConnectionRefusedError())

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        self._refuse()
        async with super().begin() as connection:
            yield connection

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        self._refuse()
        async with super().alone():
            yield


async def test_while_the_database_is_away_everything_waits_and_is_written_when_it_is_back(
    blank_url: str, tmp_path: Path
) -> None:
    database = DatabaseThatIsAway(blank_url)
    await database.open(may_migrate=False)
    desk = Desk(database, tmp_path / "journal")
    database.is_away = True
    desk.recorder.start()
    desk.hall.ready(LI, ANN)
    desk.whole_call()
    async with asyncio.timeout(10):
        while not desk.recorder.is_behind:
            await asyncio.sleep(0.01)
    caller, _ = desk.hall.call()
    desk.hall.now += 20
    desk.hall.ends(caller)
    database.is_away = False
    async with asyncio.timeout(20):
        while desk.recorder.is_behind:
            await asyncio.sleep(0.01)
    await desk.recorder.close()
    async with database.read() as connection:
        count = await connection.scalar(select(func.count()).select_from(schema.interaction))
    assert count == 2
    await database.close()


async def test_a_missed_ring_is_a_leg_not_another_interaction(database: Database, tmp_path: Path) -> None:
    desk = Desk(database, tmp_path / "journal")
    desk.recorder.start()
    hall = desk.hall
    hall.ready(LI, ANN)
    caller, interaction = hall.call()
    leg = hall.rings(caller, "agent1")
    hall.now += 20
    hall.ring_ends(caller, leg, DialOutcome.NO_ANSWER)
    hall.offer(caller, waited_s=20)
    ring = hall.last(c.RingAgent)
    second = hall.rings(caller, ring.endpoint)
    bridge = hall.answers(caller, second)
    hall.now += 5
    hall.part(bridge, second, caller)
    hall.ends(second)
    hall.ends(caller)
    await desk.recorder.close()
    (row,) = await rows_of(database, "interaction")
    assert (row["id"], row["agent"], row["wait_s"]) == (interaction, "ann", 20.0)
    legs = await rows_of(database, "interaction_leg")
    assert sorted((one["agent"], one["outcome"]) for one in legs if one["agent"]) == [
        ("ann", "answered"),
        ("li", "no_answer"),
    ]
