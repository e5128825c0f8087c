"""Recording by policy: nothing is on disk before the caller was told or said yes, with a daemon and without one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.dialplan.floor import BOTH_VERSIONS
from tests.dialplan.test_ring import sound
from tests.rtp import share_of, write_prompt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.dialplan.floor import Floor
    from tests.rtp import TonePhone

pytestmark = pytest.mark.pbx
ANNOUNCED_HZ, ASKED_HZ = 600, 700


@pytest.fixture
async def policy(floor: Floor, tmp_path: Path) -> AsyncIterator[Policy]:
    """Prompts in a folder, and settings that are gone after the test."""
    write_prompt(tmp_path / "recording-announced.wav", ANNOUNCED_HZ, 1.0, 0.5)
    write_prompt(tmp_path / "recording-consent.wav", ASKED_HZ, 1.0, 1.0)
    found = Policy(floor, tmp_path)
    await floor.ami.set("", CALLFLOOR_PROMPTS=str(tmp_path))
    yield found
    await floor.ami.set("", CALLFLOOR_PROMPTS="")
    for key in list(found.kept):
        await found.keep(key, "")


class Policy:
    """What the daemon mirrored, and what came of it on disk."""

    def __init__(self, floor: Floor, prompts: Path) -> None:
        self.floor = floor
        self.prompts = prompts
        self.kept: set[str] = set()
        self._before = set(floor.pbx.recordings.iterdir())

    async def keep(self, key: str, value: str) -> None:
        """As the daemon does: a setting in the PBX's own database."""
        self.kept.add(key)
        await self.floor.ami.do(
            "Originate",
            Channel="Local/s@callfloor-mirror/n",
            Context="callfloor-end",
            Exten="s",
            Priority="1",
            Variable=f"CF_KEY={key},CF_VALUE={value}",
        )

    def files(self) -> list[Path]:
        """The recordings of this test."""
        return sorted(set(self.floor.pbx.recordings.iterdir()) - self._before)

    async def refused(self) -> str:
        """Why the talk to come is not recorded."""
        event = await self.floor.ami.event("UserEvent", lambda message: message["UserEvent"] == "CallfloorUnrecorded")
        return event["Why"]

    async def talk(self, ear: TonePhone, agent: TonePhone, channel: str, *, record: str) -> None:
        """Ring ann as the daemon does, and talk until both have heard each other."""
        await self.floor.ami.set(channel, CF_ENDPOINT="ann", CF_RING_S="20", CF_RECORD=record)
        await self.floor.redirect(channel, "callfloor-ring")
        await asyncio.gather(agent.hears(440), ear.hears(1000))


async def never_heard(ear: TonePhone, hz: float, until: asyncio.Future[object]) -> None:
    while not until.done():
        assert ear.share_of(hz) < 0.5
        await asyncio.sleep(0.1)


@BOTH_VERSIONS
async def test_who_was_told_once_is_recorded_until_they_object(floor: Floor, policy: Policy) -> None:
    await policy.keep("recording/sales", "announced")
    await floor.beat("b1")
    _, agent = await floor.phone("ann")
    _, ear = await floor.call()
    await ear.hears(ANNOUNCED_HZ)
    channel = await floor.accept(await floor.offer())
    assert policy.files() == []
    await policy.talk(ear, agent, channel, record="announced")
    started = await floor.ami.event("UserEvent", lambda message: message["UserEvent"] == "CallfloorRecording")
    assert started["Basis"] == "announced"
    await asyncio.sleep(1)
    # The agent's button: what the daemon does then.
    await floor.ami.set(channel, CF_CONSENT="no")
    await floor.ami.do("StopMixMonitor", Channel=channel)
    await floor.ami.event("MixMonitorStop", lambda message: message["Channel"] == channel)
    await asyncio.sleep(0.5)
    (file,) = policy.files()
    size = file.stat().st_size
    await asyncio.sleep(1)
    assert file.stat().st_size == size
    # The talk goes on.
    await ear.hears(1000)
    _, bob = await floor.phone("bob", 1200)
    await floor.redirect(channel, "callfloor-hold", await floor.leg_of("ann"), "callfloor-end")
    again = asyncio.ensure_future(floor.offer(2))
    await never_heard(ear, ANNOUNCED_HZ, again)
    await floor.accept(await again)
    await floor.ami.set(channel, CF_ENDPOINT="bob", CF_RING_S="20", CF_RECORD="announced")
    await floor.redirect(channel, "callfloor-ring")
    await asyncio.gather(bob.hears(440), ear.hears(1200))
    assert await policy.refused() == "objected"
    assert policy.files() == [file]
    assert share_of(440, (await sound(file))[:8000]) > 0.2
    assert share_of(1000, (await sound(file))[:8000]) > 0.2


