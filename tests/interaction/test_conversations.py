"""What the conversations conclude from the switch's facts, story by story."""

from __future__ import annotations

import pytest

from cti import events as e
from cti.events import BridgeKind, DeviceState, DialOutcome, HangupCause
from cti.ids import AgentId, BridgeId, InteractionId, LegId
from cti.interaction import SETTLE_S, LegRole
from cti.routing.plan import AgentPlan, Phone, PhoneKind, Plan
from tests.interaction.story import PBX, Story, leg


@pytest.fixture
def story() -> Story:
    return Story()


def seen(name: str, *, of: str = "", endpoint: str = "trunk", bridge: str | None = None, **more: object) -> e.LegSeen:
    values: dict[str, object] = {
        "channel": f"PJSIP/{endpoint}-{name}",
        "tech": "PJSIP",
        "number": "+4930123456" if endpoint == "trunk" else "",
        "name": "",
        "dialled": "4001",
        "is_up": True,
        "is_ringing": False,
        "started_at": 900.0,
        "is_waiting": False,
    }
    return e.LegSeen(
        leg=leg(name),
        conversation=leg(of or name),
        endpoint=endpoint,
        bridge=BridgeId(f"{PBX}/{bridge}") if bridge else None,
        bridge_kind=BridgeKind.TALK if bridge else None,
        **(values | more),  # type: ignore[arg-type]
    )


# ── inbound ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_caller_talks_with_an_agent_and_hangs_up(story: Story) -> None:
    story.in_talk()
    story.later(42)
    story.hang_up("one", "a1", "b1")
    assert story.said() == [
        "started inbound",
        "rang ann",
        "ring-ended ann answered",
        "joined ann talk",
        "left ann",
        "ended answered",
    ]


def test_what_the_caller_typed_is_told_with_the_start(story: Story) -> None:
    story.tell(story.started("a1"), story.answered("a1"))
    assert story.facts == []
    (started,) = story.tell(story.offered("a1", account="4711", choice="2"))
    assert isinstance(started, e.InteractionStarted)
    assert started.interaction == InteractionId("pbx1-97.1")
    assert (started.ani, started.dnis, started.account, started.choice, started.language) == (
        "+4930123456",
        "4001",
        "4711",
        "2",
        "zh",
    )


def test_talk_time_and_partners_are_kept_with_the_ended_interaction(story: Story) -> None:
    story.in_talk()
    story.later(42)
    story.hang_up("one", "a1", "b1")
    ended = story.conversations.get(InteractionId("pbx1-97.1"))
    assert ended is not None
    assert ended.talk_s(story.at) == 42
    assert [(talk.agent, talk.with_legs) for talk in ended.talks] == [("ann", {leg("a1")})]
    story.tell(story.started("a2"))
    assert story.conversations.get(ended.id) is None


def test_nobody_answers_and_the_caller_is_offered_again_without_a_second_start(story: Story) -> None:
    story.waiting_caller()
    story.ring("a1", "b1", "ann")
    story.later(20)
    story.tell(story.dialled("a1", "b1", DialOutcome.NO_ANSWER), story.ended("b1", HangupCause.NO_ANSWER))
    story.tell(story.offered("a1", waited_s=20.0))
    assert story.said() == ["started inbound", "rang ann", "ring-ended ann no_answer"]


def test_a_caller_who_gives_up_while_ringing_is_counted_once_as_abandoned(story: Story) -> None:
    story.waiting_caller()
    story.ring("a1", "b1", "ann")
    story.tell(story.dialled("a1", "b1", DialOutcome.CANCELLED), story.ended("b1"), story.ended("a1"))
    assert story.said() == ["started inbound", "rang ann", "ring-ended ann cancelled", "ended abandoned"]


def test_a_ring_whose_end_was_not_told_ends_with_its_leg(story: Story) -> None:
    story.waiting_caller()
    story.ring("a1", "b1", "ann")
    story.tell(story.ended("b1", HangupCause.BUSY), story.dialled("a1", "b1", DialOutcome.BUSY))
    assert story.said()[-1] == "ring-ended ann busy"


