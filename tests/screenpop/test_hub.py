"""The desk sockets on real sockets: who gets what, who owns a desk, and what hostile pages get."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from cti.commands import ClosePop, ShowPop
from cti.events import (
    AgentState,
    AgentStateChanged,
    Event,
    InteractionStarted,
    MessageRead,
    MessageSent,
    NoteSaved,
    PageLeft,
)
from cti.ids import AgentId, InteractionId, LegId
from cti.screenpop.frames import MAX_FRAME_BYTES
from cti.screenpop.hub import DeskHub, FloorPicture
from tests.screenpop.pages import ANNA, BEN, CALL, Site, page, until, user


def ring(hub: DeskHub, agent: AgentId = ANNA, interaction: InteractionId = CALL) -> None:
    hub.listen(
        InteractionStarted(
            at=100.0,
            interaction=interaction,
            direction="inbound",
            first_leg=LegId("pbx1/1.1"),
            ani="+8613800138000",
            ani_name="",
            is_withheld=False,
            dnis="4001",
            account="",
            choice="",
            language="",
        )
    )
    hub.carry_out(ShowPop(interaction=interaction, agent=agent, until=None))


async def a_turn() -> None:
    """What is told in one turn of the driver reaches the pages together, behind it."""
    await asyncio.sleep(0)


def close_pop(hub: DeskHub, agent: AgentId = ANNA, reason: str = "no_answer") -> None:
    hub.carry_out(ClosePop(interaction=CALL, agent=agent, reason=reason))


def state(agent: AgentId, to: AgentState, reason: str = "") -> Event:
    return AgentStateChanged(
        at=101.0, agent=agent, state=to, reason=reason, by="system", interaction=None, until=None, next_state=None
    )


# ── who gets what ─────────────────────────────────────────────────────────────────────────────────────────


async def test_a_new_page_is_welcomed_with_a_snapshot() -> None:
    async with Site().open() as hub, page(hub) as anna:
        hub.listen(state(ANNA, AgentState.AVAILABLE))
        ring(hub)
        welcome = await anna.hello()
        snapshot = await anna.read()
    assert (welcome["type"], welcome["resumed"], "seq" in welcome) == ("welcome", False, False)
    assert (snapshot["type"], snapshot["seq"]) == ("snapshot", 1)
    assert (snapshot["agent"]["state"], snapshot["agent"]["name"]) == ("AVAILABLE", "Anna")
    assert [pop["interaction"] for pop in snapshot["pops"]] == [CALL]
    assert snapshot["desk"] == {"type": "desk", "is_fresh": False, "why": ""}


async def test_a_pop_reaches_the_desk_whose_phone_rings_and_no_other() -> None:
    async with Site().open() as hub, page(hub) as anna, page(hub, "ben-token") as ben, page(hub, "eva-token") as eva:
        for each in (anna, ben, eva):
            await each.hello()
            await each.read_until("snapshot")
        ring(hub)
        await a_turn()
        close_pop(hub)
        told = await anna.read_all()
        assert [(message["type"], message["interaction"]) for message in told] == [("pop", CALL), ("pop_closed", CALL)]
        assert [message["seq"] for message in told] == [2, 3]
        assert await ben.read_all() == []
        assert [message["type"] for message in await eva.read_all() if message["type"] != "floor"] == []


async def test_a_page_that_lost_its_socket_gets_exactly_what_it_missed() -> None:
    async with Site().open() as hub:
        async with page(hub) as anna:
            epoch = (await anna.hello())["epoch"]
            seen = (await anna.read_until("snapshot"))["seq"]
        ring(hub)
        await a_turn()
        close_pop(hub)
        ring(hub, BEN)
        async with page(hub) as anna:
            welcome = await anna.hello(epoch=epoch, last_seq=seen)
            assert (welcome["resumed"], welcome["epoch"]) == (True, epoch)
            missed = await anna.read_all()
    assert [(message["seq"], message["type"]) for message in missed] == [(2, "pop"), (3, "pop_closed")]


async def test_a_page_that_missed_too_much_gets_a_snapshot() -> None:
    async with Site().open() as hub:
        async with page(hub) as anna:
            epoch = (await anna.hello())["epoch"]
            await anna.read_until("snapshot")
        for number in range(300):
            hub.notify(ANNA, str(number))
        ring(hub)
        async with page(hub) as anna:
            assert (await anna.hello(epoch=epoch, last_seq=1))["resumed"] is False
            assert len((await anna.read())["pops"]) == 1


async def test_another_role_at_the_same_desk_gets_nothing_that_was_kept_for_the_one_before() -> None:
    site = Site()
    async with site.open() as hub:
        async with page(hub) as anna:
            epoch = (await anna.hello())["epoch"]
            await anna.read_until("snapshot")
        ring(hub)
        site.sessions["anna-token"] = user("anna", role="trainee")
        async with page(hub) as anna:
            welcome = await anna.hello(epoch=epoch, last_seq=1)
            assert welcome["resumed"] is False
            assert welcome["epoch"] != epoch


async def test_states_and_notices_go_to_the_agents_own_desk() -> None:
    async with Site().open() as hub, page(hub) as anna, page(hub, "ben-token") as ben:
        await anna.hello()
        await ben.hello()
        await anna.read_until("snapshot")
        await ben.read_until("snapshot")
        hub.listen(state(ANNA, AgentState.NOT_READY, "ring_no_answer"))
        told = await anna.read_all()
        assert [message["type"] for message in told] == ["state", "notice"]
        assert (told[0]["state"], told[0]["reason"], told[0]["since"]) == ("NOT_READY", "ring_no_answer", 101.0)
        assert told[1]["code"] == "rona"
        assert await ben.read_all() == []


async def test_a_supervisor_gets_the_whole_floor_once_and_then_what_changed() -> None:
    site = Site(
        picture=FloorPicture(
            [{"id": "anna", "state": "A"}, {"id": "ben", "state": "A"}], [{"id": "sales", "waiting": 0}]
        )
    )
    async with site.open() as hub, page(hub, "eva-token") as eva, page(hub) as anna:
        await anna.hello()
        await anna.read_until("snapshot")
        await eva.hello()
        assert (await eva.read_until("snapshot"))["agent"] is None
        whole = await eva.read_until("floor")
        assert [entry["id"] for entry in whole["agents"] + whole["queues"]] == ["anna", "ben", "sales"]
        site.picture = FloorPicture([{"id": "anna", "state": "B"}], [{"id": "sales", "waiting": 0}])
        hub.listen(state(BEN, AgentState.AVAILABLE))
        changed = await eva.read_until("floor")
        assert changed["agents"] == [{"id": "anna", "state": "B"}, {"id": "ben", "is_gone": True}]
        assert changed["queues"] == []
        assert await anna.read_all() == []


async def test_an_agent_who_is_no_longer_a_supervisor_gets_no_floor() -> None:
    site = Site(picture=FloorPicture([{"id": "anna", "state": "A"}], []))
    site.sessions["anna-token"] = user("anna", role="supervisor", is_supervisor=True)
    async with site.open() as hub, page(hub, "eva-token") as eva:
        await eva.hello()
        await eva.read_until("floor")
        async with page(hub) as anna:
            await anna.hello()
            await anna.read_until("floor")
        site.sessions["anna-token"] = user("anna")
        async with page(hub) as anna:
            await anna.hello()
            await anna.read_until("snapshot")
            site.picture = FloorPicture([{"id": "anna", "state": "B"}], [])
            hub.listen(state(BEN, AgentState.AVAILABLE))
            await eva.read_until("floor")
            assert await anna.read_all() == []


# ── owners ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_second_tab_is_told_and_takes_over_when_its_person_says_so() -> None:
    async with Site().open() as hub, page(hub) as first, page(hub) as second:
        await first.hello("one")
        await first.read_until("snapshot")
        assert await second.hello("two") == {"type": "busy"}
        ring(hub)
        assert [message["type"] for message in await first.read_all()] == ["pop"]
        assert (await second.hello("two", take_over=True))["type"] == "welcome"
        assert len((await second.read())["pops"]) == 1
        assert (await first.read())["type"] == "taken_over"
        assert await first.close_code() == 4001
        hub.notify(ANNA, "hello")
        assert (await second.read())["type"] == "notice"


async def test_when_a_session_is_revoked_all_its_sockets_close_and_its_desk_is_gone() -> None:
    site = Site()
    async with site.open() as hub, page(hub) as anna, page(hub, "ben-token") as ben:
        await ben.hello()
        await anna.hello()
        await anna.beat()
        await until(lambda: site.desk_facts(ANNA) == ["fresh"])
        hub.revoke("s-anna")
        assert await anna.close_code() == 4401
        assert site.desk_facts(ANNA) == ["fresh", "gone"]
        assert (await ben.read_until("snapshot"))["type"] == "snapshot"


async def test_a_session_that_expires_silently_ends_its_desk() -> None:
    site = Site()
    async with site.open(recheck_s=0.01) as hub, page(hub) as anna:
        await anna.hello()
        site.sessions.clear()
        assert await anna.close_code() == 4401


# ── freshness ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_core_and_the_page_learn_whether_the_desk_can_ring() -> None:
    site = Site()
    async with site.open() as hub, page(hub) as anna:
        await anna.hello()
        await anna.read_until("snapshot")
        await anna.beat()
        assert (await anna.read_until("desk"))["is_fresh"] is True
        await anna.beat(microphone="lost")
        assert (await anna.read_until("desk"))["why"] == "no_microphone"
        assert site.desk_facts(ANNA) == ["fresh", "no_microphone"]


async def test_every_beat_has_its_answer_and_a_message_waits_for_its_reader() -> None:
    site = Site()
    async with site.open() as hub:
        sent = MessageSent(at=99.0, agents=(ANNA,), text="Three wait.", by="ruth", message="1-1", name="Ruth")
        hub.listen(sent)
        async with page(hub) as anna, page(hub, "ben-token") as ben:
            await anna.hello()
            assert [one["text"] for one in (await anna.read_until("snapshot"))["beside"]["messages"]] == ["Three wait."]
            await anna.beat()
            assert await anna.read_until("heard") == {"type": "heard"}
            await ben.hello()
            hub.listen(MessageRead(at=101.0, agent=ANNA, message="1-1"))
            assert (await anna.read_until("beside"))["messages"] == []
            assert "beside" not in [one["type"] for one in await ben.read_all()]


async def test_a_page_that_stops_beating_is_found_silent_and_wakes_with_its_next_beat() -> None:
    site = Site()
    async with site.open(silent_after_s=0.1) as hub, page(hub) as anna:
        await anna.hello()
        await anna.beat()
        await until(lambda: site.desk_facts(ANNA)[-2:] == ["fresh", "silent"])
        await anna.beat()
        await until(lambda: site.desk_facts(ANNA).count("fresh") == 2)


async def test_a_closed_page_is_gone_after_a_moment() -> None:
    site = Site()
    async with site.open(gone_after_s=0.05) as hub:
        async with page(hub) as anna:
            await anna.hello()
            await anna.beat()
            await until(lambda: site.desk_facts(ANNA) == ["fresh"])
        await until(lambda: site.desk_facts(ANNA) == ["fresh", "gone"])


async def test_a_page_that_was_left_or_loaded_anew_takes_its_call_along_and_a_broken_line_does_not() -> None:
    site = Site()

    def pages_left() -> int:
        return sum(isinstance(fact, PageLeft) for fact in site.facts)

    async with site.open() as hub:
        hub.listen(state(ANNA, AgentState.ON_CALL))
        async with page(hub) as old:
            epoch = (await old.hello("old", epoch="of-another-daemon"))["epoch"]
            old.socket.transport.abort()
        async with page(hub) as back:
            assert (await back.hello("old", epoch=epoch))["type"] == "welcome"
            assert pages_left() == 0
            await back.socket.close(code=1001)
        await until(lambda: pages_left() == 1)
        async with page(hub) as anew:
            await anew.hello("new")
            assert pages_left() == 1
            anew.socket.transport.abort()
        await until(lambda: not hub.has_page(ANNA))
        async with page(hub) as after_a_crash:
            await after_a_crash.hello("newer")
            assert pages_left() == 2


# ── slow pages ────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_page_that_does_not_read_is_cut_off_and_the_others_get_theirs() -> None:
    async with Site().open() as hub, page(hub) as anna, page(hub, "ben-token") as sleeper:
        await anna.hello()
        await anna.read_until("snapshot")
        await sleeper.hello()
        await sleeper.read_until("snapshot")
        sleeper.socket.transport.pause_reading()
        async with asyncio.timeout(20):
            while hub.has_page(BEN):
                hub.notify(BEN, "news", "x" * 50_000)
                await asyncio.sleep(0)
        hub.notify(ANNA, "still here")
        assert (await anna.read())["code"] == "still here"
        sleeper.socket.transport.abort()
        async with page(hub, "ben-token") as awake:
            assert (await awake.hello())["resumed"] is False
            assert (await awake.read())["type"] == "snapshot"


# ── hostile pages ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("x" * (MAX_FRAME_BYTES + 1), 1009),
        (b"\x00binary", 4400),
        ("not json", 4400),
        ('{"type":"beat","seen":0,"visible":true,"phone":"registered","microphone":"ok"}', 4400),
        ('{"type":"hello","tab":[],"epoch":null,"last_seq":0,"take_over":false}', 4400),
        ("[" * 4000, 4400),
    ],
)
async def test_a_hostile_frame_closes_its_socket_and_the_server_lives(frame: str | bytes, code: int) -> None:
    async with Site().open() as hub, page(hub) as attacker, page(hub, "ben-token") as ben:
        await attacker.socket.send(frame)
        assert await attacker.close_code() == code
        assert (await ben.hello())["type"] == "welcome"


async def test_a_flood_closes_its_socket() -> None:
    async with Site().open() as hub, page(hub) as attacker:
        await attacker.hello()
        for _ in range(50):
            await attacker.beat()
        assert await attacker.close_code() == 4429


async def test_too_many_sockets_of_one_session_are_refused() -> None:
    async with Site().open() as hub, AsyncExitStack() as stack:
        for number in range(8):
            tab = await stack.enter_async_context(page(hub))
            await tab.hello(f"tab-{number}")
        assert await (await stack.enter_async_context(page(hub))).close_code() == 4429


async def test_a_page_that_says_nothing_is_closed() -> None:
    async with Site().open(hello_s=0.05) as hub, page(hub) as silent:
        assert await silent.close_code() == 4408


@pytest.mark.parametrize("token", [None, "", "expired", "anna-token; callfloor_session=ben-token"])
async def test_without_one_valid_session_there_is_no_desk(token: str | None) -> None:
    async with Site().open() as hub, page(hub, token) as nobody:
        assert await nobody.close_code() == 4401


async def test_a_page_of_another_site_is_refused_before_the_upgrade() -> None:
    async with Site().open() as hub:
        with pytest.raises(InvalidStatus) as refused:
            async with page(hub, origin="http://evil.example"):
                pass
        assert refused.value.response.status_code == 403


async def test_there_is_nothing_else_on_this_port() -> None:
    async with Site().open() as hub:
        with pytest.raises(InvalidStatus) as refused:
            async with page(hub, path="/other"):
                pass
        assert refused.value.response.status_code == 404


async def test_raw_bytes_that_are_no_handshake_do_not_harm_the_others() -> None:
    async with Site().open() as hub:
        for junk in (b"\x00" * 1000, b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 10_000, b""):
            reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
            writer.write(junk)
            writer.write_eof()
            async with asyncio.timeout(10):
                while await reader.read(65536):
                    pass
            writer.close()
        async with page(hub) as anna:
            assert (await anna.hello())["type"] == "welcome"


async def test_a_callers_text_stays_text_on_the_socket() -> None:
    text = '</script>"},{"type":"taken_over"}\r\n\u2028\x00'
    async with Site().open() as hub, page(hub) as anna:
        await anna.hello()
        await anna.read_until("snapshot")
        ring(hub)
        hub.listen(NoteSaved(at=1.0, interaction=CALL, agent=BEN, text=text))
        frame: dict[str, Any] = json.loads(await anna.socket.recv())
    assert frame["note"] == text