@pytest.mark.parametrize("floor", [pytest.param(22), pytest.param(16, marks=pytest.mark.long)], indirect=True)
async def test_a_key_during_the_talk_objects_too(floor: Floor, policy: Policy) -> None:
    await policy.keep("recording/sales", "announced")
    await floor.beat("b1")
    _, agent = await floor.phone("ann")
    _, ear = await floor.call()
    channel = await floor.accept(await floor.offer())
    await policy.talk(ear, agent, channel, record="announced")
    ear.press("7")  # means nothing
    ear.press("9")
    assert await policy.refused() == "objected"
    (file,) = policy.files()
    await asyncio.sleep(0.3)
    size = file.stat().st_size
    await agent.hears(440)
    # The talk goes on.
    await ear.hears(1000)
    assert file.stat().st_size == size
    assert '"extra":"Why=objected"' in floor.pbx.cel.read_text().replace('""', '"')


@pytest.mark.parametrize(("key", "expected"), [("1", "yes"), ("5", "no")])
async def test_only_a_yes_by_key_makes_a_file(floor: Floor, policy: Policy, key: str, expected: str) -> None:
    await policy.keep("recording/sales", "announced")
    await policy.keep("recording-prefix/49", "consent")
    await floor.beat("b1")
    _, agent = await floor.phone("ann")
    _, ear = await floor.call("4915112345")
    await ear.hears(ASKED_HZ)
    assert policy.files() == []
    ear.press(key)
    offer = await floor.offer()
    assert offer["Consent"] == expected
    channel = await floor.accept(offer)
    await policy.talk(ear, agent, channel, record="consent")
    if expected == "no":
        assert await policy.refused() == "no_consent"
    await asyncio.sleep(0.5)
    await floor.ami.do("Hangup", Channel=channel)
    await floor.gone(channel)
    assert [share_of(440, await sound(file)) > 0.1 for file in policy.files()] == ([True] if expected == "yes" else [])


async def test_a_key_during_the_announcement_objects(floor: Floor, policy: Policy) -> None:
    await policy.keep("recording/sales", "announced")
    await floor.beat("b1")
    _, agent = await floor.phone("ann")
    _, ear = await floor.call()
    await ear.hears(ANNOUNCED_HZ)
    ear.press("9")
    offer = await floor.offer()
    assert offer["Consent"] == "no"
    channel = await floor.accept(offer)
    await policy.talk(ear, agent, channel, record="announced")
    assert await policy.refused() == "objected"
    assert policy.files() == []


async def test_the_strictest_rule_of_the_longest_beginning_counts(floor: Floor, policy: Policy) -> None:
    rules = {"3": "off", "33": "announced", "4930": "consent", "49": "off", "unknown": "consent"}
    await policy.keep("recording/sales", "announced")
    for digits, rule in rules.items():
        await policy.keep(f"recording-prefix/{digits}", rule)
    await floor.beat("b1")
    ears = [(await floor.call(number))[1] for number in ("0033199000123", "+49301234", "", "+39066123")]
    await asyncio.gather(ears[0].hears(ANNOUNCED_HZ), ears[1].hears(ASKED_HZ), ears[2].hears(ASKED_HZ))
    offer = await floor.ami.event("UserEvent", lambda message: message.get("Ani") == "+39066123")
    assert offer["Consent"] == ""


