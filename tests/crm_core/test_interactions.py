from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, select, update

from crm_core import customers, interactions, recordings
from crm_core.access import FieldRules, Reader
from crm_core.errors import BadInput, Missing
from crm_core.interactions import DecisionRow, InteractionRow, LegRow, RecordingRow
from crm_core.schema import interaction, metadata, party

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from crm_core.database import Database

READER = Reader("sarah", "supervisor")
RULES = FieldRules()
CALL = InteractionRow(
    id="pbx1-1.1", direction="inbound", started_at=100.0, ani_raw="anonymous", is_withheld=True, candidates=(1, 2)
)
LEG = LegRow(id="pbx1/1.1", interaction="pbx1-1.1", role="customer", started_at=100.0, number="+4420")
DECISION = DecisionRow(
    interaction="pbx1-1.1", at=101.0, rule="longest_idle", queue="sales", passed=(("li.wei", "on_call", ""),)
)
RECORDING = RecordingRow(
    file="2026/a.wav", interaction="pbx1-1.1", leg="pbx1/1.1", started_at=102.0, paused=((103.0, None),)
)


async def everything(connection: AsyncConnection) -> dict[str, list[tuple[object, ...]]]:
    return {
        name: sorted((tuple(map(repr, row)) for row in await connection.execute(select(table))), key=repr)
        for name, table in metadata.tables.items()
    }


async def test_the_same_rows_written_twice_change_nothing(database: Database) -> None:
    async with database.begin() as connection:
        for _ in range(2):
            await interactions.write(
                connection,
                interactions=[CALL],
                legs=[LEG],
                decisions=[DECISION, DecisionRow(interaction="x", at=1.0, rule="none")],
                recordings=[RECORDING],
            )
        first = await everything(connection)
        await interactions.write(
            connection, interactions=[CALL, CALL], legs=[LEG], decisions=[DECISION], recordings=[RECORDING]
        )
        assert await everything(connection) == first


async def test_a_row_written_again_with_more_known_replaces_the_first(database: Database) -> None:
    async with database.begin() as connection:
        made = await customers.create_person(connection, READER, RULES, {"name": "李雷"}, now=1.0)
        await interactions.write(connection, interactions=[CALL])
        later = InteractionRow(id=CALL.id, direction="inbound", started_at=100.0, party_id=made, outcome="answered")
        await interactions.write(connection, interactions=[CALL, later], legs=[LEG])
        seen = await interactions.get(connection, READER, RULES, CALL.id)
    assert seen is not None
    assert (seen["outcome"], seen["party_id"], seen["party_name"]) == ("answered", made, "李雷")
    assert seen["candidates"] == []
    assert [leg["number"] for leg in seen["legs"]] == ["+4420"]


async def test_an_interaction_is_read_with_its_legs_decisions_and_recordings(database: Database) -> None:
    async with database.begin() as connection:
        await interactions.write(
            connection, interactions=[CALL], legs=[LEG], decisions=[DECISION], recordings=[RECORDING]
        )
        seen = await interactions.get(connection, READER, RULES, CALL.id)
        assert await interactions.get(connection, READER, RULES, "pbx1-9.9") is None
    assert seen is not None
    assert seen["candidates"] == [1, 2]
    assert seen["decisions"][0]["passed"] == [["li.wei", "on_call", ""]]
    assert (seen["recordings"][0]["state"], seen["recordings"][0]["paused"]) == ("pending", [[103.0, None]])


