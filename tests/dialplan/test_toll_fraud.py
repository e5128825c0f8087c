"""Nobody makes us dial: no phone, no caller and no colleague reaches a trunk; emergency numbers alone pass."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.dialplan.floor import BOTH_VERSIONS

if TYPE_CHECKING:
    from tests.asterisk.sip_phone import Call, Phone
    from tests.dialplan.floor import Floor

pytestmark = pytest.mark.pbx

FORBIDDEN = (
    *("004912345", "+4912345", "0900123456", "00", "callfloor-trunk", "004912345%40callfloor-trunk"),
    *("s", "h", "i", "t", "callfloor-hold", "004912345%26PJSIP/callfloor-trunk", "112%26PJSIP/bob", "1120", "0112"),
)


async def talk(floor: Floor, phone: Phone) -> tuple[Call, str, Call]:
    """A caller speaks with ann: both calls, and the caller's channel."""
    await floor.beat("b1")
    call, channel = await floor.raw_caller()
    await floor.accept(await floor.offer())
    await floor.ring(channel, "ann", record=False)
    leg = await phone.rung()
    leg.answer()
    await floor.ami.event("BridgeEnter", lambda message: message["Channel"] == channel)
    return call, channel, leg


def dialled(floor: Floor) -> list[str]:
    """Every phone or trunk that was rung, but ann."""
    return [
        begun["DestChannel"]
        for begun in floor.ami.all("DialBegin")
        if not begun["DestChannel"].startswith(("PJSIP/ann-", "Local/s@callfloor-mirror"))
    ]


async def test_a_phone_reaches_no_number_outside(floor: Floor) -> None:
    carrier = await floor.carrier()
    ann = await floor.raw_phone("ann")
    for number in FORBIDDEN:
        call = ann.dial(number)
        await call.is_over()
        assert call.status >= 400, number
    assert dialled(floor) == []
    assert carrier.received == []


@BOTH_VERSIONS
@pytest.mark.parametrize("number", ["004912345", "112", "*52", "callfloor-trunk"])
async def test_a_phone_that_transfers_its_caller_to_a_forbidden_number_moves_them_back_to_us(
    floor: Floor, number: str
) -> None:
    carrier = await floor.carrier()
    ann = await floor.raw_phone("ann")
    _, channel, leg = await talk(floor, ann)
    leg.transfer(number)
    again = await floor.offer(2, within_s=15)
    assert again["Channel"] == channel
    assert dialled(floor) == []
    assert carrier.received == []


@BOTH_VERSIONS
async def test_a_caller_who_asks_for_a_transfer_changes_nothing(floor: Floor) -> None:
    carrier = await floor.carrier()
    ann = await floor.raw_phone("ann")
    call, _, leg = await talk(floor, ann)
    refused = call.phone.expect(call.call_id, "REFER")
    call.transfer("004912345")
    async with asyncio.timeout(15):
        assert (await refused).status >= 400
    assert (call.state, leg.state) == ("up", "up")
    assert dialled(floor) == []
    assert carrier.received == []


@BOTH_VERSIONS
async def test_a_phone_of_the_fall_back_that_forwards_makes_nothing_ring(floor: Floor) -> None:
    carrier = await floor.carrier()
    await floor.remove_member("sales", "bob")
    ann = await floor.raw_phone("ann")
    _, channel = await floor.raw_caller()
    await floor.redirect(channel, "callfloor-fallback")
    (await ann.rung()).forward("004912345")
    # The queue tries the same phone again instead.
    (await ann.rung()).forward("bob")
    await ann.rung()
    assert dialled(floor) == []
    assert carrier.received == []


@BOTH_VERSIONS
async def test_an_emergency_call_goes_out_at_once_without_the_daemon(floor: Floor) -> None:
    carrier = await floor.carrier()
    ann = await floor.raw_phone("ann")
    call = ann.dial("112")
    outside = await carrier.rung()
    assert outside.invite is not None
    assert outside.invite.start.startswith("INVITE sip:112@")
    assert "<sip:+4930111@" in outside.invite.get("from"), "a number that can be called back"
    outside.answer()
    await call.until("up")
    assert not [event for event in floor.ami.all("UserEvent") if event["UserEvent"] == "CallfloorOffer"]
    assert list(floor.pbx.recordings.iterdir()) == []
    await call.hang_up()
    await outside.is_over()


async def test_an_emergency_call_without_a_trunk_fails_at_once_and_says_so_in_the_log(floor: Floor) -> None:
    await floor.configure(CALLFLOOR_EMERGENCY_TRUNK="")
    ann = await floor.raw_phone("ann")
    call = ann.dial("112")
    await call.is_over()
    assert call.status == 503
    assert "No way out for an emergency call to 112" in floor.pbx.log.read_text(encoding="utf-8")


# ── what phones show ──────────────────────────────────────────────────────────────────────────────────────


@BOTH_VERSIONS
async def test_a_number_that_an_agent_may_not_read_reaches_no_phone(floor: Floor) -> None:
    ann, bob = await floor.raw_phone("ann"), await floor.raw_phone("bob")
    await floor.beat("b1")
    call, channel = await floor.raw_caller("4915198765", "Ada Lovelace")
    await floor.accept(await floor.offer())
    await floor.ami.set(channel, CF_SHOWN="C-1001")
    await floor.ring(channel, "ann", record=False)
    leg = await ann.rung()
    assert leg.invite is not None
    assert '"C-1001" <sip:C-1001@' in leg.invite.get("from")
    leg.answer()
    anns = await floor.leg_of("ann")
    await floor.ami.event("BridgeEnter", lambda message: message["Channel"] == channel)
    await floor.ami.set(channel, CF_WITH=await floor.uniqueid(anns))
    await floor.ami.set(anns, CF_WITH=await floor.uniqueid(channel), CF_ENDPOINT="bob", CF_RING_S="20")
    await floor.redirect(channel, "callfloor-park", anns, "callfloor-consult")
    (await bob.rung()).answer()
    bobs = await floor.leg_of("bob")
    await floor.ami.event("BridgeEnter", lambda message: message["Channel"] == bobs)
    await floor.ami.set(channel, CF_WITH=await floor.uniqueid(bobs))
    await floor.redirect(channel, "callfloor-join")
    await floor.gone(anns)
    for phone in (ann, bob):
        said = b"".join(phone.received)
        assert b"4915198765" not in said
        assert b"Lovelace" not in said
    # The daemon goes on to know both: the next offer says them.
    await floor.redirect(channel, "callfloor-hold", bobs, "callfloor-end")
    again = await floor.offer(2)
    assert (again["Ani"], again["Aniname"]) == ("4915198765", "Ada%20Lovelace")
    # The next agent may read it.
    await floor.accept(again)
    await floor.ami.set(channel, CF_SHOWN="")
    await floor.ring(channel, "ann", record=False)
    leg = await ann.rung()
    assert leg.invite is not None
    assert '"Ada Lovelace" <sip:4915198765@' in leg.invite.get("from")
    assert call.state == "up"


async def test_the_fall_back_shows_no_numbers_where_some_member_may_not_read_them(floor: Floor) -> None:
    await floor.keep("numbers/sales", "hidden")
    await floor.remove_member("sales", "bob")
    ann = await floor.raw_phone("ann")
    _, channel = await floor.raw_caller("4915198765", "Ada Lovelace")
    await floor.redirect(channel, "callfloor-fallback")
    await ann.rung()
    assert b"4915198765" not in b"".join(ann.received)
    assert b"Lovelace" not in b"".join(ann.received)
