"""A supervisor's phone in somebody's call: who is told what, and how each of it ends."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cti import commands as c
from cti import events as e
from cti.events import AgentState, DialOutcome, HangupCause
from cti.ids import AgentId, InteractionId, LegId, handle_of
from cti.inbound import Inbound
from cti.routing.plan import AgentPlan, Plan
from tests.core.hall import Hall
from tests.core.plans import ANN, LI, PBX, phone, small_plan

SUE = AgentId("sue")


def plan_with_sue() -> Plan:
    """Sue supervises: she has a phone and no queue."""
    plan = small_plan()
    return replace(plan, agents={**plan.agents, SUE: AgentPlan(SUE, "Sue", phone("agent9"))})


def hall_in_talk() -> tuple[Hall, LegId, LegId, InteractionId]:
    hall = Hall(plan_with_sue())
    hall.ready(LI)
    caller, leg, _, interaction = hall.talk(LI)
    return hall, caller, leg, interaction


def ask(hall: Hall, interaction: InteractionId, mode: e.SpyMode = e.SpyMode.LISTEN, listener: AgentId = SUE) -> None:
    hall.feed(
        e.SpyRequested(at=hall.now, interaction=interaction, agent=LI, listener=listener, mode=mode, by="sue@site")
    )


def started(hall: Hall, leg: LegId) -> None:
    hall.feed(
        e.LegStarted(
            at=hall.now,
            leg=leg,
            conversation=leg,
            channel="PJSIP/agent9-1",
            tech="PJSIP",
            endpoint="agent9",
            number="agent9",
            name="",
            dialled="",
        )
    )
    hall.feed(e.DialStarted(at=hall.now, by=None, to=leg))


def listen(hall: Hall, interaction: InteractionId, mode: e.SpyMode = e.SpyMode.LISTEN) -> LegId:
    """Sue's phone is rung and answered; gives its leg."""
    ask(hall, interaction, mode)
    leg = hall.last(c.StartSpy).leg
    started(hall, leg)
    hall.feed(e.LegAnswered(at=hall.now, leg=leg))
    hall.feed(e.DialEnded(at=hall.now, by=None, to=leg, outcome=DialOutcome.ANSWERED))
    hall.feed(e.SpyPlaced(at=hall.now, leg=leg, mode=mode))
    return leg


def ends_of(hall: Hall) -> list[str]:
    return [end.why for end in hall.all(e.SpyEnded)]


def test_a_supervisor_hears_this_leg_and_is_in_no_call() -> None:
    hall, _, leg, interaction = hall_in_talk()
    spy = listen(hall, interaction)
    order = hall.last(c.StartSpy)
    assert (order.of, order.endpoint, order.mode) == (leg, "agent9", e.SpyMode.LISTEN)
    assert order.shown_as == handle_of(interaction)
    assert (hall.agent(SUE).state, hall.agent(SUE).reason) == (AgentState.ON_CALL, "listening")
    assert [(start.listener, start.agent, start.mode, start.by) for start in hall.all(e.SpyStarted)] == [
        (SUE, LI, e.SpyMode.LISTEN, "sue@site")
    ]
    assert all(rang.agent != SUE for rang in hall.all(e.AgentRang))
    assert len(hall.all(e.InteractionStarted)) == 1
    assert set(hall.core.conversations.get(interaction).legs).isdisjoint({spy})  # type: ignore[union-attr]


@pytest.mark.parametrize("why", ["asked", "call_over", "hung_up"])
def test_listening_ends_and_the_supervisor_is_what_she_was(why: str) -> None:
    hall, caller, leg, interaction = hall_in_talk()
    spy = listen(hall, interaction)
    if why == "asked":
        hall.feed(e.SpyEndRequested(at=hall.now, interaction=interaction, listener=SUE, by="sue@site"))
        assert hall.last(c.HangUp).leg == spy
    elif why == "call_over":
        hall.ends(leg)
        hall.ends(caller)
        assert c.HangUp(leg=spy) in hall.said
    hall.ends(spy)
    assert ends_of(hall) == [why]
    assert hall.agent(SUE).state is AgentState.LOGGED_OUT


