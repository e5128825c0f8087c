"""What a caller controls is data: no header, extension, endpoint or file name comes of it."""

from __future__ import annotations

import asyncio
import csv
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

import pytest

from cti.asterisk.local_pbx import CEL_COLUMNS
from tests.asterisk.sip_phone import Phone as SipPhone
from tests.dialplan.floor import DNIS

if TYPE_CHECKING:
    from tests.dialplan.floor import Floor

pytestmark = pytest.mark.pbx

OUR_HEADERS = {
    *("Channelid", "Ani", "Aniname", "Withheld", "Dnis", "Account", "Choice", "Callerlanguage", "Waited", "Target"),
    "Consent",
    "Path",
}
ASTERISKS_HEADERS = {
    *("Event", "Privilege", "Channel", "ChannelState", "ChannelStateDesc", "CallerIDNum", "CallerIDName"),
    *("ConnectedLineNum", "ConnectedLineName", "Language", "AccountCode", "Context", "Exten", "Priority"),
    *("Uniqueid", "Linkedid", "UserEvent"),
}


NAMES = (
    "Li, Skill: vip, Priority: 99",
    "${SHELL(id)}${CALLERID(num)}",
    'a"b" = "b" | "1" = "1',
    "$(1 + 1}) & {x,y)",
    "%0d%0aAction: Originate%0d%0a",
    "a;b\\nEvent: Hangup",
    "Jos\udcff\udcfe",
    "王小明 🙂",
    "x" * 300,
)
NUMBERS = ('1"2', "1${EXTEN}", "1%0d%0aX: y", "1,Skill: vip", "1&2", "1'", "1\udcff2")
DIALLED = (
    "4930111%26PJSIP%2Fdan",
    "4930111&PJSIP/dan",
    "4930111%2C1%0d%0aX: y",
    "4930111$%7bSHELL(id)%7d",
    "4930111%22%5d%7c%5b%22",
)


# What SIPp can't write; sent as it is, in the name, in the number, in what is dialled.
PIECES = (
    "Ada\r\n Injected: 1",
    "\x01\x07\x1b[31m\x7f",
    "nul\x00byte",
    "\udcff\udcfe\udcc0\udcaf",
    "\u202egnirts\u2028\u0085x",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "'; DROP TABLE customers; --",
    "${SHELL(touch INJECTED)}${EVAL(${EPOCH})}$[1+1]`id`$(id)",
    "%s%n%x {{7*7}} =cmd|' /C calc'!A0",
    "a|b|c\\|ENTERQUEUE|",
    "../../../../etc/passwd",
    "x" * 3000,
)
USERS = (
    "1%0d%0aInjected:%201",
    "1%00",
    "%ff%fe1",
    "1;Injected=1",
    "1%22%20%7c%20%221",
    "1%7c2%7cABANDON",
    "1%26PJSIP%2Fdan",
    "1${SHELL(touch%20INJECTED)}",
    "9" * 2000,
)


@pytest.mark.parametrize("floor", [22, 16], indirect=True)
async def test_whatever_a_caller_writes_anywhere_is_no_more_than_a_value(floor: Floor) -> None:
    await floor.beat("b1")
    dan = await floor.raw_phone("dan")
    pbx = f"127.0.0.1:{floor.pbx.sip_port}"
    callers: list[tuple[SipPhone, str, tuple[tuple[str, str], ...]]] = []
    for piece in PIECES:
        callers.append((await SipPhone.open("49151", pbx, piece), DNIS, ()))
        asserted = ("P-Asserted-Identity", f'"{piece}" <sip:49152@{pbx}>')
        callers.append((await SipPhone.open("49152", pbx), DNIS, (asserted, ("Diversion", f'"{piece}" <sip:1@x>'))))
    for user in USERS:
        callers.append((await SipPhone.open(user, pbx), DNIS, ()))
        callers.append((await SipPhone.open("49153", pbx), DNIS + user, ()))
    callers.append((await SipPhone.open("49199", pbx, "Ada"), DNIS, ()))
    calls = [phone.dial(dialled, extra) for phone, dialled, extra in callers]
    await floor.ami.event("UserEvent", lambda message: message.get("Ani") == "49199", within_s=15)
    await floor.offer(len(PIECES) + 1, within_s=15)
    for offer in floor.offers():
        assert set(offer) - ASTERISKS_HEADERS == OUR_HEADERS, offer
        assert offer["Ani"].strip("0123456789") == "", offer
        assert offer["Dnis"].startswith(DNIS), offer
        assert offer["Dnis"].strip("+0123456789") == "", offer
    assert not [message for message in floor.ami.events if "Injected" in message]
    assert floor.ami.all("DialBegin") == []
    assert dan.calls == {}
    await asyncio.gather(floor.raw_phone("ann"), floor.raw_phone("cid"))
    # They wait in the fall-back queues as well: every line of both books stays one record.
    for offer in floor.offers():
        await floor.redirect(offer["Channel"], "callfloor-fallback")
    waiting = {offer["Channel"] for offer in floor.offers()}
    async with asyncio.timeout(15):
        while not waiting <= {joined["Channel"] for joined in floor.ami.all("QueueCallerJoin")}:
            await asyncio.sleep(0.1)
    assert {len(row) for row in csv.reader(floor.pbx.cel.read_bytes().decode().split("\n")[:-1])} == {len(CEL_COLUMNS)}
    for line in floor.pbx.queue_log.read_text(encoding="utf-8").splitlines():
        stamp, _, _, _, event, *data = line.split("|")
        assert stamp.isdigit(), line
        assert len(data) == 3 if event == "ENTERQUEUE" else True, line
    assert list(floor.pbx.folder.rglob("INJECTED")) == []
    for call in calls:
        call.phone.close()