def test_a_caller_who_leaves_before_being_offered_is_still_told(story: Story) -> None:
    story.tell(story.started("a1", number="anonymous", dialled="4001"))
    started, ended = story.tell(story.ended("a1"))
    assert isinstance(started, e.InteractionStarted)
    assert (started.ani, started.is_withheld, started.dnis) == ("", True, "4001")
    assert isinstance(ended, e.InteractionEnded)
    assert ended.outcome == "unknown"


def test_a_caller_who_fell_back_and_left_is_told_as_such(story: Story) -> None:
    story.waiting_caller()
    story.tell(e.CallerFellBack(at=story.at, leg=leg("a1")), story.ended("a1"))
    assert story.said()[-1] == "ended fell_back"


def test_a_fallen_back_caller_whom_an_agent_answers_is_answered(story: Story) -> None:
    story.waiting_caller()
    story.tell(
        e.CallerFellBack(at=story.at, leg=leg("a1")),
        e.ForeignQueueJoined(at=story.at, leg=leg("a1"), queue="callfloor-sales", position=1),
    )
    story.ring("a1", "b1", "ann")
    story.tell(e.ForeignQueueLeft(at=story.at, leg=leg("a1"), queue="callfloor-sales", abandoned=False))
    story.answer("a1", "b1", "one")
    story.hang_up("one", "b1", "a1")
    assert story.said()[-2:] == ["left ann", "ended answered"]


@pytest.mark.parametrize(
    ("outcome", "result"),
    [
        (DialOutcome.BUSY, "busy"),
        (DialOutcome.REJECTED, "busy"),
        (DialOutcome.NO_ANSWER, "no_answer"),
        (DialOutcome.CANCELLED, "abandoned"),
        (DialOutcome.UNREACHABLE, "failed"),
    ],
)
def test_a_direct_dial_to_an_agent_ends_as_its_dial_did(story: Story, outcome: DialOutcome, result: str) -> None:
    story.tell(story.started("a1", dialled="101"))
    story.ring("a1", "b1", "ann")
    story.tell(story.dialled("a1", "b1", outcome), story.ended("b1"), story.ended("a1"))
    assert story.said() == ["started inbound", "rang ann", f"ring-ended ann {outcome}", f"ended {result}"]


def test_a_call_in_somebody_elses_queue_is_tracked(story: Story) -> None:
    story.tell(story.started("a1", dialled="500"))
    story.tell(e.ForeignQueueJoined(at=story.at, leg=leg("a1"), queue="support", position=1))
    story.ring("a1", "b1", "ann")
    story.ring("a1", "b2", "bob")
    story.tell(story.answered("b2"), story.dialled("a1", "b2", DialOutcome.ANSWERED))
    story.tell(story.dialled("a1", "b1", DialOutcome.CANCELLED), story.ended("b1", HangupCause.ANSWERED_ELSEWHERE))
    story.tell(story.joined("a1", "one"), story.joined("b2", "one"))
    assert story.said() == [
        "started inbound",
        "rang ann",
        "rang bob",
        "ring-ended bob answered",
        "ring-ended ann cancelled",
        "joined bob talk",
    ]
    found = story.conversations.of_leg(leg("a1"))
    assert found is not None
    assert found.queue == "support"


def test_a_phone_that_nobody_of_ours_owns_does_not_ring_an_agent(story: Story) -> None:
    story.tell(story.started("a1"))
    story.ring("a1", "b1", "lobby")
    story.answer("a1", "b1", "one")
    story.hang_up("one", "a1", "b1")
    assert story.said() == ["started inbound", "ended answered"]


def test_the_agents_leg_rings_through_a_local_channel(story: Story) -> None:
    story.tell(story.started("a1"))
    story.tell(story.started("b1", of="a1", tech="Local"), story.started("b2", of="a1", tech="Local"))
    story.tell(story.paired("b1", "b2"), story.dial("a1", "b1"))
    assert story.facts == []
    story.ring("b2", "c1", "ann")
    story.answer("b2", "c1", "two")
    story.tell(story.dialled("a1", "b1", DialOutcome.ANSWERED), story.joined("a1", "one"), story.joined("b1", "one"))
    assert story.said() == ["started inbound", "rang ann", "ring-ended ann answered", "joined ann talk"]