async def test_without_a_prompt_nobody_is_recorded_unannounced(floor: Floor, policy: Policy) -> None:
    await policy.keep("recording/sales", "announced")
    (policy.prompts / "recording-announced.wav").unlink()
    await floor.beat("b1")
    _, agent = await floor.phone("ann")
    _, ear = await floor.call()
    channel = await floor.accept(await floor.offer())
    await policy.talk(ear, agent, channel, record="announced")
    assert await policy.refused() == "unannounced"
    assert policy.files() == []
    assert "is missing: nothing is recorded" in floor.pbx.log.read_text()


async def test_who_is_sent_to_a_stricter_queue_is_asked_before_that_queue_rings(floor: Floor, policy: Policy) -> None:
    await policy.keep("recording/sales", "announced")
    await policy.keep("recording/support", "consent")
    await floor.beat("b1")
    _, agent = await floor.phone("ann")
    _, ear = await floor.call()
    channel = await floor.accept(await floor.offer())
    await policy.talk(ear, agent, channel, record="announced")
    await asyncio.sleep(0.5)
    await floor.ami.set(channel, CF_TARGET="queue:support")
    await floor.redirect(channel, "callfloor-hold", await floor.leg_of("ann"), "callfloor-end")
    await ear.hears(ASKED_HZ)
    offer = await floor.offer(2, within_s=12)
    assert (offer["Target"], offer["Consent"]) == ("queue:support", "no")
    (file,) = policy.files()
    await floor.accept(offer)
    _, cid = await floor.phone("cid", 1200)
    await floor.ami.set(channel, CF_ENDPOINT="cid", CF_RING_S="20", CF_RECORD="consent")
    await floor.redirect(channel, "callfloor-ring")
    await asyncio.gather(cid.hears(440), ear.hears(1200))
    await asyncio.sleep(0.5)
    await floor.ami.do("Hangup", Channel=channel)
    await floor.gone(channel)
    assert policy.files() == [file]
    assert share_of(1200, await sound(file)) < 0.01


async def test_rings_that_nobody_answered_leave_headers_and_the_talk_its_own_file(floor: Floor, policy: Policy) -> None:
    await policy.keep("recording/sales", "announced")
    await floor.beat("b1")
    await floor.phone("bob", behaviour="reject")
    _, agent = await floor.phone("ann")
    _, ear = await floor.call()
    channel = await floor.accept(await floor.offer())
    await floor.ring(channel, "bob")
    await floor.accept(await floor.offer(2))
    await policy.talk(ear, agent, channel, record="announced")
    await asyncio.sleep(0.5)
    await floor.ami.do("Hangup", Channel=channel)
    await floor.gone(channel)
    empty, talked = policy.files()
    assert share_of(1000, await sound(talked)) > 0.2
    assert empty.stat().st_size == 44


@BOTH_VERSIONS
@pytest.mark.parametrize("key", [pytest.param("1", marks=pytest.mark.long), ""])
async def test_the_fall_back_records_by_the_same_policy(floor: Floor, policy: Policy, key: str) -> None:
    await policy.keep("recording/sales", "consent")
    _, agent = await floor.phone("ann")
    _, ear = await floor.call()
    await ear.hears(ASKED_HZ)
    if key:
        ear.press(key)
    await asyncio.gather(agent.hears(440, within_s=15), ear.hears(1000, within_s=15))
    await asyncio.sleep(0.5)
    channel = (await floor.offer())["Channel"]
    await floor.ami.do("Hangup", Channel=channel)
    await floor.gone(channel)
    assert [share_of(1000, await sound(file)) > 0.2 for file in policy.files()] == ([True] if key else [])
