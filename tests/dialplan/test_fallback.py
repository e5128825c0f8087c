"""The time without the daemon: which queue, whose phones, feature codes, the end that needs nobody, the way back."""

from __future__ import annotations

import asyncio
import csv
import json
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import pytest

from cti.asterisk.local_pbx import CEL_COLUMNS
from tests.dialplan.floor import BOTH_VERSIONS, DNIS, OLD_VERSION_IN_THE_SOAK

if TYPE_CHECKING:
    from tests.ami_wire import Message
    from tests.asterisk.sip_phone import Call
    from tests.dialplan.floor import Floor

pytestmark = pytest.mark.pbx
OFFER = "CallfloorOffer"


async def user_event(floor: Floor, name: str, channel: str = "", *, within_s: float = 15.0) -> Message:
    return await floor.ami.event(
        "UserEvent",
        lambda message: message["UserEvent"] == name and channel in ("", message["Channel"]),
        within_s=within_s,
    )


async def waits(floor: Floor, number: str, **options: object) -> str:
    """A caller in the hold loop; gives their channel."""
    await floor.call(number, **options)
    offer = await floor.ami.event("UserEvent", lambda message: message.get("Ani") == number, within_s=15)
    return offer["Channel"]


def is_of(channel: str, message: Message) -> bool:
    return message["Channel"] == channel


async def until(floor: Floor, wanted: dict[tuple[str, str], bool]) -> None:
    async with asyncio.timeout(20):
        while await floor.members() != wanted:
            await asyncio.sleep(0.1)


@BOTH_VERSIONS
async def test_a_setting_of_the_daemon_is_kept_and_what_is_no_setting_is_refused(floor: Floor) -> None:
    await floor.keep("route/4930777", "support")
    await floor.keep("member/ann", "sales:support")
    await floor.ami.do("DBGet", Family="callfloor", Key="route/4930777")
    kept = await floor.ami.event("DBGetResponse")
    assert (kept["Key"], kept["Val"]) == ("route/4930777", "support")
    await floor.keep("route/4930777", "")
    assert (await floor.ami.action("DBGet", Family="callfloor", Key="route/4930777"))["Response"] == "Error"
    for key in ("registrar/contact", "route", "route/", "", "x"):
        with pytest.raises(AssertionError):
            await floor.keep(key, "1")


@BOTH_VERSIONS
async def test_the_queue_that_the_daemon_mirrored_goes_before_the_files_and_a_missing_one_to_one_that_is_there(
    floor: Floor,
) -> None:
    await floor.keep("route/4930111", "support")
    await floor.keep("route/4930888", "made-in-the-pages")
    await floor.keep("default-queue", "sales")
    (_, cid), (_, ann) = await asyncio.gather(floor.phone("cid", 1000), floor.phone("ann", 1700))
    (_, one), (_, two) = await asyncio.gather(floor.call(), floor.call("4915122222", dnis="4930888"))
    await asyncio.gather(
        *(ear.hears(440, within_s=15) for ear in (cid, ann)), one.hears(1000, within_s=15), two.hears(1700, within_s=15)
    )


async def test_whoever_came_first_is_first_in_the_fall_back_queue_too(floor: Floor) -> None:
    await floor.beat("b1")
    await floor.phone("ann", behaviour="never")
    first = await waits(floor, "4915111111")
    await floor.ami.set(first, CF_SINCE="1700000000")
    second = await waits(floor, "4915122222")
    for channel in (second, first):
        await floor.redirect(channel, "callfloor-fallback")
        await floor.ami.event("QueueCallerJoin", partial(is_of, channel))
    answer = await floor.ami.do("QueueStatus", Queue="callfloor-sales")
    await floor.ami.event("QueueStatusComplete")
    places = {entry["Channel"]: entry["Position"] for entry in floor.ami.all("QueueEntry")}
    assert places == {first: "1", second: "2"}, answer