def test_optimising_a_local_channel_away_does_not_interrupt_the_talk(story: Story) -> None:
    test_the_agents_leg_rings_through_a_local_channel(story)
    before = len(story.facts)
    story.tell(
        story.parted("c1", "two"), story.joined("c1", "one"), story.parted("b1", "one"), story.parted("b2", "two")
    )
    story.tell(story.ended("b1"), story.ended("b2"))
    story.rest()
    assert story.facts[before:] == []
    story.hang_up("one", "c1", "a1")
    assert story.said()[before:] == ["left ann", "ended answered"]


# ── outbound and internal ─────────────────────────────────────────────────────────────────────────────────


def test_an_agent_who_dials_out_talks_with_a_customer(story: Story) -> None:
    story.tell(story.started("a1", endpoint="ann", number="101", dialled="0301234"))
    story.ring("a1", "b1", "trunk")
    found = story.conversations.of_leg(leg("a1"))
    assert found is not None
    assert (found.direction, found.customer_leg, found.dnis) == ("outbound", leg("b1"), "0301234")
    story.answer("a1", "b1", "one")
    story.later(5)
    story.hang_up("one", "b1", "a1")
    assert story.said() == ["started outbound", "joined ann talk", "left ann", "ended answered"]


def test_an_outbound_call_to_a_busy_number_is_busy(story: Story) -> None:
    story.tell(story.started("a1", endpoint="ann"))
    story.ring("a1", "b1", "trunk")
    story.tell(story.dialled("a1", "b1", DialOutcome.BUSY), story.ended("b1", HangupCause.BUSY), story.ended("a1"))
    assert story.said() == ["started outbound", "ended busy"]


def test_a_call_between_agents_has_no_customer(story: Story) -> None:
    story.tell(story.started("a1", endpoint="ann", dialled="102"))
    story.ring("a1", "b1", "bob")
    story.answer("a1", "b1", "one")
    found = story.conversations.of_leg(leg("a1"))
    assert found is not None
    assert found.customer_leg is None
    assert found.agents_talking == {AgentId("ann"): leg("a1"), AgentId("bob"): leg("b1")}
    assert story.said()[:3] == ["started internal", "rang bob", "ring-ended bob answered"]
    assert sorted(story.said()[3:]) == ["joined ann talk", "joined bob talk"]


def test_a_phone_called_by_the_daemon_to_dial_out_rings_before_the_customer_is_known(story: Story) -> None:
    story.tell(story.started("a1", endpoint="ann"), story.dial(None, "a1"))
    story.tell(story.answered("a1"), story.dialled(None, "a1", DialOutcome.ANSWERED))
    story.ring("a1", "b1", "trunk")
    story.answer("a1", "b1", "one")
    assert story.said() == ["started outbound", "rang ann", "ring-ended ann answered", "joined ann talk"]
    found = story.conversations.of_leg(leg("b1"))
    assert found is not None
    assert found.customer_leg == leg("b1")
    assert found.legs[leg("b1")].role is LegRole.CUSTOMER


# ── hold ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_hold_on_the_phone_is_told_and_timed(story: Story) -> None:
    story.in_talk()
    story.tell(story.held("b1"))
    story.later(7)
    story.tell(story.resumed("b1"))
    assert story.said()[-2:] == ["held ann", "resumed ann"]
    found = story.conversations.of_leg(leg("b1"))
    assert found is not None
    assert found.legs[leg("b1")].held_s == 7


def test_hanging_up_on_hold_ends_the_hold_first(story: Story) -> None:
    story.in_talk()
    story.tell(story.held("b1"))
    story.hang_up("one", "a1", "b1")
    assert story.said()[-3:] == ["resumed ann", "left ann", "ended answered"]


# ── moves by us ───────────────────────────────────────────────────────────────────────────────────────────


def consult(story: Story) -> None:
    """The caller waits; ann, whose leg is ``b1``, speaks with bob on ``c1``."""
    story.in_talk()
    story.tell(story.parted("a1", "one"), story.parted("b1", "one"))
    story.ring("b1", "c1", "bob")
    story.answer("b1", "c1", "two")


def test_during_a_consultation_the_customer_is_held_and_both_agents_consult(story: Story) -> None:
    consult(story)
    story.rest()
    assert story.said()[4:] == [
        "rang bob",
        "held ann",
        "left ann",
        "ring-ended bob answered",
        "joined ann consult",
        "joined bob consult",
    ]
    found = story.conversations.of_leg(leg("a1"))
    assert found is not None
    assert found.is_customer_alone


