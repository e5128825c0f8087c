"""What the PBX's records add to what is written, and what they leave alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from crm_core import customers
from crm_core.access import FieldRules, Reader
from crm_core.database import Database
from cti import events as e
from cti.ids import InteractionId, LegId
from tests.core.plans import LI, PBX
from tests.core.test_recorder import Desk, rows_of

SYSTEM = Reader(user="test", role="administrator", agent=None)


def recorded(interaction: InteractionId, caller: LegId, agent_leg: LegId, *, at: float) -> e.CallRecorded:
    """Offered at 1000, answered at 1003 by li, over at 1303."""

    def leg(name: LegId, role: str, agent: str, outcome: str) -> e.RecordedLeg:
        return e.RecordedLeg(
            leg=name,
            role=role,
            started_at=1001.0,
            agent=agent,
            endpoint="agent1" if agent else "trunk",
            number="",
            answered_at=1003.0,
            ended_at=1303.0,
            outcome=outcome,
            cause="normal",
        )

    return e.CallRecorded(
        at=at,
        interaction=interaction,
        merged=(),
        direction="inbound",
        was_offered=True,
        ani="+4912",
        ani_name="Caller",
        is_withheld=False,
        dnis="4001",
        account="",
        choice="",
        language="",
        started_at=1001.0,
        queue="sales",
        queued_at=1001.0,
        answered_at=1003.0,
        ended_at=1303.0,
        outcome="answered",
        agent="li",
        from_agent="",
        talk_s=300.0,
        hold_s=0.0,
        legs=(leg(caller, "customer", "", ""), leg(agent_leg, "agent", "li", "answered")),
        tapes=(e.RecordedTape(file="1.1.wav", leg=caller, started_at=1003.0, ended_at=1303.0),),
        parties=(),
        how="none",
    )


async def everything(database: Database) -> dict[str, list[dict[str, Any]]]:
    """All rows of all that was written."""
    tables = ("interaction", "interaction_leg", "interaction_decision", "recording")
    return {table: sorted(await rows_of(database, table), key=str) for table in tables}


async def test_a_call_that_was_cut_off_gets_its_true_end_and_keeps_what_people_did(
    database: Database, tmp_path: Path
) -> None:
    async with database.begin() as connection:
        party = await customers.create_person(connection, SYSTEM, FieldRules(), {"name": "Ada"}, now=1.0)
    folder = tmp_path / "journal"
    desk = Desk(database, folder)
    hall = desk.hall
    hall.ready(LI)
    caller, leg, _, interaction = hall.talk(LI)
    hall.feed(e.RecordingStarted(at=hall.now, leg=caller, file="1.1.wav"))
    hall.feed(e.CallerLookedUp(at=hall.now, interaction=interaction, parties=(party,), how="number"))
    hall.now += 60
    hall.feed(e.NoteSaved(at=hall.now, interaction=interaction, agent=LI, text="Wants a quote"))
    hall.feed(e.DispositionSet(at=hall.now, interaction=interaction, agent=LI, code="sale"))
    # The daemon dies here and comes back when all is over.
    desk.is_heard = False
    hall.now += 1000
    hall.feed(e.PbxRead(at=hall.now, pbx=PBX, legs=(), devices=()))
    hall.wait(60)
    desk.journal.append([recorded(interaction, caller, leg, at=hall.now)])
    await desk.new_recorder().catch_up(folder)
    rows = await everything(database)
    (row,) = rows["interaction"]
    assert (row["started_at"], row["answered_at"], row["ended_at"], row["talk_s"]) == (1001.0, 1003.0, 1303.0, 300.0)
    assert (row["outcome"], row["agent"], row["note"], row["disposition"]) == (
        "answered",
        "li",
        "Wants a quote",
        "sale",
    )
    assert (row["party_id"], row["match_how"]) == (party, "number")
    legs = {one["id"]: one for one in rows["interaction_leg"]}
    assert {one["ended_at"] for one in legs.values()} == {1303.0}
    assert legs[leg]["ringing_at"] is not None
    (tape,) = rows["recording"]
    assert (tape["state"], tape["ended_at"]) == ("pending", 1303.0)
    # Told again after all of it was written and forgotten, or from the whole journal: nothing changes.
    again = desk.new_recorder()
    again.listen(replace(recorded(interaction, caller, leg, at=hall.now), parties=(), how="none"))
    again.start()
    await again.close()
    assert await everything(database) == rows
    found = await desk.new_recorder().rebuild(folder)
    assert (found.new, found.changed, found.same) == (0, 0, 1)
    assert await everything(database) == rows


async def test_a_recording_that_grew_on_is_measured_anew_and_a_finished_one_is_not(
    database: Database, tmp_path: Path
) -> None:
    desk = Desk(database, tmp_path / "journal")
    caller, leg, interaction = LegId(f"{PBX}/1.1"), LegId(f"{PBX}/2.1"), InteractionId(f"{PBX}-1.1")
    told = recorded(interaction, caller, leg, at=2000.0)
    cut_off = replace(told, ended_at=1100.0, tapes=(replace(told.tapes[0], ended_at=1100.0),))
    for call, state in ((cut_off, "pending"), (told, "pending"), (told, "complete")):
        recorder = desk.new_recorder()
        recorder.listen(call)
        recorder.start()
        await recorder.close()
        (tape,) = await rows_of(database, "recording")
        assert tape["state"] == state
        async with database.begin() as connection:
            await connection.exec_driver_sql("UPDATE recording SET state = 'complete'")