@BOTH_VERSIONS
async def test_the_pbx_itself_keeps_what_is_known_of_a_caller(floor: Floor) -> None:
    await floor.keep("route/4930111", "support")
    _, channel = await floor.raw_caller("4915177777", "Ada, née")
    await floor.ami.event("UserEvent", lambda message: message["Channel"] == channel)
    async with asyncio.timeout(15):
        while not (offered := [row for row in cel(floor) if channel == row["channame"] and row["eventtype"] == OFFER]):
            await asyncio.sleep(0.05)
    told = extra(offered[0])
    assert told.pop("Waited") in ("0", "1")
    assert told == {
        "Ani": "4915177777",
        "Aniname": "Ada, née",
        "Withheld": "0",
        "Dnis": DNIS,
        "Queue": "support",
    } | dict.fromkeys(("Account", "Choice", "Callerlanguage", "Target", "Consent", "Path"), "")


async def test_a_caller_in_an_empty_queue_reaches_who_logs_in_by_code_meanwhile(floor: Floor) -> None:
    await floor.configure(CALLFLOOR_UNREACHABLE_S="15")
    await floor.keep("member/ann", "sales")
    await floor.remove_member("sales", "ann")
    await floor.remove_member("sales", "bob")
    ann = await floor.raw_phone("ann")
    _, channel = await floor.raw_caller()
    await floor.redirect(channel, "callfloor-fallback")
    await user_event(floor, "CallfloorFallback", channel)
    await ann.dial("*51").is_over()
    async with asyncio.timeout(15):
        while not ann.calls or not any(not call.is_ours for call in ann.calls.values()):
            await asyncio.sleep(0.1)


@BOTH_VERSIONS
async def test_without_the_daemon_a_phone_logs_in_pauses_and_logs_out_by_code(floor: Floor) -> None:
    names = ("ann", "bob", "cid", "dan")
    for name in names:
        await floor.keep(f"member/{name}", "sales:made-in-the-pages:support")
    await floor.remove_member("sales", "ann")
    await floor.add_member("support", "bob")
    await floor.add_member("sales", "dan")
    await floor.ami.do("QueuePause", Interface="PJSIP/dan", Paused="true")
    phones = [await floor.raw_phone(name) for name in names]
    calls = [phone.dial(code) for phone, code in zip(phones, ("*51", "*52", "*53", "*54"), strict=True)]
    await asyncio.gather(*(call.until("up") for call in calls))
    await until(
        floor, {("sales", "ann"): False, ("support", "ann"): False, ("support", "cid"): True, ("sales", "dan"): False}
    )
    await asyncio.gather(*(call.is_over() for call in calls))


async def test_while_the_daemon_lives_a_code_changes_nothing(floor: Floor) -> None:
    await floor.beat("b1")
    await floor.keep("member/ann", "sales:support")
    before = await floor.members()
    ann = await floor.raw_phone("ann")
    await asyncio.gather(*(ann.dial(code).is_over() for code in ("*51", "*52", "*53")))
    assert await floor.members() == before


async def test_a_code_followed_by_anything_else_is_no_code(floor: Floor) -> None:
    await floor.keep("member/ann", "sales:support")
    before = await floor.members()
    ann = await floor.raw_phone("ann")
    for code in ("*52bob", "*52*bob", "*520", "*99", "*"):
        call = ann.dial(code)
        await call.is_over()
        assert call.status >= 400
    assert await floor.members() == before


# ── the end that needs nobody ─────────────────────────────────────────────────────────────────────────────


async def fall_back(floor: Floor, number: str) -> tuple[Call, str]:
    """A caller whom the daemon and everybody else leave alone, at once."""
    await floor.configure(CALLFLOOR_UNREACHABLE_S="0")
    call, channel = await floor.raw_caller(number)
    await floor.redirect(channel, "callfloor-fallback")
    return call, channel


async def test_a_caller_whom_nobody_can_take_leaves_a_message_that_can_be_found(floor: Floor) -> None:
    await floor.configure(CALLFLOOR_END="record")
    await floor.remove_member("sales", "ann")
    await floor.remove_member("sales", "bob")
    _, channel = await fall_back(floor, "4915100001")
    told = await user_event(floor, "CallfloorMessage", channel)
    assert told["File"] == f"{told['Channelid']}.wav"
    async with asyncio.timeout(15):
        while not (floor.pbx.messages / told["File"]).is_file():
            await asyncio.sleep(0.1)
    record = [row for row in cel(floor) if row["eventtype"] == "CallfloorMessage"]
    assert extra(record[-1]) == {"File": told["File"], "Queue": "sales"}