def test_completing_the_consultation_puts_the_customer_through(story: Story) -> None:
    consult(story)
    before = len(story.facts)
    # Bridge() pulls bob's leg out of the consultation and the customer after it.
    story.tell(story.parted("c1", "two"), story.joined("c1", "three"), story.joined("a1", "three"))
    story.tell(story.parted("b1", "two"), story.ended("b1"))
    assert story.said()[before:] == ["joined bob talk", "resumed ann", "left ann"]
    story.hang_up("three", "a1", "c1")
    assert story.said()[-2:] == ["left bob", "ended answered"]


def test_cancelling_the_consultation_returns_to_the_customer(story: Story) -> None:
    consult(story)
    before = len(story.facts)
    story.tell(story.parted("c1", "two"), story.ended("c1"), story.parted("b1", "two"))
    story.tell(story.joined("a1", "three"), story.joined("b1", "three"))
    said = story.said()[before:]
    assert said == ["left ann", "left bob", "joined ann talk", "resumed ann"]


def test_a_customer_who_leaves_during_the_consultation_ends_the_hold(story: Story) -> None:
    consult(story)
    before = len(story.facts)
    story.tell(story.ended("a1"))
    assert story.said()[before:] == ["resumed ann"]
    story.hang_up("two", "b1", "c1")
    assert sorted(story.said()[before + 1 : -1]) == ["left ann", "left bob"]
    assert story.said()[-1] == "ended answered"


def test_a_blind_transfer_by_us_is_one_interaction(story: Story) -> None:
    story.in_talk()
    story.tell(story.parted("a1", "one"), story.parted("b1", "one"), story.ended("b1"))
    story.tell(story.offered("a1", target="agent:bob"))
    story.ring("a1", "c1", "bob")
    story.answer("a1", "c1", "two")
    story.hang_up("two", "a1", "c1")
    assert story.said()[4:] == [
        "left ann",
        "rang bob",
        "ring-ended bob answered",
        "joined bob talk",
        "left bob",
        "ended answered",
    ]


def test_both_legs_moved_to_another_bridge_keep_talking(story: Story) -> None:
    story.in_talk()
    before = len(story.facts)
    story.tell(
        story.parted("b1", "one"), story.joined("b1", "two"), story.parted("a1", "one"), story.joined("a1", "two")
    )
    story.rest()
    assert story.facts[before:] == []


def test_a_leg_that_goes_nowhere_has_left_when_the_time_to_settle_is_over(story: Story) -> None:
    story.in_talk()
    lost_at = story.at
    story.tell(story.parted("a1", "one"))
    assert story.conversations.wake_at() == lost_at + SETTLE_S
    assert story.conversations.wake(now=lost_at + SETTLE_S / 2) == []
    (left,) = story.conversations.wake(now=lost_at + SETTLE_S)
    assert isinstance(left, e.AgentLeft)
    assert left.at == lost_at
    assert story.conversations.wake_at() is None


def test_a_leg_that_dials_is_out_of_its_bridge_even_if_nobody_said_so(story: Story) -> None:
    story.in_talk()
    story.tell(story.parted("a1", "one"))
    story.ring("b1", "c1", "bob")
    assert "left ann" in story.said()


# ── what phones do by themselves ──────────────────────────────────────────────────────────────────────────


def test_a_blind_transfer_by_the_phone_completes_when_the_target_answers(story: Story) -> None:
    story.in_talk()
    story.tell(e.BlindTransferred(at=story.at, by=leg("b1"), moved=leg("a1"), to="102", ok=True))
    story.tell(story.parted("a1", "one"), story.parted("b1", "one"), story.ended("b1"))
    story.ring("a1", "c1", "bob")
    story.answer("a1", "c1", "two")
    assert story.said()[4:] == [
        "transfer blind ann 102",
        "left ann",
        "rang bob",
        "ring-ended bob answered",
        "joined bob talk",
        "transferred blind completed",
    ]


