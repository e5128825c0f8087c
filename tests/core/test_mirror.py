"""What the PBX keeps for the time without us: members of the fall-back queues and settings, told when they change."""

from __future__ import annotations

from dataclasses import replace

from cti import commands as c
from cti import events as e
from cti.commands import Member
from cti.events import AgentState, MemberSeen
from tests.core.hall import Hall
from tests.core.plans import ANN, LI, PBX, SALES, SUPPORT, small_plan


def read(hall: Hall, *members: MemberSeen, **more: object) -> None:
    devices = tuple((f"agent{number}", e.DeviceState.NOT_INUSE) for number in (1, 2, 3))
    hall.feed(e.PbxRead(at=hall.now, pbx=PBX, legs=(), devices=devices, members=members, **more))  # type: ignore[arg-type]


def told(hall: Hall) -> list[tuple[str, tuple[Member, ...]]]:
    return [(order.queue, order.members) for order in hall.all(c.MirrorMembers)]


def test_the_members_are_who_is_logged_in_paused_unless_the_next_call_is_welcome() -> None:
    hall = Hall(small_plan(wrap_up_s=30))
    read(hall)
    assert told(hall) == []
    hall.ready(LI)
    hall.feed(e.AgentLoggedIn(at=hall.now, agent=ANN))
    assert told(hall)[-2:] == [
        (SALES, (Member("agent1", False), Member("agent2", True))),
        (SUPPORT, (Member("agent2", True),)),
    ]
    before = len(told(hall))
    caller, leg, bridge, _ = hall.talk(LI)
    hall.part(bridge, leg, caller)
    hall.ends(leg)
    hall.ends(caller)
    assert hall.agent(LI).state is AgentState.WRAP_UP
    assert len(told(hall)) == before
    hall.feed(e.AgentLoggedOut(at=hall.now, agent=LI, by="li"))
    assert told(hall)[-1] == (SALES, (Member("agent2", True),))


def test_who_asked_for_a_break_after_the_call_is_paused_at_once() -> None:
    hall = Hall(small_plan())
    hall.ready(LI)
    read(hall)
    hall.talk(LI)
    hall.feed(e.StateRequested(at=hall.now, agent=LI, state=AgentState.NOT_READY, reason="lunch", by="li"))
    assert told(hall)[-1] == (SALES, (Member("agent1", True),))


def test_after_a_reconnect_only_what_the_pbx_has_differently_is_told() -> None:
    hall = Hall(small_plan())
    hall.ready(LI, ANN)
    hall.feed(e.LinkLost(at=hall.now, pbx=PBX, why="down"))
    hall.feed(e.StateRequested(at=hall.now, agent=LI, state=AgentState.NOT_READY, reason="lunch", by="li"))
    assert told(hall) == []
    hall.feed(e.LinkUp(at=hall.now, pbx=PBX, version="22"))
    read(
        hall,
        MemberSeen(SALES, "agent1", True),
        MemberSeen(SALES, "agent2", False),
        MemberSeen(SUPPORT, "agent2", False),
        MemberSeen(SUPPORT, "agent3", False),
    )
    assert told(hall) == [(SUPPORT, (Member("agent2", False),))]


def test_settings_are_told_when_the_pbx_was_read_and_when_they_change() -> None:
    plan = small_plan()
    hall = Hall(plan)
    read(hall)
    first = {order.key: order.value for order in hall.all(c.MirrorSetting)}
    assert first["route/4001"] == first["default-queue"] == "sales"
    assert first["recording/sales"] == "announced"
    hall.said.clear()
    hall.feed(e.PlanChanged(at=hall.now, plan=replace(plan, routes=plan.routes[1:], default_queue=SUPPORT)))
    assert {order.key: order.value for order in hall.all(c.MirrorSetting)} == {
        "route/4001": "",
        "default-queue": "support",
    }


def test_a_queue_with_somebody_who_may_not_read_numbers_shows_none_in_the_fall_back() -> None:
    plan = small_plan()
    hall = Hall(replace(plan, agents={**plan.agents, LI: replace(plan.agents[LI], may_see_numbers=False)}))
    read(hall)
    told = {order.key: order.value for order in hall.all(c.MirrorSetting)}
    assert {key for key in told if key.startswith("numbers/")} == {"numbers/sales"}
    assert told["numbers/sales"] == "hidden"


def test_what_an_earlier_run_told_and_nobody_wants_any_more_is_removed() -> None:
    plan = small_plan()
    hall = Hall(plan)
    hall.core.restore([e.PlanChanged(at=1.0, plan=replace(plan, routes=(replace(plan.routes[0], dnis="4009"),)))])
    hall.said.clear()
    hall.feed(e.LinkUp(at=hall.now, pbx=PBX, version="22"))
    read(hall)
    assert {order.key: order.value for order in hall.all(c.MirrorSetting)}["route/4009"] == ""


def test_the_fall_back_queue_follows_the_caller_and_a_blind_agents_phone_shows_no_number() -> None:
    plan = small_plan()
    hall = Hall(replace(plan, agents={**plan.agents, LI: replace(plan.agents[LI], may_see_numbers=False)}))
    hall.ready(LI)
    caller, _leg, _bridge, interaction = hall.talk(LI)
    assert hall.last(c.AcceptOffer).queue == "sales"
    shown = hall.last(c.RingAgent).shown_as
    assert shown.isalnum()
    assert "4912" not in shown
    hall.feed(
        e.TransferRequested(at=hall.now, interaction=interaction, agent=LI, target="queue:support", is_attended=False)
    )
    hall.offer(caller, target="queue:support")
    assert hall.last(c.AcceptOffer).queue == "support"


def test_members_that_could_not_be_told_are_told_again() -> None:
    hall = Hall(small_plan())
    read(hall)
    hall.ready(LI)
    before = len(told(hall))
    hall.feed(e.CommandFailed(at=hall.now, command="MirrorMembers", leg=None, interaction=None, why="timeout"))
    hall.wait(16)
    assert len(told(hall)) > before
