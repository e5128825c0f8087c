"""The books of each queue, and messages as work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crm_core import waiting
from crm_core.errors import Missing, Refused
from crm_core.waiting import MessageRow, OfferRow

if TYPE_CHECKING:
    from crm_core.database import Database

FIRST = OfferRow(interaction="pbx1-1.1", queue="sales", began_at=100.0)
SECOND = OfferRow(interaction="pbx1-1.1", queue="support", began_at=160.0, ended_at=170.0, outcome="answered")
MESSAGE = MessageRow(interaction="pbx1-2.1", queue="sales", file="2.1.wav", left_at=200.0)


async def test_an_offer_that_has_ended_is_still_one_offer(database: Database) -> None:
    async with database.begin() as connection:
        await waiting.write(connection, offers=[FIRST])
        ended = OfferRow(
            interaction="pbx1-1.1",
            queue="sales",
            began_at=100.0,
            ended_at=160.0,
            outcome="overflowed",
            went_to="queue:support",
        )
        for _ in range(2):
            await waiting.write(connection, offers=[FIRST, ended, SECOND])
        books = await waiting.offers_of(connection, "pbx1-1.1")
    assert [(one["queue"], one["outcome"], one["went_to"]) for one in books] == [
        ("sales", "overflowed", "queue:support"),
        ("support", "answered", ""),
    ]


async def test_a_message_is_work_until_somebody_is_done_with_it(database: Database) -> None:
    async with database.begin() as connection:
        await waiting.write(connection, messages=[MESSAGE])
        await waiting.take_message(connection, "2.1.wav", "li")
        await waiting.write(connection, messages=[MESSAGE])  # told once more: Li keeps it
        (found,) = await waiting.open_messages(connection, ["sales"])
        assert (found["owner"], found["due_at"]) == ("li", 200.0 + waiting.DUE_S)
        with pytest.raises(Refused):
            await waiting.take_message(connection, "2.1.wav", "ann")
        await waiting.finish_message(connection, "2.1.wav", "li", at=300.0)
        assert await waiting.open_messages(connection, ["sales"]) == []
        assert [one["done_at"] for one in await waiting.messages_of(connection, "pbx1-2.1")] == [300.0]
        with pytest.raises(Missing):
            await waiting.take_message(connection, "9.9.wav", "li")


async def test_what_belongs_to_a_merged_interaction_moves_along(database: Database) -> None:
    async with database.begin() as connection:
        await waiting.write(connection, offers=[FIRST], messages=[MESSAGE])
        await waiting.merge(connection, "pbx1-1.1", "pbx1-0.1")
        assert len(await waiting.offers_of(connection, "pbx1-0.1")) == 1
