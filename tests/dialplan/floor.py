"""A small floor on a real Asterisk: a PBX, callers, desk phones, and a daemon that does what the test says."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from cti.demo.callers import Call, Callers, UasPhone
from tests.ami_wire import AmiWire, Message
from tests.asterisk.sip_phone import Call as SipCall
from tests.asterisk.sip_phone import Phone as SipPhone
from tests.rtp import TonePhone

if TYPE_CHECKING:
    from pathlib import Path

    from cti.asterisk.local_pbx import LocalPbx

BOTH_VERSIONS = pytest.mark.parametrize("floor", [22, 16], indirect=True)
OLD_VERSION_IN_THE_SOAK = pytest.mark.parametrize(
    "floor", [22, pytest.param(16, marks=pytest.mark.long)], indirect=True
)
"""On Asterisk 22 each time, on 16 with the long tests."""
DNIS = "4930111"
PASSWORD = "phonepassword"


@dataclass
class Floor:
    """What a test of the dialplan works with. ``ami`` has the daemon's rights and no more."""

    pbx: LocalPbx
    ami: AmiWire
    callers: Callers
    folder: Path
    stack: contextlib.AsyncExitStack
    carrier_port: int
    _turns: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def add_member(self, queue: str, endpoint: str) -> None:
        """What the daemon does when an agent of this queue logs in."""
        await self.ami.do("QueueAdd", Queue=f"callfloor-{queue}", Interface=f"PJSIP/{endpoint}")

    async def remove_member(self, queue: str, endpoint: str) -> None:
        """What the daemon does when an agent of this queue logs out."""
        await self.ami.do("QueueRemove", Queue=f"callfloor-{queue}", Interface=f"PJSIP/{endpoint}")

    async def members(self) -> dict[tuple[str, str], bool]:
        """Queue and endpoint of every member, and whether it is paused."""
        answer = await self.ami.do("QueueStatus")
        complete = await self.ami.event("QueueStatusComplete", lambda item: item["ActionID"] == answer["ActionID"])
        return {
            (item["Queue"].removeprefix("callfloor-"), item["Location"].removeprefix("PJSIP/")): item["Paused"] == "1"
            for item in self.ami.all("QueueMember")
            if item.get("ActionID") == complete["ActionID"]
        }

    async def keep(self, key: str, value: str) -> None:
        """What the daemon does to mirror a setting; it is removed at the end of the test."""
        await self._keep(key, value)
        self.stack.push_async_callback(self._keep, key, "")

    async def _keep(self, key: str, value: str) -> Message:
        return await self.ami.do(
            "Originate",
            Channel="Local/s@callfloor-mirror/n",
            Application="Wait",
            Data="0",
            Timeout="3000",
            Variable=f"CF_KEY={key},CF_VALUE={value}",
        )

    async def configure(self, **variables: str) -> None:
        """Other global variables, until the end of the test."""
        for name, value in variables.items():
            before = (await self.ami.do("Getvar", Variable=name))["Value"]
            await self.ami.set("", **{name: value})
            self.stack.push_async_callback(self.ami.set, "", **{name: before})

    async def clear(self) -> None:
        """Leave the PBX as the next test wants it."""
        await self.pbx.cli("channel request hangup all")
        async with asyncio.timeout(15):
            while "0 active channels" not in await self.pbx.cli("core show channels count"):
                await asyncio.sleep(0.1)
        await self.ami.set("", CALLFLOOR_BEAT="")
        for queue, endpoint in await self.members():
            await self.remove_member(queue, endpoint)
        for path in (*self.pbx.recordings.iterdir(), *self.pbx.messages.iterdir()):
            path.unlink()

    async def raw_phone(self, endpoint: str) -> SipPhone:
        """A registered desk phone without audio, whose every step is the test's."""
        phone = await SipPhone.open(endpoint, f"127.0.0.1:{self.pbx.sip_port}")
        await phone.register(password=PASSWORD)

        async def leave() -> None:
            await phone.register(expires_s=0)
            phone.close()

        self.stack.push_async_callback(leave)
        return phone

    async def raw_caller(self, number: str = "4915112345", name: str = "Ada") -> tuple[SipCall, str]:
        """A caller without audio who has come in; gives the channel too."""
        phone = await SipPhone.open(number, f"127.0.0.1:{self.pbx.sip_port}", name)
        self.stack.callback(phone.close)
        call = phone.dial(DNIS)
        begun = await self.ami.event("Newchannel", lambda message: message["CallerIDNum"] == number)
        await call.until("up")
        return call, begun["Channel"]

    async def carrier(self, user: str = "carrier") -> SipPhone:
        """The other side of the trunk: what the PBX dials out rings here."""
        carrier = await SipPhone.open(user, f"127.0.0.1:{self.pbx.sip_port}", port=self.carrier_port)
        self.stack.callback(carrier.close)
        return carrier

    async def beat(self, boot: str) -> asyncio.Task[None]:
        """Let a daemon's heart beat until the test ends or cancels it."""

        async def beats() -> None:
            while True:
                await self.ami.set("", CALLFLOOR_BEAT=f"{boot}:{next(self._turns)}")
                await asyncio.sleep(0.7)

        await self.ami.set("", CALLFLOOR_BEAT=f"{boot}:{next(self._turns)}")
        task = asyncio.create_task(beats())

        async def stop() -> None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

        self.stack.push_async_callback(stop)
        return task

    async def call(self, number: str = "4915112345", **options: Any) -> tuple[Call, TonePhone]:
        """A caller whose audio is ours: 440 Hz in, and what they hear."""
        ear = await self.stack.enter_async_context(TonePhone(440))
        options = {"stay_s": 60.0, "name": "Ada", "dnis": DNIS} | options
        name, dnis = options.pop("name"), options.pop("dnis")
        return await self.callers.begin(number, name, dnis, media_port=ear.port, **options), ear

    async def phone(self, endpoint: str, hz: float | None = 1000, **rule: Any) -> tuple[UasPhone, TonePhone]:
        """A desk phone whose audio is ours."""
        ear = await self.stack.enter_async_context(TonePhone(hz))
        phone = UasPhone(
            pbx_host="127.0.0.1",
            pbx_port=self.pbx.sip_port,
            folder=self.folder / endpoint,
            endpoint=endpoint,
            password=PASSWORD,
            **{"media_port": ear.port, "answer_after_s": 0.3, "talk_s": 60.0, **rule},
        )
        await self.stack.enter_async_context(phone)
        return phone, ear

    async def offer(self, number: int = 1, *, within_s: float = 20.0) -> Message:
        """The ``number``-th offer of this test."""
        seen = itertools.count(1)
        return await self.ami.event(
            "UserEvent",
            lambda message: message["UserEvent"] == "CallfloorOffer" and next(seen) == number,
            within_s=within_s,
        )

    def offers(self) -> list[Message]:
        """All offers so far."""
        return [message for message in self.ami.all("UserEvent") if message["UserEvent"] == "CallfloorOffer"]

    async def accept(self, offer: Message, boot: str = "b1") -> str:
        """Take the caller; gives their channel."""
        await self.ami.set(offer["Channel"], CF_ACK=boot)
        return offer["Channel"]

    async def ring(self, channel: str, endpoint: str, ring_s: int = 20, *, record: bool = True) -> None:
        """Send the caller to an agent's phone."""
        policy = {"CF_TOLD": "1", "CF_RECORD": "announced"} if record else {"CF_RECORD": "off"}
        await self.ami.set(channel, CF_ENDPOINT=endpoint, CF_RING_S=str(ring_s), **policy)
        await self.redirect(channel, "callfloor-ring")

    async def redirect(self, channel: str, context: str, other: str = "", other_context: str = "") -> None:
        """Move one leg, or two out of one talk at the same time."""
        extra = (
            {"ExtraChannel": other, "ExtraContext": other_context, "ExtraExten": "s", "ExtraPriority": "1"}
            if other
            else {}
        )
        await self.ami.do("Redirect", Channel=channel, Context=context, Exten="s", Priority="1", **extra)

    async def leg_of(self, endpoint: str) -> str:
        """The newest channel of a phone."""
        begun = await self.ami.event(
            "DialBegin", lambda message: message["DestChannel"].startswith(f"PJSIP/{endpoint}-")
        )
        return begun["DestChannel"]

    async def uniqueid(self, channel: str) -> str:
        """A channel's other name."""
        return (await self.ami.do("Getvar", Channel=channel, Variable="UNIQUEID"))["Value"]

    async def gone(self, channel: str, *, within_s: float = 20.0) -> Message:
        """Wait until a channel has ended."""
        return await self.ami.event("Hangup", lambda message: message["Channel"] == channel, within_s=within_s)
