"""The switch on real Asterisk 22 and 16, with our dialplan: every command moves the legs that it should."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cti.asterisk.local_pbx import PhoneAccount
from cti.asterisk.switch import AsteriskSwitch, PbxAddress
from cti.commands import (
    AcceptOffer,
    Beat,
    HangUp,
    JoinLegs,
    Member,
    MirrorMembers,
    MirrorSetting,
    PauseRecording,
    ReadLegs,
    ReturnToHold,
    RingAgent,
    SendToHold,
    StartConsult,
    WithdrawCaller,
)
from cti.events import (
    BridgeJoined,
    CallerFellBack,
    CallOffered,
    CommandFailed,
    DialEnded,
    DialOutcome,
    DialStarted,
    Event,
    LegEnded,
    LegsRead,
    LinkLost,
    LinkUp,
    MemberSeen,
    PbxRead,
    PhoneReachable,
    PhoneUnreachable,
    RecordingPaused,
    RecordingResumed,
)
from cti.gate.certificates import Names, make_office
from cti.ids import AgentId, InteractionId, LegId, PbxId, QueueId
from cti.routing.plan import RecordingPolicy
from tests.ami_wire import AmiWire
from tests.asterisk.sip_phone import Phone

if TYPE_CHECKING:
    from cti.asterisk.local_pbx import LocalPbx
    from tests.conftest import StartPbx

pytestmark = pytest.mark.pbx

DEADLINE_S = 15.0
ACCOUNTS = [PhoneAccount("alice", "wonderland", False), PhoneAccount("bob", "builder", False)]


class Floor:
    """A switch on a running PBX, and what it said."""

    def __init__(
        self, pbx: LocalPbx, secret: str | None = None, tls_port: int | None = None, tls_ca_file: Path | None = None
    ) -> None:
        self.facts: list[Event] = []
        address = PbxAddress(
            id=PbxId("pbx1"),
            host=pbx.host,
            port=tls_port or pbx.ami_port,
            is_tls=tls_port is not None,
            tls_ca_file=str(tls_ca_file or ""),
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
                recording=RecordingPolicy.ANNOUNCED if is_recorded else RecordingPolicy.OFF,
            )
        )


@pytest.fixture(params=[22, 16])
async def pbx(request: pytest.FixtureRequest, local_pbx: StartPbx) -> LocalPbx:
    pbx = await local_pbx(
        version=request.param,
        phones=ACCOUNTS,
        queues=("support", "sales"),
        routes={"4930555": "support"},
        rtp_timeout_s=0,
    )
    async with AmiWire(pbx.ami_port, pbx.ami_username, pbx.ami_secret) as ami:
        await ami.set("", CF_TOLD="1")  # every caller was told that calls are recorded
    return pbx


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


async def test_the_fall_back_has_what_was_mirrored_and_gives_its_callers_back(pbx: LocalPbx) -> None:
    sip = f"{pbx.host}:{pbx.sip_port}"
    floor = Floor(pbx)
    alice, caller = [await Phone.open(name, sip) for name in ("alice", "+4930901820")]
    try:
        await floor.open()
        await alice.register(password="wonderland")
        staff = [Member(f"agent{number}", number % 2 == 0) for number in range(100)]
        for members in (staff, staff[:50], staff[50:], [*staff[:10], Member("alice", True)]):
            for queue in ("support", "sales"):
                floor.switch.carry_out(MirrorMembers(pbx=PbxId("pbx1"), queue=QueueId(queue), members=tuple(members)))
        for key, value in (("route/4930555", "support"), ("route/4930555", "sales"), ("default-queue", "support")):
            floor.switch.carry_out(MirrorSetting(pbx=PbxId("pbx1"), key=key, value=value))
        wanted = {(queue, member.endpoint, member.is_paused) for queue in ("support", "sales") for member in members}

        async def read() -> PbxRead:
            since = len(floor.facts)
            floor.switch.carry_out(ReadLegs(pbx=PbxId("pbx1"), is_full=True))
            found: PbxRead = await floor.told(PbxRead, since)
            return found

        def told(found: PbxRead) -> set[tuple[str, str, bool]]:
            return {(member.queue, member.endpoint, member.is_paused) for member in found.members}

        async with asyncio.timeout(DEADLINE_S):
            while told(await read()) != wanted:
                await asyncio.sleep(0.02)
            while "sales" not in await pbx.cli("database get callfloor route/4930555"):
                await asyncio.sleep(0.02)

        assert floor.beats is not None
        floor.beats.cancel()  # the daemon decides nothing any more
        caller.dial("4930555")
        leg = (await floor.told(CallerFellBack)).leg
        async with asyncio.timeout(DEADLINE_S):
            while not (queued := (await read()).queued):
                await asyncio.sleep(0.02)
        assert [one.leg for one in queued] == [leg]

        since = len(floor.facts)
        floor.beats = asyncio.create_task(floor._beat())
        await floor.told(PbxRead, since)  # out of touch for so long, it does not trust what it knew
        floor.switch.carry_out(WithdrawCaller(leg=leg, queue=queued[0].queue))
        again = await floor.told(CallOffered, since)
        assert (again.leg, again.waited_s >= 3) == (leg, True)
        floor.switch.carry_out(ReadLegs(pbx=PbxId("pbx1")))
        assert (await floor.told(LegsRead)).legs == (leg,)
        assert not [fact for fact in floor.facts if isinstance(fact, CommandFailed)]

        since = len(floor.facts)
        await pbx.stop()
        await pbx.start()
        kept = (await floor.told(PbxRead, since)).members
        assert MemberSeen(queue=QueueId("sales"), endpoint="alice", is_paused=True) in kept
    finally:
        await floor.close()
        for phone in (alice, caller):
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


@pytest.mark.parametrize("pbx", [22], indirect=True)
async def test_over_tls_only_the_pbx_whose_authority_we_trust_gets_the_secret(
    pbx: LocalPbx, tmp_path: Path, free_port: int
) -> None:
    for office in ("ours", "another"):
        make_office(tmp_path / office, Names(hosts=(), addresses=(pbx.host,)), now=datetime.now(UTC))
    served = tmp_path / "ours"
    manager = pbx.folder / "etc" / "manager.conf"
    tls = (
        f"[general]\ntlsenable = yes\ntlsbindaddr = {pbx.host}:{free_port}\n"
        f"tlscertfile = {served / 'server.crt'}\ntlsprivatekey = {served / 'server.key'}\n"
    )
    manager.write_text(manager.read_text().replace("[general]\n", tls, 1))
    await pbx.cli("manager reload")

    floor = Floor(pbx, tls_port=free_port, tls_ca_file=served / "ca.crt")
    try:
        await floor.open()
        assert (await floor.told(LinkUp)).version.startswith(str(pbx.version))
    finally:
        await floor.close()
    deceived = Floor(pbx, tls_port=free_port, tls_ca_file=tmp_path / "another" / "ca.crt")
    try:
        deceived.switch.start()
        assert (await deceived.told(LinkLost)).why == "untrusted"
    finally:
        await deceived.close()
