"""The simulated PBX by itself: its faults, its people, its clock, and that it speaks like the recorded Asterisk."""

from __future__ import annotations

import asyncio
import gzip
import random
from collections import Counter
from pathlib import Path
from typing import TypeVar

import pytest

from cti import commands as c
from cti import events as e
from cti.asterisk.sim_pbx import Caller, LiveSimPbx, PhoneBehaviour, SimPbx
from cti.asterisk.translator import Translator
from cti.events import DeviceState, DialOutcome, Event, HangupCause
from cti.ids import AgentId, InteractionId, LegId, PbxId
from cti.routing.plan import RecordingPolicy

T = TypeVar("T")
PBX = PbxId("pbx1")
STILL = PhoneBehaviour(answers_after_s=None)
TRAFFIC = Path(__file__).parents[1] / "asterisk" / "traffic" / "22"


class Floor:
    """A simulated PBX whose daemon acknowledges and beats, with a clock that the test turns."""

    def __init__(self, behaviour: PhoneBehaviour = STILL, *, fallback_phones: tuple[str, ...] = ()) -> None:
        self.now = 1000.0
        self.sim = SimPbx(
            PBX,
            rng=random.Random(1),
            phones={"ann": behaviour, "bob": behaviour},
            fallback_phones=fallback_phones,
            fallback_s=30,
        )
        self.facts: list[Event] = []
        self.beat("boot1")

    def beat(self, boot: str) -> None:
        self.keep(self.sim.handle(c.Beat(pbx=PBX, boot=boot, count=int(self.now * 10)), now=self.now))

    def keep(self, facts: list[Event]) -> list[Event]:
        self.facts += facts
        return facts

    def turn_to(self, at: float) -> None:
        while (due := self.sim.wake_at()) is not None and due <= at:
            self.now = max(self.now, due)
            self.keep(self.sim.wake(now=self.now))
        self.now = at

    def caller(self, **more: float) -> LegId:
        (offer,) = self.of(
            e.CallOffered, self.keep(self.sim.call_in(Caller("+4930", "Li", "4001", **more), now=self.now))
        )
        self.order(c.AcceptOffer(leg=offer.leg))
        return offer.leg

    def order(self, command: c.Command) -> list[Event]:
        return self.keep(self.sim.handle(command, now=self.now))

    def ring(self, leg: LegId, endpoint: str = "ann") -> list[Event]:
        return self.order(
            c.RingAgent(
                interaction=InteractionId("x"),
                leg=leg,
                agent=AgentId(endpoint),
                endpoint=endpoint,
                ring_timeout_s=20,
            )
        )

    def of(self, kind: type[T], facts: list[Event] | None = None) -> list[T]:
        return [fact for fact in (self.facts if facts is None else facts) if isinstance(fact, kind)]


def test_a_phone_answers_when_its_owner_does() -> None:
    floor = Floor(PhoneBehaviour(answers_after_s=(3.0, 3.0), hangs_up_after_s=(10.0, 10.0)))
    leg = floor.caller()
    floor.ring(leg)
    floor.turn_to(1002.9)
    assert not floor.of(e.BridgeJoined)
    floor.turn_to(1003.0)
    assert [fact.at for fact in floor.of(e.BridgeJoined)] == [1003.0, 1003.0]
    floor.turn_to(1013.0)
    assert not floor.sim.legs


def test_a_caller_without_patience_leaves_and_one_who_talks_ends_the_talk() -> None:
    floor = Floor()
    floor.caller(patience_s=2.0)
    floor.turn_to(1002.0)
    assert not floor.sim.legs
    leg = floor.caller(patience_s=2.0, talk_s=60.0)
    floor.ring(leg)
    floor.keep(floor.sim.answer("ann", now=floor.now))
    floor.turn_to(1061.9)
    assert len(floor.sim.legs) == 2
    floor.turn_to(1062.0)
    assert not floor.sim.legs


def test_an_owner_who_refuses_everything_is_busy() -> None:
    floor = Floor(PhoneBehaviour(answers_after_s=(1.0, 1.0), rejects=1.0))
    floor.ring(floor.caller())
    floor.turn_to(1001.0)
    assert [fact.outcome for fact in floor.of(e.DialEnded)] == [DialOutcome.BUSY]


def test_a_phone_in_a_talk_is_busy_unless_it_takes_a_second_call() -> None:
    for behaviour, outcomes in (
        (STILL, [DialOutcome.ANSWERED, DialOutcome.BUSY]),
        (
            PhoneBehaviour(answers_after_s=None, rings_while_talking=True),
            [DialOutcome.ANSWERED],
        ),
    ):
        floor = Floor(behaviour)
        floor.ring(floor.caller())
        floor.keep(floor.sim.answer("ann", now=floor.now))
        floor.ring(floor.caller())
        assert [fact.outcome for fact in floor.of(e.DialEnded)] == outcomes


