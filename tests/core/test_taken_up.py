"""State heals: after a restart, after the fall-back queue, and when something was told wrongly or not at all."""

from __future__ import annotations

from cti import commands as c
from cti import events as e
from cti.commands import ShowPop
from cti.events import AgentState, BridgeKind, DialOutcome, LegSeen, QueuedSeen
from cti.ids import BridgeId, LegId
from cti.inbound import Output
from tests.core.hall import Hall
from tests.core.plans import LI, PBX, SALES, small_plan


def seen(leg: LegId, endpoint: str, *, conversation: LegId, bridge: str = "", is_waiting: bool = False) -> LegSeen:
    return LegSeen(
        leg=leg,
        conversation=conversation,
        channel=f"PJSIP/{endpoint}-1",
        tech="PJSIP",
        endpoint=endpoint,
        number="",
        name="",
        dialled="",
        is_up=True,
        is_ringing=False,
        started_at=900.0,
        bridge=BridgeId(f"{PBX}/{bridge}") if bridge else None,
        bridge_kind=BridgeKind.TALK if bridge else None,
        is_waiting=is_waiting,
    )


def read(hall: Hall, *legs: LegSeen, queued: tuple[QueuedSeen, ...] = ()) -> None:
    devices = tuple((f"agent{number}", e.DeviceState.NOT_INUSE) for number in (1, 2, 3))
    hall.feed(e.PbxRead(at=hall.now, pbx=PBX, legs=legs, devices=devices, queued=queued))


def restarted(journaled: list[e.Event], *, after_s: float) -> tuple[Hall, list[Output]]:
    """A new run of the program on the journal of the old one; what it shows again."""
    again = Hall(small_plan())
    again.now = max(fact.at for fact in journaled) + after_s
    shown: list[Output] = []
    again.core.restore(journaled, show=lambda output, at: shown.append(output))
    again.said.clear()
    again.feed(e.LinkUp(at=again.now, pbx=PBX, version="22"))
    return again, shown


def test_a_talk_goes_on_over_a_restart_with_its_card_and_its_times() -> None:
    hall = Hall(small_plan())
    journaled = hall.keep_journal()
    hall.ready(LI)
    caller, leg, _bridge, interaction = hall.talk(LI)
    again, shown = restarted(journaled, after_s=60)
    read(
        again,
        seen(caller, "trunk", conversation=caller, bridge="b"),
        seen(leg, "agent1", conversation=caller, bridge="b"),
    )
    assert [(pop.agent, pop.interaction) for pop in shown if isinstance(pop, ShowPop)] == [(LI, interaction)]
    assert (again.agent(LI).state, again.agent(LI).since) == (AgentState.ON_CALL, hall.agent(LI).since)
    assert again.core.calls[interaction].talking == {LI: leg}
    assert again.all(e.AgentStateChanged) == again.all(c.RingAgent) == []
    # The look-up of the old run was never answered.
    assert again.last(c.LookUpCaller).interaction == interaction


def test_a_wrap_up_that_ran_over_the_restart_ended_when_it_was_to_end() -> None:
    hall = Hall(small_plan(wrap_up_s=30))
    journaled = hall.keep_journal()
    hall.ready(LI)
    caller, leg, _, _ = hall.talk(LI)
    hall.ends(leg)
    hall.ends(caller)
    until = hall.agent(LI).until
    again, _ = restarted(journaled, after_s=100)
    again.wait(1)
    assert (again.agent(LI).state, again.agent(LI).since) == (AgentState.AVAILABLE, until)


def test_a_waiting_caller_keeps_the_place_over_a_restart_and_is_rung_for_once() -> None:
    hall = Hall(small_plan())
    journaled = hall.keep_journal()
    first, interaction = hall.call()
    queued_at = hall.core.calls[interaction].queued_at
    again, _ = restarted(journaled, after_s=20)
    read(again, seen(first, "trunk", conversation=first, is_waiting=True))
    again.ready(LI)
    # The loop has not offered the caller to this run yet.
    assert again.all(c.RingAgent) == []
    second, _ = again.call()
    again.offer(first, waited_s=20)
    assert again.core.calls[interaction].queued_at == queued_at
    assert [ring.leg for ring in again.all(c.RingAgent)] == [second]
    assert [call.leg for call in again.core.waiting_in_order()] == [first]


def test_a_ring_chosen_but_never_ordered_is_taken_up_by_the_next_run() -> None:
    hall = Hall(small_plan())
    journaled = hall.keep_journal()
    hall.ready(LI)
    caller, _ = hall.call()
    again, _ = restarted(journaled, after_s=1)
    read(again, seen(caller, "trunk", conversation=caller, is_waiting=True))
    assert again.agent(LI).state is AgentState.AVAILABLE
    again.wait(3)
    assert again.last(c.ReturnToHold).leg == caller


def test_what_was_heard_and_not_concluded_before_the_end_is_told_by_the_next_run() -> None:
    hall = Hall(small_plan())
    journaled = hall.keep_journal()
    _, interaction = hall.call()
    heard_only = [fact for fact in journaled if not isinstance(fact, e.InteractionStarted | e.InteractionQueued)]
    again, _ = restarted([fact for fact in heard_only if not isinstance(fact, e.AgentChosen)], after_s=1)
    assert [fact.interaction for fact in again.all(e.InteractionStarted)] == [interaction]
    complete, _ = restarted(journaled, after_s=1)
    assert complete.all(e.InteractionStarted) == []