def test_a_blind_transfer_ends_when_the_caller_gives_up(story: Story) -> None:
    story.in_talk()
    story.tell(e.BlindTransferred(at=story.at, by=leg("b1"), moved=leg("a1"), to="102", ok=True))
    story.tell(story.parted("b1", "one"), story.ended("b1"), story.parted("a1", "one"), story.ended("a1"))
    assert story.said()[4:] == [
        "transfer blind ann 102",
        "left ann",
        "transferred blind caller_gone",
        "ended answered",
    ]


def test_a_refused_transfer_failed(story: Story) -> None:
    story.in_talk()
    story.tell(e.BlindTransferred(at=story.at, by=leg("b1"), moved=None, to="102", ok=False))
    assert story.said()[-2:] == ["transfer blind ann 102", "transferred blind failed"]


def second_line(story: Story) -> None:
    """ann holds the caller on ``b1`` and calls bob from her second line ``c1``."""
    story.in_talk()
    story.tell(story.held("b1"))
    story.tell(story.started("c1", endpoint="ann", dialled="102"))
    story.ring("c1", "d1", "bob")


def attended(story: Story) -> e.AttendedTransferred:
    return e.AttendedTransferred(
        at=story.at, by=leg("b1"), by_second=leg("c1"), moved=leg("a1"), target=leg("d1"), ok=True
    )


def test_an_attended_transfer_by_the_phone_joins_two_conversations(story: Story) -> None:
    second_line(story)
    story.answer("c1", "d1", "two")
    assert story.said()[4:] == [
        "held ann",
        "started internal",
        "rang bob",
        "ring-ended bob answered",
        "joined ann consult",
        "joined bob consult",
    ]
    before = len(story.facts)
    story.tell(attended(story))
    story.tell(story.parted("a1", "one"), story.joined("a1", "two"), story.parted("c1", "two"), story.ended("c1"))
    story.tell(story.relinked("d1", "a1"), story.parted("b1", "one"), story.ended("b1"))
    said = story.said()[before:]
    assert said[:3] == ["merged", "transfer attended ann agent:bob", "transferred attended completed"]
    assert sorted(said[3:]) == sorted(["resumed ann", "left ann", "joined bob talk", "joined ann talk", "left ann"])
    story.hang_up("two", "a1", "d1")
    assert story.said()[-2:] == ["left bob", "ended answered"]
    assert sum(1 for said in story.said() if said.startswith("ended")) == 1


def test_a_blonde_transfer_by_the_phone_lets_the_target_go_on_ringing(story: Story) -> None:
    second_line(story)
    before = len(story.facts)
    story.tell(attended(story))
    story.tell(story.parted("b1", "one"), story.ended("b1"), story.ended("c1"))
    assert story.said()[before:][:3] == ["merged", "transfer attended ann agent:bob", "transferred attended blonde"]
    assert "ring-ended bob answered" not in story.said()
    story.tell(story.dialled("a1", "d1", DialOutcome.ANSWERED), story.joined("d1", "one"))
    assert story.said()[-2:] == ["ring-ended bob answered", "joined bob talk"]


def test_a_call_picked_up_by_a_colleague_stops_ringing_and_is_one_conversation(story: Story) -> None:
    story.waiting_caller()
    story.ring("a1", "b1", "ann")
    story.tell(story.started("c1", endpoint="bob", dialled="*8"))
    story.tell(e.PickedUp(at=story.at, by=leg("c1"), target=leg("b1")))
    story.tell(story.ended("b1", HangupCause.ANSWERED_ELSEWHERE), story.relinked("c1", "a1"))
    story.tell(story.joined("c1", "one"), story.joined("a1", "one"))
    assert story.said() == ["started inbound", "rang ann", "ring-ended ann cancelled", "joined bob talk"]
    assert len(story.conversations.interactions) == 1


def test_a_conference_of_three_goes_on_when_one_agent_leaves(story: Story) -> None:
    story.in_talk()
    story.ring("a1", "c1", "bob")
    story.tell(story.joined("a1", "one"), story.joined("c1", "one"))
    found = story.conversations.of_leg(leg("a1"))
    assert found is not None
    assert set(found.agents_talking) == {"ann", "bob"}
    story.tell(story.parted("b1", "one"), story.ended("b1"))
    assert story.said()[-1] == "left ann"
    assert found.peer_of(leg("c1")) == leg("a1")
    story.hang_up("one", "a1", "c1")
    assert story.said()[-2:] == ["left bob", "ended answered"]