def test_a_phone_that_vanishes_in_a_talk_is_silent_for_a_while_and_the_caller_is_offered_again() -> None:
    floor = Floor()
    leg = floor.caller()
    floor.ring(leg)
    floor.keep(floor.sim.answer("ann", now=floor.now))
    floor.keep(floor.sim.lose_phone("ann", now=floor.now))
    assert [fact.endpoint for fact in floor.of(e.PhoneUnreachable)] == ["ann"]
    floor.turn_to(1004.9)
    assert len(floor.sim.legs) == 2
    floor.turn_to(1005.0)
    assert list(floor.sim.legs) == [leg]
    assert isinstance(floor.facts[-1], e.CallOffered)
    floor.keep(floor.sim.find_phone("ann", now=floor.now))
    assert floor.facts[-1] == e.DeviceChanged(at=1005.0, pbx=PBX, endpoint="ann", state=DeviceState.NOT_INUSE)


def test_with_the_link_broken_calls_go_on_untold_and_orders_fail() -> None:
    floor = Floor()
    leg = floor.caller(patience_s=10.0)
    (lost,) = floor.sim.break_link(now=floor.now)
    assert isinstance(lost, e.LinkLost)
    (failure,) = floor.ring(leg)
    assert isinstance(failure, e.CommandFailed)
    assert (failure.command, failure.interaction, failure.why) == ("RingAgent", "x", "link_down")
    assert floor.sim.handle(c.Beat(pbx=PBX, boot="boot1", count=99), now=floor.now) == []
    before = len(floor.facts)
    floor.turn_to(1020.0)
    assert floor.facts[before:] == []
    up, read = floor.sim.restore_link(now=floor.now)
    assert isinstance(up, e.LinkUp)
    assert isinstance(read, e.PbxRead)
    assert read.legs == ()


def test_a_daemon_that_is_gone_loses_its_callers_to_the_fall_back_queue_and_they_are_served() -> None:
    floor = Floor(PhoneBehaviour(answers_after_s=(1.0, 1.0)), fallback_phones=("ann",))
    floor.caller(patience_s=100.0)
    second = floor.caller(patience_s=100.0, talk_s=5.0)
    floor.sim.break_link(now=floor.now)
    floor.turn_to(1010.0)
    (_up, read) = floor.sim.restore_link(now=floor.now)
    assert isinstance(read, e.PbxRead)
    assert Counter(leg.bridge is not None for leg in read.legs) == {True: 2, False: 1}
    assert second in floor.sim.legs


def test_a_fallen_back_caller_whom_nobody_serves_hears_a_message_and_is_let_go() -> None:
    floor = Floor()
    leg = floor.caller()
    floor.turn_to(1100.0)
    (fell_back,) = floor.of(e.CallerFellBack)
    assert (fell_back.leg, fell_back.at) == (leg, 1005.0)
    assert [fact.abandoned for fact in floor.of(e.ForeignQueueLeft)] == [False]
    assert not floor.sim.legs


def test_a_caller_who_hangs_up_in_the_fall_back_queue_has_abandoned_it() -> None:
    floor = Floor(fallback_phones=("ann",))
    leg = floor.caller()
    floor.turn_to(1006.0)
    floor.keep(floor.sim.caller_hangs_up(leg, now=floor.now))
    assert [fact.abandoned for fact in floor.of(e.ForeignQueueLeft)] == [True]
    assert [fact.outcome for fact in floor.of(e.DialEnded)] == [DialOutcome.CANCELLED]
    assert not floor.sim.legs


def test_a_restart_of_the_pbx_ends_every_call_without_a_word() -> None:
    floor = Floor()
    floor.ring(floor.caller())
    facts = floor.sim.restart(now=floor.now)
    assert [type(fact) for fact in facts] == [e.LinkLost]
    _up, read = floor.sim.restore_link(now=floor.now)
    assert isinstance(read, e.PbxRead)
    assert read.legs == ()
    assert dict(read.devices) == {"ann": DeviceState.NOT_INUSE, "bob": DeviceState.NOT_INUSE}
    assert floor.sim.wake_at() is None


def test_two_phones_call_each_other() -> None:
    floor = Floor()
    floor.keep(floor.sim.dial("ann", "bob", now=floor.now))
    floor.keep(floor.sim.answer("bob", now=floor.now))
    assert len(floor.of(e.BridgeJoined)) == 2
    floor.keep(floor.sim.hang_up("bob", now=floor.now))
    assert [fact.cause for fact in floor.of(e.LegEnded)] == [HangupCause.NORMAL, HangupCause.NORMAL]


def test_the_same_seed_plays_the_same_day() -> None:
    days = []
    for _ in range(2):
        floor = Floor(PhoneBehaviour(rejects=0.3))
        for _call in range(20):
            floor.ring(floor.caller(patience_s=30.0, talk_s=20.0), "bob")
            floor.turn_to(floor.now + 7)
        days.append(floor.facts)
    assert days[0] == days[1]