def test_a_caller_in_the_fall_back_queue_is_taken_back_with_the_first_waiting_time() -> None:
    hall = Hall(small_plan())
    journaled = hall.keep_journal()
    caller, interaction = hall.call()
    queued_at = hall.core.calls[interaction].queued_at
    again, _ = restarted(journaled, after_s=60)
    read(again, seen(caller, "trunk", conversation=caller), queued=(QueuedSeen(caller, SALES, 50.0),))
    assert [(order.leg, order.queue) for order in again.all(c.WithdrawCaller)] == [(caller, SALES)]
    again.wait(6)
    assert len(again.all(c.WithdrawCaller)) == 2
    again.offer(caller, waited_s=66)
    again.wait(60)
    assert len(again.all(c.WithdrawCaller)) == 2
    assert again.core.calls[interaction].queued_at == queued_at
    assert again.all(e.InteractionStarted) == []


def test_a_caller_who_fell_back_though_we_live_is_taken_out_at_once() -> None:
    hall = Hall(small_plan())
    caller, _ = hall.call()
    hall.feed(e.CallerFellBack(at=hall.now, leg=caller))
    hall.feed(e.ForeignQueueJoined(at=hall.now, leg=caller, queue="callfloor-sales", position=1))
    assert hall.last(c.WithdrawCaller).leg == caller


def test_a_leg_that_the_pbx_has_no_more_is_ended_after_two_lists_without_it() -> None:
    hall = Hall(small_plan(wrap_up_s=0))
    hall.ready(LI)
    caller, leg, _, _ = hall.talk(LI)
    for _ in range(2):
        assert hall.agent(LI).state is AgentState.ON_CALL
        hall.wait(16)
        assert hall.all(c.ReadLegs)
        hall.feed(e.LegsRead(at=hall.now, pbx=PBX, legs=()))
    assert {repaired.what for repaired in hall.all(e.Repaired)} == {"lost_leg"}
    assert {ended.leg for ended in hall.all(e.LegEnded)} == {caller, leg}
    assert hall.agent(LI).state is AgentState.AVAILABLE
    assert [ended.outcome for ended in hall.all(e.InteractionEnded)] == ["answered"]


def test_a_leg_that_began_after_the_question_is_not_missed() -> None:
    hall = Hall(small_plan())
    hall.wait(16)
    caller, _ = hall.call()
    hall.feed(e.LegsRead(at=hall.now, pbx=PBX, legs=()))
    hall.wait(16)
    hall.feed(e.LegsRead(at=hall.now, pbx=PBX, legs=(caller,)))
    assert hall.all(e.Repaired) == []


def test_a_leg_nobody_told_us_of_makes_the_pbx_be_read_anew_once() -> None:
    hall = Hall(small_plan())
    stranger = LegId("pbx1/77.7")
    for _ in range(6):
        hall.wait(16)
        hall.feed(e.LegsRead(at=hall.now, pbx=PBX, legs=(stranger,)))
    assert [order.is_full for order in hall.all(c.ReadLegs)].count(True) == 1


def test_a_talk_whose_beginning_was_not_told_is_found_by_reading_and_not_torn_apart() -> None:
    hall = Hall(small_plan(ring_timeout_s=10))
    hall.ready(LI)
    caller, interaction = hall.call()
    leg = hall.rings(caller, "agent1")
    hall.feed(e.DialEnded(at=hall.now, by=caller, to=leg, outcome=DialOutcome.ANSWERED))
    hall.wait(5)
    assert hall.last(c.ReadLegs).is_full
    read(
        hall,
        seen(caller, "trunk", conversation=caller, bridge="b"),
        seen(leg, "agent1", conversation=caller, bridge="b"),
    )
    assert hall.agent(LI).state is AgentState.ON_CALL
    hall.wait(10)
    assert hall.all(c.ReturnToHold) == hall.all(e.Repaired) == []
    assert hall.core.calls[interaction].ringing is None


def test_whoever_took_a_caller_of_the_fall_back_in_wrap_up_gets_that_callers_card_for_the_old_one() -> None:
    hall = Hall(small_plan())
    journaled = hall.keep_journal()
    hall.ready(LI)
    caller, leg, _bridge, before = hall.talk(LI)
    hall.ends(leg)
    hall.ends(caller)
    waits, interaction = hall.call()
    assert hall.agent(LI).state is AgentState.WRAP_UP
    again, _ = restarted(journaled, after_s=5)
    read(
        again,
        seen(waits, "trunk", conversation=waits, bridge="b"),
        seen(LegId(f"{PBX}/77.7"), "agent1", conversation=waits, bridge="b"),
    )
    assert (again.agent(LI).state, again.agent(LI).interaction) == (AgentState.ON_CALL, interaction)
    assert [(one.interaction, one.reason) for one in again.all(c.ClosePop)] == [(before, "done")]
    assert [(one.interaction, one.agent, one.is_talking) for one in again.all(ShowPop)] == [(interaction, LI, True)]


def test_an_offer_that_got_lost_is_asked_for_again() -> None:
    hall = Hall(small_plan())
    hall.ready(LI)
    caller, _ = hall.call()
    leg = hall.rings(caller, "agent1")
    hall.ring_ends(caller, leg, DialOutcome.NO_ANSWER)
    hall.wait(4)
    read(hall, seen(caller, "trunk", conversation=caller, is_waiting=True))
    hall.wait(4)
    assert hall.last(c.ReturnToHold).leg == caller


def test_a_talk_without_page_and_phone_is_noted_once() -> None:
    hall = Hall(small_plan())
    hall.ready(LI)
    hall.talk(LI)
    hall.feed(e.PhoneUnreachable(at=hall.now, pbx=PBX, endpoint="agent1"))
    hall.feed(e.DeskStale(at=hall.now, agent=LI, why="gone"))
    hall.wait(60)
    assert [repaired.what for repaired in hall.all(e.Repaired)] == ["phone_gone"]
    assert hall.agent(LI).state is AgentState.ON_CALL