def test_a_forwarded_phone_stops_ringing_and_the_new_one_rings(story: Story) -> None:
    story.tell(story.started("a1"))
    story.ring("a1", "b1", "ann")
    story.tell(story.dialled("a1", "b1", DialOutcome.FORWARDED), story.ended("b1"))
    story.tell(story.started("b2", of="a1", tech="Local"), story.started("b3", of="a1", tech="Local"))
    story.tell(story.paired("b2", "b3"), story.dial("a1", "b2"))
    story.ring("b3", "c1", "bob")
    assert story.said() == ["started inbound", "rang ann", "ring-ended ann forwarded", "rang bob"]


def test_a_customer_on_a_trunk_of_the_consultation_does_not_replace_the_caller(story: Story) -> None:
    story.in_talk()
    story.tell(story.held("b1"), story.started("c1", endpoint="ann", dialled="0301"))
    story.ring("c1", "d1", "trunk")
    story.answer("c1", "d1", "two")
    story.tell(attended(story), story.parted("a1", "one"), story.joined("a1", "two"))
    found = story.conversations.of_leg(leg("d1"))
    assert found is not None
    assert (found.id, found.customer_leg, found.legs[leg("d1")].role) == ("pbx1-97.1", leg("a1"), LegRole.OTHER)


# ── recording ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_recording_is_on_paused_on_and_off_with_the_leg(story: Story) -> None:
    story.in_talk()
    story.tell(e.RecordingStarted(at=story.at, leg=leg("a1"), file="97.1.wav"))
    story.tell(e.RecordingPaused(at=story.at, leg=leg("a1")), e.RecordingResumed(at=story.at, leg=leg("a1")))
    story.hang_up("one", "a1", "b1")
    said = [said for said in story.said() if said.startswith("recording")]
    assert said == ["recording on", "recording paused", "recording on", "recording off"]


# ── after a reconnect ─────────────────────────────────────────────────────────────────────────────────────


def read(story: Story, *legs: e.LegSeen) -> None:
    story.tell(e.PbxRead(at=story.at, pbx=PBX, legs=legs, devices=(("ann", DeviceState.INUSE),)))


def test_legs_that_vanished_meanwhile_are_ended(story: Story) -> None:
    story.in_talk()
    story.later(60)
    read(story)
    assert story.said()[-2:] == ["left ann", "ended answered"]


def test_a_waiting_caller_who_vanished_meanwhile_has_an_unknown_outcome(story: Story) -> None:
    story.waiting_caller()
    read(story)
    assert story.said()[-1] == "ended unknown"


def test_a_talk_of_which_nothing_was_known_is_taken_up(story: Story) -> None:
    read(story, seen("b1", of="a1", endpoint="ann", bridge="one", started_at=910.0), seen("a1", bridge="one"))
    assert story.said() == ["started inbound", "joined ann talk"]
    story.hang_up("one", "a1", "b1")
    assert story.said()[-2:] == ["left ann", "ended answered"]


def test_a_talk_that_goes_on_is_not_touched(story: Story) -> None:
    story.in_talk()
    before = len(story.facts)
    read(story, seen("a1", bridge="one"), seen("b1", of="a1", endpoint="ann", bridge="one"))
    assert story.facts[before:] == []


def test_a_phone_that_rings_when_the_link_returns_is_taken_up(story: Story) -> None:
    read(story, seen("a1"), seen("b1", of="a1", endpoint="ann", is_up=False, is_ringing=True))
    assert story.said() == ["started inbound", "rang ann"]
    story.tell(story.dialled("a1", "b1", DialOutcome.NO_ANSWER), story.ended("b1"))
    assert story.said()[-1] == "ring-ended ann no_answer"


def test_an_answer_that_was_missed_is_made_up_for(story: Story) -> None:
    story.waiting_caller()
    story.ring("a1", "b1", "ann")
    read(story, seen("a1", bridge="one"), seen("b1", of="a1", endpoint="ann", bridge="one"))
    assert story.said()[-2:] == ["ring-ended ann answered", "joined ann talk"]


