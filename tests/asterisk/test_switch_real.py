"""The switch on real Asterisk 22 and 16, with our dialplan: every command moves the legs that it should."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from cti.asterisk.local_pbx import PhoneAccount
from cti.asterisk.switch import AsteriskSwitch, PbxAddress
from cti.commands import (
    AcceptOffer,
    Beat,
    HangUp,
    JoinLegs,
    PauseRecording,
    ReturnToHold,
    RingAgent,
    SendToHold,
    StartConsult,
)
from cti.events import (
    BridgeJoined,
    CallOffered,
    CommandFailed,
    DialEnded,
    DialOutcome,
    DialStarted,
    Event,
    LegEnded,
    LinkLost,
    LinkUp,
    PbxRead,
    PhoneReachable,
    PhoneUnreachable,
    RecordingPaused,
    RecordingResumed,
)
from cti.ids import AgentId, InteractionId, LegId, PbxId
from tests.asterisk.sip_phone import Phone

if TYPE_CHECKING:
    from cti.asterisk.local_pbx import LocalPbx
    from tests.conftest import StartPbx

pytestmark = pytest.mark.pbx

DEADLINE_S = 15.0
ACCOUNTS = [PhoneAccount("alice", "wonderland", False), PhoneAccount("bob", "builder", False)]


class Floor:
    """A switch on a running PBX, and what it said."""

    def __init__(self, pbx: LocalPbx, secret: str | None = None) -> None:
        self.facts: list[Event] = []
        address = PbxAddress(
            id=PbxId("pbx1"),
            host=pbx.host,
            port=pbx.ami_port,
            username=pbx.ami_username,
            secret=secret or pbx.ami_secret,
            first_retry_s=0.05,
            last_retry_s=0.2,
        )
        self.switch = AsteriskSwitch(address, self.facts.append, clock=time.time, jitter=random.Random(1))
        self.beats: asyncio.Task[None] | None = None

    async def open(self) -> PbxRead:
        self.switch.start()
        read: PbxRead = await self.told(PbxRead)
        self.beats = asyncio.create_task(self._beat())
        return read

    async def _beat(self) -> None:
        count = 0
        while True:
            count += 1
            self.switch.carry_out(Beat(pbx=PbxId("pbx1"), boot="boot1", count=count))
            await asyncio.sleep(1)

    async def close(self) -> None:
        if self.beats is not None:
            self.beats.cancel()
        await self.switch.close()

    async def told(self, kind: type[Event], since: int = 0, **fields: Any) -> Any:
        """The first fact of this kind with these fields, from position ``since`` on."""

        def find() -> Event | None:
            for fact in self.facts[since:]:
                if isinstance(fact, kind) and all(getattr(fact, name) == value for name, value in fields.items()):
                    return fact
            return None

        return await self.until(find)

    async def until(self, condition: Callable[[], Any]) -> Any:
        async with asyncio.timeout(DEADLINE_S):
            while not (found := condition()):
                await asyncio.sleep(0.005)
        return found

    def ring(self, leg: LegId, endpoint: str, is_recorded: bool = False, ring_timeout_s: int = 15) -> None:
        self.switch.carry_out(
            RingAgent(
                interaction=InteractionId("pbx1-1"),
                leg=leg,
                agent=AgentId(endpoint),
                endpoint=endpoint,
                ring_timeout_s=ring_timeout_s,
                is_recorded=is_recorded,
            )
        )


@pytest.fixture(params=[22, 16])
async def pbx(request: pytest.FixtureRequest, local_pbx: StartPbx) -> LocalPbx:
    return await local_pbx(version=request.param, phones=ACCOUNTS, routes={"4930555": "support"}, rtp_timeout_s=0)


async def test_a_caller_is_rung_recorded_consulted_joined_and_sent_on(pbx: LocalPbx) -> None:
    sip = f"{pbx.host}:{pbx.sip_port}"
    floor = Floor(pbx)
    alice, bob, caller = [await Phone.open(name, sip) for name in ("alice", "bob", "+4930901820")]
    try:
        read = await floor.open()
        assert read.legs == ()
        for phone, account in ((alice, ACCOUNTS[0]), (bob, ACCOUNTS[1])):
            await phone.register(password=account.password)
            await floor.told(PhoneReachable, endpoint=account.endpoint)
        call = caller.dial("4930555")
        offer = await floor.told(CallOffered)
        assert (offer.ani, offer.dnis) == ("+4930901820", "4930555")
        floor.switch.carry_out(AcceptOffer(leg=offer.leg))

        floor.ring(offer.leg, "alice", is_recorded=True)
        rung = await alice.rung()
        rung.ring()
        ringing = await floor.told(DialStarted, by=offer.leg)
        since = len(floor.facts)
        floor.switch.carry_out(ReturnToHold(leg=offer.leg))  # taken back while it rings
        await floor.told(DialEnded, to=ringing.to, outcome=DialOutcome.CANCELLED)
        await floor.told(CallOffered, since)
        floor.switch.carry_out(AcceptOffer(leg=offer.leg))

        since = len(floor.facts)
        floor.ring(offer.leg, "alice", is_recorded=True)
        rung = await alice.rung()
        rung.ring()
        rung.answer()
        agent = (await floor.told(DialEnded, since, by=offer.leg, outcome=DialOutcome.ANSWERED)).to
        await floor.told(BridgeJoined, since, leg=offer.leg)
        for is_paused, kind in ((True, RecordingPaused), (False, RecordingResumed)):
            floor.switch.carry_out(PauseRecording(leg=offer.leg, is_paused=is_paused))
            await floor.told(kind, leg=offer.leg)

        since = len(floor.facts)
        floor.switch.carry_out(StartConsult(leg=offer.leg, agent_leg=agent, endpoint="bob", ring_timeout_s=15))
        consulted = await bob.rung()
        consulted.ring()
        consulted.answer()
        third = (await floor.told(DialEnded, since, by=agent, outcome=DialOutcome.ANSWERED)).to
        await floor.told(BridgeJoined, since, leg=third)

        since = len(floor.facts)
        floor.switch.carry_out(JoinLegs(leg=offer.leg, to=third))
        together = (await floor.told(BridgeJoined, since, leg=offer.leg)).bridge
        await floor.told(BridgeJoined, since, leg=third, bridge=together)
        await floor.told(LegEnded, since, leg=agent)

        second = Floor(pbx)  # a daemon that starts now sees the talk that is under way
        seen = {leg.leg: leg for leg in (await second.open()).legs}
        assert set(seen) == {offer.leg, third}
        assert seen[offer.leg].bridge == seen[third].bridge
        assert None not in {leg.bridge for leg in seen.values()}
        await second.close()

        since = len(floor.facts)
        floor.switch.carry_out(SendToHold(leg=offer.leg, other=third, target="agent:alice"))
        again = await floor.told(CallOffered, since)
        assert (again.leg, again.target) == (offer.leg, "agent:alice")
        await floor.told(LegEnded, since, leg=third)

        floor.switch.carry_out(HangUp(leg=offer.leg))
        await floor.told(LegEnded, leg=offer.leg)
        await call.until("ended")
        assert not [fact for fact in floor.facts if isinstance(fact, CommandFailed)]
        floor.ring(offer.leg, "alice")
        assert (await floor.told(CommandFailed)).why == "no_such_leg"
        await bob.register(expires_s=0, password="builder")
        await floor.told(PhoneUnreachable, endpoint="bob")
    finally:
        await floor.close()
        for phone in (alice, bob, caller):
            phone.close()


async def test_a_pbx_that_restarts_is_found_and_read_again(pbx: LocalPbx) -> None:
    floor = Floor(pbx)
    try:
        await floor.open()
        assert (await floor.told(LinkUp)).version.startswith(str(pbx.version))
        since = len(floor.facts)
        await pbx.stop()
        await floor.told(LinkLost, since)
        await pbx.start()
        await floor.told(PbxRead, since)
    finally:
        await floor.close()


async def test_a_wrong_secret_is_told_as_a_refused_login(pbx: LocalPbx) -> None:
    floor = Floor(pbx, secret="wrong")
    try:
        floor.switch.start()
        assert (await floor.told(LinkLost)).why == "login_refused"
    finally:
        await floor.close()
