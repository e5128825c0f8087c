"""What a caller meets while waiting, on a real Asterisk: announcements, keys, menus, messages, a call back."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
import wave
from typing import TYPE_CHECKING, Any

import pytest

from cti import commands as c
from cti import events as e
from cti.asterisk.switch import AsteriskSwitch, PbxAddress
from cti.events import AgentState, Event
from cti.ids import AgentId, PbxId, QueueId
from cti.inbound import Inbound
from cti.routing.plan import (
    AgentPlan,
    CallbackPlan,
    Comfort,
    DnisRoute,
    Phone,
    PhoneKind,
    Plan,
    QueuePlan,
    RecordingPolicy,
)
from tests.dialplan.floor import DNIS
from tests.rtp import write_prompt

if TYPE_CHECKING:
    from pathlib import Path

    from tests.ami_wire import Message
    from tests.dialplan.floor import Floor

pytestmark = pytest.mark.pbx
VERSIONS = pytest.mark.parametrize("floor", [pytest.param(22), pytest.param(16, marks=pytest.mark.long)], indirect=True)
LONG_VERSIONS = pytest.mark.parametrize(
    "floor", [pytest.param(version, marks=pytest.mark.long) for version in (22, 16)], indirect=True
)


@pytest.fixture
async def prompts(floor: Floor, tmp_path: Path) -> Path:
    """A folder of recordings, each a tone of its own: an English one has 600 Hz and up, a Chinese one 1500 and up."""
    for language, base in (("en", 600), ("zh", 1500)):
        (tmp_path / language).mkdir()
        for step, name in enumerate(("greeting", "number-3", "goodbye", "account", "voicemail")):
            write_prompt(tmp_path / language / f"{name}.wav", base + 100 * step, 1.5, 0.1)
    await floor.configure(CALLFLOOR_PROMPTS=str(tmp_path), CALLFLOOR_OUT_TRUNK="callfloor-trunk")
    return tmp_path


async def told(floor: Floor, kind: str) -> Message:
    return await floor.ami.event("UserEvent", lambda message: message["UserEvent"] == kind, within_s=15)


async def announce(floor: Floor, channel: str, words: str, keys: str = "") -> None:
    await floor.ami.set(channel, CF_KEYS=keys, CF_SAY=words)


@VERSIONS
async def test_an_announcement_is_heard_in_the_callers_language_and_music_comes_back(
    floor: Floor, prompts: Path
) -> None:
    await floor.keep(f"route-language/{DNIS}", "zh-CN")
    await floor.beat("b1")
    _, ear = await floor.call()
    offer = await floor.offer()
    assert offer["Callerlanguage"] == "zh-CN"
    channel = await floor.accept(offer)
    await announce(floor, channel, "greeting:greeting:count-3")
    await ear.hears(1500)
    await ear.hears(1600)  # the number, which Chinese reads alike here
    said = await told(floor, "CallfloorSaid")
    assert (said["What"], said["Missing"]) == ("greeting", "")
    ear.forget_silence()
    await ear.hears_sound()
    assert (await floor.ami.do("Getvar", Channel=channel, Variable="CF_PLACE"))["Value"] == "hold"


async def test_a_missing_recording_is_told_and_music_plays_on(floor: Floor, prompts: Path) -> None:
    (prompts / "zh" / "greeting.wav").unlink()
    await floor.beat("b1")
    await floor.keep(f"route-language/{DNIS}", "zh")
    _, ear = await floor.call()
    channel = await floor.accept(await floor.offer())
    await announce(floor, channel, "greeting:number-3:greeting")
    missing = await told(floor, "CallfloorPromptMissing")
    assert (missing["Prompt"], missing["Tongue"]) == ("greeting", "zh")
    said = await told(floor, "CallfloorSaid")
    assert said["Missing"] == "greeting"
    assert ear.share_of(600) < 0.5
    assert ear.share_of(1600) < 0.5
    assert ear.longest_silence_s < 2


@LONG_VERSIONS
async def test_a_ring_during_an_announcement_interrupts_it(floor: Floor, prompts: Path) -> None:
    write_prompt(prompts / "en" / "long.wav", 800, 30.0, 0.1)
    await floor.beat("b1")
    _, agent = await floor.phone("ann")
    _, ear = await floor.call()
    channel = await floor.accept(await floor.offer())
    await announce(floor, channel, "comfort:long")
    await ear.hears(800)
    await floor.ring(channel, "ann", record=False)
    await asyncio.gather(agent.hears(440), ear.hears(1000))


@LONG_VERSIONS
async def test_keys_are_told_if_they_mean_something_and_cut_an_announcement_short(floor: Floor, prompts: Path) -> None:
    write_prompt(prompts / "en" / "long.wav", 800, 30.0, 0.1)
    await floor.beat("b1")
    _, ear = await floor.call()
    channel = await floor.accept(await floor.offer())
    await announce(floor, channel, "offer:long", keys="12")
    await ear.hears(800)
    ear.press("7")
    ear.press("1")
    await keys_are(floor, "1")
    await announce(floor, channel, "number:greeting", keys="0123456789*#")
    await ear.hears(600)
    for pressed in "030#":
        ear.press(pressed)
    await keys_are(floor, "1030#")


async def keys_are(floor: Floor, expected: str) -> None:
    """Wait until just these keys were told."""
    seen = ""
    async with asyncio.timeout(15):
        while len(seen) < len(expected):
            await asyncio.sleep(0.1)
            events = floor.ami.all("UserEvent")
            seen = "".join(message["Key"] for message in events if message["UserEvent"] == "CallfloorKey")
    assert seen == expected


@LONG_VERSIONS
async def test_the_daemon_dies_during_an_announcement_and_the_caller_reaches_an_agent(
    floor: Floor, prompts: Path
) -> None:
    heart = await floor.beat("b1")
    _, agent = await floor.phone("ann")
    _, ear = await floor.call()
    channel = await floor.accept(await floor.offer())
    await announce(floor, channel, "offer:greeting:greeting", keys="1")
    await ear.hears(600)
    heart.cancel()
    ear.press("1")  # the menu to leave, and nobody to hear it
    await asyncio.gather(agent.hears(440, within_s=20), ear.hears(1000, within_s=20))
    assert ear.longest_silence_s < 2


MENUS = {
    "route-menu/4930111": "main",
    "menu/main": "greeting:3:2:0:0:queue:support",
    "menu-key/main.1": "menu:who",
    "menu-key/main.2": "language:zh",
    "menu-key/main.3": "voicemail:support",
    "menu-key/main.4": "number:+493077",
    "menu/who": "account:5:3:6:1:queue:support",
    "menu-key/who.hash": "queue:sales",
}


@VERSIONS
async def test_a_menu_works_without_the_daemon_and_asks_for_an_account_number(floor: Floor, prompts: Path) -> None:
    for key, value in MENUS.items():
        await floor.keep(key, value)
    _, agent = await floor.phone("ann")
    _, ear = await floor.call()
    await ear.hears(600)
    ear.press("2")
    await ear.hears(1500)
    ear.press("1")
    await ear.hears(1800)
    for digit in "123456":  # the check digit is wrong
        ear.press(digit)
    await ear.hears(1800, within_s=15)
    for digit in "123455":
        ear.press(digit)
    offer = await floor.offer(within_s=15)
    assert (offer["Account"], offer["Callerlanguage"], offer["Target"]) == ("123455", "zh", "queue:sales")
    assert offer["Path"] == "main:2>main:1>who:#"
    assert offer["Choice"] == "who.hash"
    await asyncio.gather(agent.hears(440, within_s=20), ear.hears(1000, within_s=20))


@pytest.mark.long
async def test_who_presses_nothing_goes_where_the_menu_says(floor: Floor, prompts: Path) -> None:
    for key, value in (MENUS | {"menu/main": "greeting:1:2:0:0:queue:support"}).items():
        await floor.keep(key, value)
    await floor.beat("b1")
    await floor.call()
    offer = await floor.offer(within_s=20)
    assert (offer["Target"], offer["Path"]) == ("queue:support", "")


@pytest.mark.long
async def test_a_caller_who_goes_round_in_circles_comes_to_people(floor: Floor, prompts: Path) -> None:
    for key, value in {
        "route-menu/4930111": "round",
        "menu/round": "goodbye:1:1:0:0:menu:round",
        "menu-key/round.1": "menu:round",
    }.items():
        await floor.keep(key, value)
    (prompts / "en" / "goodbye.wav").unlink()
    write_prompt(prompts / "en" / "goodbye.wav", 600, 0.1, 0.0)
    await floor.beat("b1")
    _, ear = await floor.call()
    for _ in range(25):
        ear.press("1")
    offer = await floor.offer(within_s=30)
    assert len(offer["Path"]) <= 120


@LONG_VERSIONS
async def test_a_voicemail_is_recorded_and_told_with_its_queue(floor: Floor, prompts: Path) -> None:
    await floor.beat("b1")
    call, _ = await floor.call(stay_s=6.0)
    channel = await floor.accept(await floor.offer())
    await floor.ami.set(channel, CF_GOES="voicemail:support")
    await floor.redirect(channel, "callfloor-go")
    message = await told(floor, "CallfloorMessage")
    assert (message["Queue"], message["File"]) == ("support", f"{message['Channelid']}.wav")
    await call.wait()
    with wave.open(str(floor.pbx.messages / message["File"])) as file:
        assert file.getnframes() > 8000


@pytest.mark.long
async def test_a_message_is_played_and_the_call_ends(floor: Floor, prompts: Path) -> None:
    await floor.beat("b1")
    call, ear = await floor.call()
    channel = await floor.accept(await floor.offer())
    await floor.ami.set(channel, CF_GOES="message:goodbye")
    await floor.redirect(channel, "callfloor-go")
    await ear.hears(800)
    assert (await call.wait()).steps == ("answered", "ended_by_other")


@LONG_VERSIONS
async def test_a_number_outside_that_does_not_answer_gives_the_caller_back(floor: Floor, prompts: Path) -> None:
    carrier = await floor.carrier()
    await floor.beat("b1")
    _, ear = await floor.call()
    channel = await floor.accept(await floor.offer())
    await floor.ami.set(channel, CF_GOES="number:+493077")
    await floor.redirect(channel, "callfloor-go")
    rung = await carrier.rung()
    rung.forward("+900666")
    again = await floor.offer(2)
    assert again["Channelid"] == (await floor.uniqueid(channel))
    await ear.hears_sound()


# ── the core on a real Asterisk ───────────────────────────────────────────────────────────────────────────

PBX = PbxId("pbx1")
SALES = QueueId("sales")
ANN = AgentId("ann")


class Daemon:
    """The deciding core on this PBX, with a journal; it can be killed and started again."""

    def __init__(self, floor: Floor, plan: Plan) -> None:
        self.floor, self.plan = floor, plan
        self.journal: list[Event] = []
        self.core: Inbound | None = None
        self._runs = itertools.count(1)
        self._timer: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        core = self.core = Inbound(self.plan, boot=f"run{next(self._runs)}")
        core.restore(self.journal)
        pbx = self.floor.pbx
        address = PbxAddress(PBX, pbx.host, pbx.ami_port, pbx.ami_username, pbx.ami_secret)
        self._switch = AsteriskSwitch(address, self.tell, clock=time.time, jitter=random.Random(1))
        self._switch.start()

    async def kill(self) -> None:
        self.core = None
        if self._timer is not None:
            self._timer.cancel()
        await self._switch.close()

    def tell(self, fact: Event) -> None:
        if self.core is not None:
            self.journal.append(fact)
            self._follow(self.core.handle(fact, now=time.time()))

    def _follow(self, outputs: list[Any]) -> None:
        assert self.core is not None
        self.journal += [one for one in outputs if isinstance(one, Event)]
        for one in outputs:
            if isinstance(one, c.Command) and not isinstance(one, c.LookUpCaller | c.ShowPop | c.ClosePop):
                self._switch.carry_out(one)
        if self._timer is not None:
            self._timer.cancel()
        due = self.core.wake_at()
        if due is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, due - time.time()), self._wake)

    def _wake(self) -> None:
        if self.core is not None:
            self._follow(self.core.wake(now=time.time()))

    async def concludes(self, kind: type[Event], number: int = 1) -> Any:
        """Wait for a fact of this kind."""
        async with asyncio.timeout(30):
            while len(found := [one for one in self.journal if isinstance(one, kind)]) < number:
                await asyncio.sleep(0.05)
        return found[number - 1]

    def works(self, agent: AgentId) -> None:
        """The agent logs in and wants calls."""
        now = time.time()
        self.tell(e.AgentLoggedIn(at=now, agent=agent))
        self.tell(e.DeskFresh(at=now, agent=agent))
        self.tell(e.StateRequested(at=now, agent=agent, state=AgentState.AVAILABLE, reason="", by="agent"))


def callback_plan() -> Plan:
    queue = QueuePlan(
        SALES,
        "Sales",
        comfort=Comfort(greeting="greeting", callback_after_s=1),
        callback=CallbackPlan(trunk="callfloor-trunk", shown_number="+4930111"),
        recording=RecordingPolicy.OFF,
    )
    ann = AgentPlan(ANN, "Ann", Phone(PBX, "ann", PhoneKind.DESK), {}, (SALES,))
    return Plan({SALES: queue}, {ANN: ann}, (DnisRoute(DNIS, SALES),), SALES)


@VERSIONS
async def test_a_place_that_is_kept_over_a_restart_is_called_back_once_and_speaks_with_an_agent(
    floor: Floor, prompts: Path
) -> None:
    for step, name in enumerate(("callback-offer", "callback-confirm", "callback-placed")):
        write_prompt(prompts / "en" / f"{name}.wav", 2000 + 300 * step, 1.5, 0.5)
    carrier = await floor.carrier()
    daemon = Daemon(floor, callback_plan())
    await daemon.start()
    floor.stack.push_async_callback(daemon.kill)
    call, ear = await floor.call("+4915112345")
    await ear.hears(600, within_s=15)
    await ear.hears(2000, within_s=15)
    ear.press("1")
    await ear.hears(2300, within_s=15)
    ear.press("1")
    placed = await daemon.concludes(e.CallbackPlaced)
    assert (await call.wait()).steps == ("answered", "ended_by_other")
    assert (await daemon.concludes(e.InteractionEnded)).outcome == "callback"
    await daemon.kill()
    await daemon.start()
    await floor.phone("ann")
    await floor.ami.event("DeviceStateChange", lambda one: (one["Device"], one["State"]) == ("PJSIP/ann", "NOT_INUSE"))
    daemon.works(ANN)
    rung = await carrier.rung()
    assert rung.invite is not None
    assert rung.invite.start.startswith("INVITE sip:+4915112345@")
    assert "+4930111" in rung.invite.get("from")
    rung.answer()
    joined = await daemon.concludes(e.AgentJoined)
    closed = await daemon.concludes(e.CallbackClosed)
    assert (closed.callback, closed.outcome) == (placed.callback, "answered")
    assert (joined.agent, joined.interaction) == (ANN, closed.interaction)
    await rung.hang_up()
    await daemon.concludes(e.InteractionEnded, 2)
    invites = [one for one in carrier.received if one.startswith(b"INVITE")]
    assert len(invites) == 1
