"""A small floor on a real Asterisk: a PBX, callers, desk phones, and a daemon that does what the test says."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cti.demo.callers import Call, Callers, UasPhone
from tests.ami_wire import AmiWire, Message
from tests.rtp import TonePhone

if TYPE_CHECKING:
    from pathlib import Path

    from cti.asterisk.local_pbx import LocalPbx

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
    _turns: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

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

    async def offer(self, number: int = 1, *, within_s: float = 8.0) -> Message:
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
        await self.ami.set(channel, CF_ENDPOINT=endpoint, CF_RING_S=str(ring_s), CF_RECORD="1" if record else "0")
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

    async def gone(self, channel: str, *, within_s: float = 8.0) -> Message:
        """Wait until a channel has ended."""
        return await self.ami.event("Hangup", lambda message: message["Channel"] == channel, within_s=within_s)
