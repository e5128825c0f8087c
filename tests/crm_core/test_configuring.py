"""Changes of the configured centre: refused where they do not fit, kept, audited, and taken back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from crm_core import audit, centre, configuring, users
from crm_core.access import FieldRules, Reader
from crm_core.centre import Centre, Step
from crm_core.configuring import By
from crm_core.errors import BadInputs, CannotUndo, Fault, Missing, Unfit
from tests.crm_core.test_centre import AGENT, CALENDAR, MENU, QUEUE, ROUTE, SITE, put_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.ext.asyncio import AsyncConnection

    from crm_core.database import Database

BOSS = By(at=1000.0, username="boss", role="administrator", ip="10.0.0.1", session="s1")


def checker(stored: Centre) -> Iterator[Fault]:
    """A language in which every step says nothing or ``english``."""
    for queue in stored.queues:
        for place, step in enumerate(queue.steps):
            if not (step.text == "" or step.text.startswith("english")):
                yield Fault("queue", queue.slug, f"steps.{place}.text", "not_english", 0)


async def change(connection: AsyncConnection, one: Any) -> None:
    await configuring.change(connection, BOSS, one, checker=checker)


async def changed_alone(database: Database, one: Any) -> None:
    async with database.begin() as connection:
        if isinstance(one, tuple):
            await configuring.remove(connection, BOSS, *one, checker=checker)
        else:
            await change(connection, one)


async def undo_last(connection: AsyncConnection, *, nth: int = 0) -> configuring.Difference:
    changes = await configuring.history(connection, limit=20)
    return await configuring.undo(connection, BOSS, changes[nth].id, checker=checker)


async def test_a_change_is_kept_with_who_and_what_and_is_audited(database: Database) -> None:
    async with database.begin() as connection:
        await put_all(connection)
        await change(connection, replace(QUEUE, wrap_up_s=45, steps=(Step(after_s=0, text="english"),)))
        await change(connection, replace(QUEUE, wrap_up_s=45, steps=(Step(after_s=0, text="english"),)))
        (kept,) = await configuring.history(connection, limit=9)
        (noted,) = await audit.recent(connection, Reader("boss", "administrator"), FieldRules(), limit=9)
    assert (kept.username, kept.at, kept.kind, kept.key, kept.action) == ("boss", 1000.0, "queue", "sales", "change")
    assert kept.fields() == [
        ("steps.0.text", "english >= 3", "english"),
        ("steps.1.after_s", 30, None),
        ("steps.1.text", "", None),
        ("wrap_up_s", 30, 45),
    ]
    assert (noted["action"], noted["object"], noted["object_id"], noted["ip"]) == (
        "change",
        "queue",
        "sales",
        "10.0.0.1",
    )
    assert noted["detail"]["wrap_up_s"] == [30, 45]


async def test_every_kind_of_change_can_be_taken_back_and_the_taking_back_too(database: Database) -> None:
    async with database.begin() as connection:
        await put_all(connection)
        before = await centre.load_centre(connection)
        steps: tuple[Any, ...] = (
            replace(QUEUE, callback=None, comfort=centre.Comfort(), overflows=()),
            replace(AGENT, skills={"english": 3, "french": 1}, queues=()),
            replace(SITE, tiers={"gold": 5, "silver": 2}),
            replace(CALENDAR, days={}),
            replace(MENU, slug="second", options={}, account_digits=0),
        )
        for one in steps:
            loaded = await centre.load_centre(connection)
            await change(connection, one)
            changed = await centre.load_centre(connection)
            assert changed != loaded
            await undo_last(connection)
            assert await centre.load_centre(connection) == loaded
            await undo_last(connection)
            assert await centre.load_centre(connection) == changed
            await undo_last(connection)
        # A new default queue takes that from the old one: two changes, to be taken back one by one.
        await change(connection, centre.Queue(slug="new", name="New", is_default=True))
        await undo_last(connection, nth=1)
        await undo_last(connection, nth=1)
        assert await centre.load_centre(connection) == before
        await configuring.remove(connection, BOSS, "number", ROUTE.dnis, checker=checker)
        assert (await centre.load_centre(connection)).routes == ()
        await undo_last(connection)
        assert await centre.load_centre(connection) == before


async def test_an_undo_leaves_alone_what_was_changed_later_and_says_when_it_cannot(database: Database) -> None:
    async with database.begin() as connection:
        await put_all(connection)
        await change(connection, replace(QUEUE, wrap_up_s=45))
        await change(connection, replace(QUEUE, wrap_up_s=45, priority=7))
        await undo_last(connection, nth=1)
        stored = {one.slug: one for one in (await centre.load_centre(connection)).queues}
        assert (stored["sales"].wrap_up_s, stored["sales"].priority) == (30, 7)
        with pytest.raises(CannotUndo, match="is_undone"):
            await undo_last(connection, nth=2)
        await change(connection, replace(QUEUE, priority=9))
        with pytest.raises(CannotUndo, match="changed_since priority"):
            await undo_last(connection, nth=2)
        with pytest.raises(Missing):
            await configuring.undo(connection, BOSS, 999, checker=checker)


async def test_an_undo_that_would_refer_to_what_is_gone_is_refused(database: Database) -> None:
    async with database.begin() as connection:
        await put_all(connection)
        await change(connection, centre.Menu(slug="old", name="Old", prompt="old", options={}, otherwise="queue:sales"))
        await change(connection, replace(ROUTE, menu="old"))
        await change(connection, replace(ROUTE, menu=""))
        await configuring.remove(connection, BOSS, "menu", "old", checker=checker)
        with pytest.raises(Unfit) as refused:
            await undo_last(connection, nth=1)
        assert refused.value.faults == (Fault("number", "+4001", "menu", "unknown_menu"),)


async def test_what_does_not_fit_changes_nothing_and_leaves_no_trace(database: Database) -> None:
    async with database.begin() as connection:
        await put_all(connection)
        hashed = "x"
        await users.create_user(
            connection, username="li", name="Li", password_hash=hashed, role="agent", agent="li.wei", now=1.0
        )
    wrong: tuple[tuple[Any, Fault], ...] = (
        (replace(QUEUE, closed_to="queue:none"), Fault("queue", "sales", "closed_to", "unknown_queue")),
        (replace(QUEUE, closed_to="voicemail:none"), Fault("queue", "sales", "closed_to", "unknown_queue")),
        (replace(QUEUE, steps=(Step(after_s=0, text="x"),)), Fault("queue", "sales", "steps.0.text", "not_english", 0)),
        (replace(MENU, options={"#": "agent:none"}), Fault("menu", "main", "options.#", "unknown_agent")),
        (replace(AGENT, slug="zoe"), Fault("agent", "zoe", "endpoint", "taken")),
        (("calendar", "office"), Fault("queue", "sales", "calendar", "unknown_calendar")),
        (("agent", "li.wei"), Fault("agent", "li.wei", "slug", "somebody_logs_in_as")),
    )
    for one, fault in wrong:
        with pytest.raises(Unfit) as refused:
            await changed_alone(database, one)
        assert fault in refused.value.faults
    with pytest.raises(BadInputs) as bad:
        await changed_alone(database, replace(QUEUE, name="", wrap_up_s=-1))
    assert bad.value.faults == (("name", "required"), ("wrap_up_s", "out_of_range"))
    async with database.read() as connection:
        assert await configuring.history(connection, limit=9) == []


async def test_what_is_wrong_already_does_not_stop_another_change(database: Database) -> None:
    async with database.begin() as connection:
        await put_all(connection)
        await centre.put_queue(connection, replace(QUEUE, slug="odd", is_default=False, closed_to="queue:gone"))
        await change(connection, replace(QUEUE, priority=3))
        assert len(await configuring.history(connection, limit=9)) == 1


async def test_a_whole_centre_replaces_another_also_when_phones_and_keys_change_hands(database: Database) -> None:
    async with database.begin() as connection:
        await put_all(connection)
        before = await centre.load_centre(connection)
        other = replace(AGENT, slug="zoe", name="Zoe", endpoint="agent2", queues=("sales", "support"))
        wanted = replace(
            before,
            queues=(*before.queues, centre.Queue(slug="support", name="Support")),
            agents=(replace(AGENT, endpoint="agent2"), replace(other, endpoint="agent1")),
            dispositions=(
                replace(before.dispositions[0], key="2"),
                centre.Disposition(code="lost", labels={"en": "Lost"}, queue="sales", key="1"),
            ),
            routes=(),
            menus=(),
        )
        dry = await configuring.replace_all(connection, BOSS, wanted, checker=checker, is_dry=True)
        assert await centre.load_centre(connection) == before
        assert dry == await configuring.replace_all(connection, BOSS, wanted, checker=checker)
        swapped = replace(wanted, agents=(AGENT, other))
        await configuring.replace_all(connection, BOSS, swapped, checker=checker)
        assert {one.endpoint for one in (await centre.load_centre(connection)).agents} == {"agent1", "agent2"}
        await configuring.replace_all(connection, BOSS, before, checker=checker)
        assert await centre.load_centre(connection) == before