@pytest.mark.parametrize("floor", [22, 16], indirect=True)
async def test_a_callers_name_stays_one_value(floor: Floor) -> None:
    await floor.beat("b1")
    for count, name in enumerate(NAMES, start=1):
        await floor.call(name=name)
        offer = await floor.offer(count)
        await floor.accept(offer)
        assert set(offer) - ASTERISKS_HEADERS == OUR_HEADERS, name
        # SIP writes quotes and backslashes with a backslash before them, and Asterisk leaves that as it is. 22 replaces
        # broken UTF-8 by itself; 16 keeps 79 bytes of a name.
        written = name.replace("\\", "\\\\").replace('"', '\\"')
        meant = written.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        told = unquote_to_bytes(offer["Aniname"]).decode("utf-8", "replace")
        assert meant.startswith(told), name
        assert len(told) >= min(len(meant), 79), name
        assert (offer["Ani"], offer["Dnis"], offer["Target"]) == ("4915112345", "4930111", ""), name


async def test_a_callers_number_stays_digits(floor: Floor) -> None:
    await floor.beat("b1")
    for number in NUMBERS:
        await floor.call(from_header=f"<sip:{number}@127.0.0.1>")  # some are no SIP at all, and stay unanswered
    await floor.call("4915112345")
    await floor.ami.event("UserEvent", lambda message: message.get("Ani") == "4915112345", within_s=20)
    for offer in floor.offers():
        assert set(offer) - ASTERISKS_HEADERS == OUR_HEADERS, offer
        assert offer["Ani"] in ("", "4915112345")
    assert len(floor.offers()) > 1


async def test_a_dialled_number_rings_nothing_and_stays_digits(floor: Floor) -> None:
    await floor.beat("b1")
    dan, _ = await floor.phone("dan")
    for dnis in DIALLED:
        await floor.call(dnis=dnis)
    await floor.call("4915199999")
    await floor.ami.event("UserEvent", lambda message: message.get("Ani") == "4915199999", within_s=20)
    for offer in floor.offers():
        assert set(offer) - ASTERISKS_HEADERS == OUR_HEADERS, offer
        assert offer["Dnis"].startswith("4930111"), offer
        assert offer["Dnis"].strip("+0123456789") == "", offer
    assert len(floor.offers()) > 2
    assert floor.ami.all("DialBegin") == []
    assert dan.steps == ()


async def test_a_trunk_reaches_neither_phones_nor_inner_extensions(floor: Floor) -> None:
    await floor.phone("ann")
    for dnis in ("ann", "s", "callfloor-hold", "h"):
        call, _ = await floor.call(dnis=dnis)
        assert (await call.wait()).steps == ("refused",), dnis
    assert floor.ami.all("DialBegin") == []


async def test_an_endpoint_that_is_more_than_a_name_rings_no_second_phone(floor: Floor) -> None:
    await floor.beat("b1")
    ann, _ = await floor.phone("ann")
    await floor.call()
    channel = await floor.accept(await floor.offer())
    await floor.ring(channel, "bob&PJSIP/ann")
    await floor.offer(2)
    assert ann.steps == ()


async def test_the_daemons_rights_reach_no_shell_and_no_configuration(floor: Floor) -> None:
    for action, headers in (
        ("Command", {"Command": "core show version"}),
        ("UpdateConfig", {"SrcFilename": "manager.conf", "DstFilename": "manager.conf"}),
        ("DBPut", {"Family": "x", "Key": "y", "Val": "z"}),
        ("Originate", {"Channel": "Local/s@callfloor-end", "Application": "System", "Data": "id"}),
    ):
        answer = await floor.ami.action(action, **headers)
        assert answer["Response"] == "Error", (action, answer)