def test_another_call_of_the_same_agent_needs_another_order() -> None:
    hall, caller, leg, interaction = hall_in_talk()
    spy = listen(hall, interaction)
    hall.ends(leg)
    hall.ends(spy)
    hall.ends(caller)
    hall.feed(e.WrapUpFinished(at=hall.now, agent=LI))
    hall.talk(LI)
    assert len(hall.all(c.StartSpy)) == 1


def test_asked_again_the_mode_changes_without_another_ring() -> None:
    hall, _, _, interaction = hall_in_talk()
    spy = listen(hall, interaction)
    ask(hall, interaction, e.SpyMode.WHISPER)
    assert hall.all(c.ChangeSpy) == [c.ChangeSpy(leg=spy, mode=e.SpyMode.WHISPER)]
    hall.feed(e.SpyPlaced(at=hall.now, leg=spy, mode=e.SpyMode.WHISPER))
    assert [start.mode for start in hall.all(e.SpyStarted)] == [e.SpyMode.LISTEN, e.SpyMode.WHISPER]
    assert len(hall.all(c.StartSpy)) == 1


def test_a_mode_that_was_changed_while_the_phone_rang_counts_from_the_answer() -> None:
    hall, _, _, interaction = hall_in_talk()
    ask(hall, interaction)
    spy = hall.last(c.StartSpy).leg
    started(hall, spy)
    ask(hall, interaction, e.SpyMode.BARGE)
    assert hall.all(c.ChangeSpy) == []
    hall.feed(e.SpyPlaced(at=hall.now, leg=spy, mode=e.SpyMode.LISTEN))
    assert hall.last(c.ChangeSpy).mode is e.SpyMode.BARGE


def test_who_has_a_call_of_their_own_listens_to_none() -> None:
    hall, _, _, interaction = hall_in_talk()
    hall.ready(ANN)
    hall.talk(ANN)
    ask(hall, interaction, listener=ANN)
    ask(hall, interaction, listener=LI)
    assert ends_of(hall) == ["refused", "refused"]
    assert hall.all(c.StartSpy) == []


def test_a_listener_is_given_no_caller() -> None:
    hall, _, _, interaction = hall_in_talk()
    hall.ready(ANN)
    ask(hall, interaction, listener=ANN)
    hall.call()
    assert [ring.agent for ring in hall.all(c.RingAgent)] == [LI]


@pytest.mark.parametrize("is_rung", [True, False])
def test_a_phone_that_is_not_answered_or_not_there_is_told(is_rung: bool) -> None:
    hall, _, _, interaction = hall_in_talk()
    ask(hall, interaction)
    spy = hall.last(c.StartSpy).leg
    if is_rung:
        started(hall, spy)
        hall.ends(spy, HangupCause.NO_ANSWER)
    else:
        hall.wait(10)
    assert ends_of(hall) == ["refused"]
    assert hall.agent(SUE).state is AgentState.LOGGED_OUT


def test_listening_outlives_a_restart_of_the_daemon_and_ends_with_the_call() -> None:
    plan = plan_with_sue()
    hall = Hall(plan)
    journal = hall.keep_journal()
    hall.feed(e.PhoneReachable(at=hall.now, pbx=PBX, endpoint="agent9"))
    hall.feed(e.PhoneReachable(at=hall.now, pbx=PBX, endpoint="agent1"))
    hall.ready(LI)
    caller, leg, bridge, interaction = hall.talk(LI)
    spy = listen(hall, interaction)
    core = Inbound(plan, boot="boot2")
    core.restore(journal)
    assert (core.agents[SUE].state, core.agents[SUE].reason) == (AgentState.ON_CALL, "listening")

    def seen(one: LegId, endpoint: str, conversation: LegId, *, is_in_talk: bool) -> e.LegSeen:
        return e.LegSeen(
            leg=one,
            conversation=conversation,
            channel=f"PJSIP/{endpoint}-1",
            tech="PJSIP",
            endpoint=endpoint,
            number="",
            name="",
            dialled="",
            is_up=True,
            is_ringing=False,
            started_at=hall.now,
            bridge=bridge if is_in_talk else None,
            bridge_kind=e.BridgeKind.TALK if is_in_talk else None,
            is_waiting=False,
        )

    stranger = LegId(spy.replace("sue", "bo"))
    legs = (
        seen(caller, "trunk", caller, is_in_talk=True),
        seen(leg, "agent1", caller, is_in_talk=True),
        seen(spy, "agent9", spy, is_in_talk=False),
        seen(stranger, "agent3", stranger, is_in_talk=False),
    )
    devices = tuple((f"agent{number}", e.DeviceState.INUSE) for number in (1, 3, 9))
    core.handle(e.LinkUp(at=hall.now, pbx=PBX, version="22"), now=hall.now)
    said = core.handle(e.PbxRead(at=hall.now, pbx=PBX, legs=legs, devices=devices), now=hall.now)
    assert [one for one in said if isinstance(one, c.HangUp)] == [c.HangUp(leg=stranger)]
    assert core.agents[SUE].reason == "listening"
    core.handle(e.LegEnded(at=hall.now, leg=leg, cause=HangupCause.NORMAL), now=hall.now)
    said = core.handle(e.LegEnded(at=hall.now, leg=spy, cause=HangupCause.NORMAL), now=hall.now)
    assert [one.why for one in said if isinstance(one, e.SpyEnded)] == ["call_over"]
    assert core.agents[SUE].state is AgentState.LOGGED_OUT