async def test_a_customer_who_is_gone_or_merged_does_not_stop_the_writing(database: Database) -> None:
    async with database.begin() as connection:
        loser = await customers.create_person(connection, READER, RULES, {"name": "A"}, now=1.0)
        survivor = await customers.create_person(connection, READER, RULES, {"name": "A"}, now=1.0)
        await connection.execute(update(party).where(party.c.id == loser).values(merged_into=survivor))
        await interactions.write(
            connection,
            interactions=[
                InteractionRow(id="a", direction="inbound", started_at=1.0, party_id=loser),
                InteractionRow(id="b", direction="inbound", started_at=1.0, party_id=99_999),
                InteractionRow(id="c", direction="inbound", started_at=1.0),
            ],
        )
        rows = await connection.execute(select(interaction.c.id, interaction.c.party_id).order_by(interaction.c.id))
        assert [tuple(row) for row in rows] == [("a", survivor), ("b", None), ("c", None)]


async def test_what_a_network_sends_is_stored_however_odd(database: Database) -> None:
    odd = "\x00" + "😀'\"\ud800" + "9" * 500
    async with database.begin() as connection:
        await interactions.write(
            connection,
            interactions=[InteractionRow(id="a", direction="inbound", started_at=1.0, ani_raw=odd, ani_name=odd)],
            legs=[LegRow(id="l", interaction="a", role="customer", started_at=1.0, number=odd)],
        )
        seen = await interactions.get(connection, READER, RULES, "a")
    assert seen is not None
    assert (len(seen["ani_raw"]), len(seen["legs"][0]["number"])) == (80, 80)


async def test_two_interactions_become_one_and_the_old_id_leads_to_it(database: Database) -> None:
    other = InteractionRow(id="pbx1-2.2", direction="inbound", started_at=90.0)
    third = InteractionRow(id="pbx1-3.3", direction="inbound", started_at=80.0)
    async with database.begin() as connection:
        await interactions.write(
            connection,
            interactions=[CALL, other, third],
            legs=[LEG],
            decisions=[DECISION],
            recordings=[RECORDING],
        )
        for _ in range(2):
            await interactions.merge(connection, CALL.id, other.id)
        await interactions.merge(connection, other.id, third.id)
        seen = await interactions.get(connection, READER, RULES, CALL.id)
        alive = await connection.scalar(
            select(func.count()).select_from(interaction).where(interaction.c.merged_into.is_(None))
        )
    assert seen is not None
    assert (seen["id"], alive) == (third.id, 1)
    assert [len(seen[part]) for part in ("legs", "decisions", "recordings")] == [1, 1, 1]


async def test_rows_and_position_commit_together_or_not_at_all(database: Database) -> None:
    async with database.begin() as connection:
        assert await interactions.position(connection, "crm") is None
        await interactions.set_position(connection, "crm", "0001", 10, at=1.0)

    async def write_and_break() -> None:
        async with database.begin() as connection:
            await interactions.write(connection, interactions=[CALL])
            await interactions.set_position(connection, "crm", "0001", 20, at=2.0)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await write_and_break()
    async with database.read() as connection:
        assert await interactions.position(connection, "crm") == ("0001", 10)
        assert await interactions.get(connection, READER, RULES, CALL.id) is None


async def test_a_measured_recording_stays_measured_when_its_row_is_written_again(database: Database) -> None:
    async with database.begin() as connection:
        await interactions.write(connection, recordings=[RECORDING])
        (waiting,) = await recordings.pending(connection, started_before=1_000.0)
        assert (waiting.file, waiting.paused) == (RECORDING.file, ((103.0, None),))
        assert await recordings.pending(connection, started_before=102.0) == []
        await recordings.settle(
            connection, RECORDING.file, state="complete", audio_s=9.5, sha256="ab" * 32, size_bytes=5_000_000_000
        )
        await interactions.write(connection, recordings=[RECORDING])
        assert await recordings.pending(connection, started_before=1_000.0) == []
        (seen,) = await recordings.of_interaction(connection, READER, RULES, CALL.id)
        assert (seen["state"], seen["audio_s"], seen["bytes"]) == ("complete", 9.5, 5_000_000_000)
        with pytest.raises(Missing):
            await recordings.settle(connection, "none.wav", state="missing")
        with pytest.raises(BadInput):
            await recordings.settle(connection, RECORDING.file, state="lost")