# ── it speaks like the real one ───────────────────────────────────────────────────────────────────────────


def _recorded(name: str) -> list[Event]:
    translator = Translator(PBX)
    messages = gzip.decompress((TRAFFIC / f"{name}.ami.gz").read_bytes()).split(b"\r\n\r\n")
    return [
        fact
        for message in messages
        if message.startswith(b"Event: ")
        for fact in translator.translate([message + b"\r\n"], 0.0)
    ]


def _answered_and_hung_up(floor: Floor) -> None:
    leg = floor.caller()
    floor.ring(leg)
    floor.keep(floor.sim.answer("ann", now=floor.now))
    floor.keep(floor.sim.caller_hangs_up(leg, now=floor.now))


def _not_answered(floor: Floor) -> None:
    leg = floor.caller()
    floor.ring(leg)
    floor.turn_to(floor.now + 20)
    floor.keep(floor.sim.caller_hangs_up(leg, now=floor.now))


def _given_up_while_ringing(floor: Floor) -> None:
    leg = floor.caller()
    floor.ring(leg)
    floor.keep(floor.sim.caller_hangs_up(leg, now=floor.now))


def _moved_blind(floor: Floor) -> None:
    leg = floor.caller()
    floor.ring(leg)
    floor.keep(floor.sim.answer("ann", now=floor.now))
    (agent_leg,) = set(floor.sim.legs) - {leg}
    floor.order(c.SendToHold(leg=leg, other=agent_leg, target="agent:bob"))
    floor.ring(leg, "bob")
    floor.keep(floor.sim.answer("bob", now=floor.now))
    floor.keep(floor.sim.caller_hangs_up(leg, now=floor.now))


@pytest.mark.parametrize(
    ("recording", "story"),
    [
        ("inbound_caller_hangs_up", _answered_and_hung_up),
        ("inbound_no_answer", _not_answered),
        ("inbound_abandoned_ringing", _given_up_while_ringing),
        ("inbound_moved_blind", _moved_blind),
    ],
)
def test_the_same_story_gives_the_same_facts_as_on_asterisk(recording: str, story: object) -> None:
    assert callable(story)
    floor = Floor()
    # The beat of this test's daemon stands still.
    floor.sim.handle(c.Beat(pbx=PBX, boot="boot1", count=1), now=floor.now)
    story(floor)
    real = _recorded(recording)
    spoken = [
        [
            type(fact).__name__
            for fact in facts
            # Phones' states come on a thread of their own in Asterisk; a simulated phone rings at once.
            if not isinstance(fact, e.DeviceChanged | e.PhoneReachable | e.LegRinging | e.LegIdentified | e.LegRelinked)
            and not isinstance(fact, e.CallerFellBack | e.ForeignQueueJoined | e.ForeignQueueLeft)
        ]
        for facts in (floor.facts, real)
    ]
    assert Counter(spoken[0]) == Counter(spoken[1])
    assert spoken[0][:5] == spoken[1][:5]
    outcomes = [[fact.outcome for fact in facts if isinstance(fact, e.DialEnded)] for facts in (floor.facts, real)]
    assert outcomes[0] == outcomes[1]


# ── live ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_live_shell_plays_what_is_due_and_carries_out_orders_in_a_later_turn() -> None:
    facts: list[Event] = []
    arrived = asyncio.Event()

    def inbox(fact: Event) -> None:
        facts.append(fact)
        arrived.set()

    async def until(kind: type[Event]) -> Event:
        async with asyncio.timeout(10):
            while not any(isinstance(fact, kind) for fact in facts):
                arrived.clear()
                await arrived.wait()
        return next(fact for fact in facts if isinstance(fact, kind))

    quick = PhoneBehaviour(answers_after_s=(0.01, 0.02), hangs_up_after_s=(0.01, 0.02))
    live = LiveSimPbx(SimPbx(PBX, rng=random.Random(1), phones={"ann": quick}), inbox)
    await live.start()
    assert [type(fact) for fact in facts] == [e.LinkUp, e.PbxRead]
    live.carry_out(c.Beat(pbx=PBX, boot="boot1", count=1))
    live.do(lambda sim, now: sim.call_in(Caller("+4930", "Li", "4001"), now=now))
    offer = await until(e.CallOffered)
    assert isinstance(offer, e.CallOffered)
    live.carry_out(
        c.RingAgent(
            interaction=InteractionId("x"),
            leg=offer.leg,
            agent=AgentId("ann"),
            endpoint="ann",
            ring_timeout_s=20,
            recording=RecordingPolicy.ANNOUNCED,
        )
    )
    assert not any(isinstance(fact, e.DialStarted) for fact in facts)
    await until(e.RecordingStarted)
    await until(e.LegEnded)
    await live.close()
    assert not live.sim.legs