def take_over(hall: Hall, interaction: InteractionId, taker: AgentId = SUE) -> LegId:
    hall.feed(e.TakeOverRequested(at=hall.now, interaction=interaction, agent=LI, taker=taker, by="sue@site"))
    return hall.last(c.StartTakeOver).leg


def test_a_caller_is_taken_over_with_the_card_and_both_wrap_up() -> None:
    hall, caller, leg, interaction = hall_in_talk()
    taken = take_over(hall, interaction)
    started(hall, taken)
    assert (hall.last(c.ShowPop).agent, hall.last(c.ShowPop).interaction) == (SUE, interaction)
    hall.feed(e.LegAnswered(at=hall.now, leg=taken))
    hall.bridge(taken, caller)
    hall.ends(leg)
    assert [(end.kind, end.outcome, end.target) for end in hall.all(e.TransferEnded)] == [
        ("take_over", "completed", "agent:sue")
    ]
    assert hall.agent(LI).state is AgentState.WRAP_UP
    assert (hall.agent(SUE).state, hall.agent(SUE).interaction) == (AgentState.ON_CALL, interaction)
    assert len(hall.all(e.InteractionStarted)) == 1


def test_a_listener_takes_over_on_the_phone_that_listens() -> None:
    hall, caller, leg, interaction = hall_in_talk()
    spy = listen(hall, interaction)
    assert take_over(hall, interaction) == spy
    hall.bridge(spy, caller)
    hall.ends(leg)
    assert ends_of(hall) == ["took_over"]
    assert [end.outcome for end in hall.all(e.TransferEnded)] == ["completed"]
    assert (hall.agent(SUE).state, hall.agent(SUE).reason) == (AgentState.ON_CALL, "")
    assert hall.last(c.ShowPop).agent == SUE
    hall.ends(spy)
    assert hall.agent(SUE).state is AgentState.WRAP_UP


@pytest.mark.parametrize("how", ["not_answered", "caller_gone", "no_leg"])
def test_a_take_over_that_comes_to_nothing_leaves_nobody_behind(how: str) -> None:
    hall, caller, leg, interaction = hall_in_talk()
    taken = take_over(hall, interaction)
    if how != "no_leg":
        started(hall, taken)
    if how == "not_answered":
        hall.feed(e.DialEnded(at=hall.now, by=None, to=taken, outcome=DialOutcome.NO_ANSWER))
        hall.ends(taken, HangupCause.NO_ANSWER)
    elif how == "caller_gone":
        hall.ends(caller)
        assert c.HangUp(leg=taken) in hall.said
        hall.ends(leg)
        hall.ends(taken)
    else:
        hall.wait(60)
    assert [end.outcome for end in hall.all(e.TransferEnded)] == ["caller_gone" if how == "caller_gone" else "failed"]
    assert hall.agent(SUE).state is AgentState.LOGGED_OUT
    assert hall.agent(LI).state is (AgentState.WRAP_UP if how == "caller_gone" else AgentState.ON_CALL)