async def test_a_caller_whom_nobody_can_take_is_called_on_to_the_sites_own_outside_number(floor: Floor) -> None:
    await floor.configure(CALLFLOOR_END="outside")
    await floor.remove_member("sales", "ann")
    await floor.remove_member("sales", "bob")
    carrier = await floor.carrier()
    call, _ = await fall_back(floor, "4915100002")
    outside = await carrier.rung()
    assert outside.invite is not None
    assert outside.invite.start.startswith("INVITE sip:+493099@")
    outside.answer()
    await floor.ami.event("DialEnd", lambda message: message["DialStatus"] == "ANSWER")
    await outside.hang_up()
    await call.is_over()


@pytest.mark.parametrize(
    "settings",
    [
        {"CALLFLOOR_END": "outside", "CALLFLOOR_END_NUMBER": ""},
        {"CALLFLOOR_END": "outside", "CALLFLOOR_END_TRUNK": "no-such-trunk"},
        {"CALLFLOOR_END": "record", "CALLFLOOR_MESSAGES": ""},
        {"CALLFLOOR_END": "system(id)"},
    ],
)
async def test_an_end_that_is_not_set_up_is_the_message(floor: Floor, settings: dict[str, str]) -> None:
    await floor.configure(**settings)
    await floor.remove_member("sales", "ann")
    await floor.remove_member("sales", "bob")
    call, channel = await fall_back(floor, "4915100003")
    await user_event(floor, "CallfloorFallback", channel)
    await call.is_over()
    assert list(floor.pbx.messages.iterdir()) == []


# ── on the way back ───────────────────────────────────────────────────────────────────────────────────────


@OLD_VERSION_IN_THE_SOAK
async def test_a_returning_daemon_takes_back_who_waits_and_leaves_alone_who_talks(floor: Floor) -> None:
    # The only phone of the queue is busy with an earlier caller, so that the second one waits.
    await floor.remove_member("sales", "bob")
    _, agent = await floor.phone("ann")
    _, first = await floor.call()
    await agent.hears(440, within_s=15)
    talking = (await floor.offer())["Channel"]
    _, caller = await floor.call("4915122222")
    joined = await floor.ami.event(
        "QueueCallerJoin", lambda message: message["CallerIDNum"] == "4915122222", within_s=15
    )
    await floor.beat("b2")
    await floor.ami.do("QueueWithdrawCaller", Queue=joined["Queue"], Caller=joined["Channel"])
    again = await floor.offer(3)
    assert again["Channel"] == joined["Channel"]
    assert int(again["Waited"]) >= 3
    await caller.hears_sound()
    assert caller.longest_silence_s < 2
    refused = await floor.ami.action("QueueWithdrawCaller", Queue=joined["Queue"], Caller=talking)
    assert refused["Response"] == "Error"
    await asyncio.gather(agent.hears(440), first.hears(1000))
    assert first.longest_silence_s < 2


@OLD_VERSION_IN_THE_SOAK
async def test_a_caller_whose_agents_phone_dies_in_the_fall_back_reaches_the_next_agent(floor: Floor) -> None:
    _, ann = await floor.phone("ann")
    _, caller = await floor.call()
    await ann.hears(440, within_s=15)
    ann.fall_silent()
    _, bob = await floor.phone("bob", 1700)
    await asyncio.gather(bob.hears(440, within_s=30), caller.hears(1700, within_s=30))
    assert caller.longest_silence_s < 10  # the 5 s of rtp_timeout are silence


def cel(floor: Floor) -> list[dict[str, str]]:
    """The PBX's own record, all of it."""
    rows = list(csv.reader(floor.pbx.cel.read_text(encoding="utf-8").splitlines()))
    assert all(len(row) == len(CEL_COLUMNS) for row in rows)
    return [dict(zip(CEL_COLUMNS, row, strict=True)) for row in rows]


def extra(row: dict[str, str]) -> dict[str, str]:
    return {
        name: value[0]
        for name, value in parse_qs(json.loads(row["eventextra"])["extra"], keep_blank_values=True).items()
    }