def test_a_conversation_keeps_its_id_when_its_first_leg_is_gone(story: Story) -> None:
    read(
        story,
        seen("b1", of="a1", endpoint="ann", bridge="one", started_at=910.0),
        seen("c1", of="a1", bridge="one", started_at=920.0),
    )
    assert {started.interaction for started in story.facts if isinstance(started, e.InteractionStarted)} == {
        "pbx1-97.1"
    }


def test_a_caller_who_waits_is_started_by_the_next_offer(story: Story) -> None:
    read(story, seen("a1", is_waiting=True))
    assert story.facts == []
    story.tell(story.offered("a1", waited_s=100.0))
    assert story.said() == ["started inbound"]


def test_an_offer_heard_before_anything_else_is_taken(story: Story) -> None:
    story.tell(story.offered("a1"))
    read(story, seen("a1", is_waiting=True))
    story.ring("a1", "b1", "ann")
    assert story.said() == ["started inbound", "rang ann"]


def test_another_pbx_is_not_touched_by_a_read(story: Story) -> None:
    story.in_talk()
    before = len(story.facts)
    story.tell(e.PbxRead(at=story.at, pbx=PBX.__class__("pbx2"), legs=(), devices=()))  # type: ignore[call-overload]
    assert story.facts[before:] == []


# ── merges and memory ─────────────────────────────────────────────────────────────────────────────────────


def test_two_conversations_that_are_linked_become_the_older_one(story: Story) -> None:
    story.in_talk()
    story.in_talk("c1", "d1", "bob", "two")
    story.tell(story.relinked("c1", "a1"))
    assert story.said()[-1] == "merged"
    assert story.conversations.get(InteractionId("pbx1-99.1")) is story.conversations.of_leg(leg("a1"))
    story.tell(story.relinked("d1", "a1"))
    story.hang_up("one", "a1", "b1")
    story.hang_up("two", "c1", "d1")
    assert [said for said in story.said() if said.startswith("ended")] == ["ended answered"]


def test_nothing_is_kept_of_what_ended(story: Story) -> None:
    for _ in range(3):
        test_an_attended_transfer_by_the_phone_joins_two_conversations(Story())
    story.in_talk()
    story.hang_up("one", "a1", "b1")
    story.tell(story.started("z9"), story.ended("z9"), story.started("z10"))
    kept = story.conversations
    assert len(kept.interactions) == 1
    assert all(not kept._bridges and not kept._agent_legs and not kept._due and not kept._aliases for _ in (1,))
    assert set(kept._homes) == set(kept._linked) == {leg("z10")}


def test_wires_inside_the_pbx_are_no_conversation(story: Story) -> None:
    story.tell(story.started("a1", tech="Surrogate", endpoint="ann"), story.ended("a1"))
    assert story.facts == []


def test_a_new_plan_changes_whose_phone_it_is(story: Story) -> None:
    phone = Phone(PBX, "desk7", PhoneKind.DESK)
    plan = Plan({}, {AgentId("dee"): AgentPlan(AgentId("dee"), "Dee", phone)}, (), None)
    story.tell(e.PlanChanged(at=story.at, plan=plan))
    story.waiting_caller()
    story.ring("a1", "b1", "desk7")
    assert story.said()[-1] == "rang dee"


def test_facts_about_unknown_legs_are_ignored(story: Story) -> None:
    story.tell(
        story.dial("x1", "x2"),
        story.dialled("x1", "x2", DialOutcome.BUSY),
        story.joined("x1", "one"),
        story.parted("x1", "one"),
        story.held("x1"),
        story.ended("x1"),
        story.relinked("x1", "x2"),
        e.BlindTransferred(at=story.at, by=leg("x1"), moved=None, to="1", ok=True),
        e.PickedUp(at=story.at, by=leg("x1"), target=leg("x2")),
        e.LinkLost(at=story.at, pbx=PBX, why="closed"),
    )
    assert story.facts == []
    assert not story.conversations.interactions


def test_a_call_to_a_queue_by_a_colleague_has_the_colleague_as_its_caller(story: Story) -> None:
    story.tell(story.started("a1", endpoint="ann", dialled="500"), story.offered("a1", ani="101", dnis="500"))
    found = story.conversations.of_leg(leg("a1"))
    assert found is not None
    assert (found.direction, found.customer_leg) == ("internal", LegId(leg("a1")))
