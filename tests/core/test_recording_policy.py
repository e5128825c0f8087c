"""Which policy counts for whom, and what comes of an objection."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cti import commands as c
from cti import events as e
from cti.ids import InteractionId, LegId, QueueId
from cti.journal import START
from cti.routing.plan import Plan, QueuePlan, RecordingPolicy, recording_settings
from cti.stories import Stories
from tests.core.hall import Hall
from tests.core.plans import LI, small_plan

OFF, ANNOUNCED, CONSENT = RecordingPolicy.OFF, RecordingPolicy.ANNOUNCED, RecordingPolicy.CONSENT
PLAN = Plan(
    queues={
        QueueId(name): QueuePlan(QueueId(name), name, recording=policy)
        for name, policy in {"told": ANNOUNCED, "asked": CONSENT, "never": OFF}.items()
    },
    agents={},
    routes=(),
    default_queue=None,
    jurisdictions={"49": CONSENT, "4930": ANNOUNCED, "1": ANNOUNCED, "39": OFF, "unknown": CONSENT},
)


@pytest.mark.parametrize(
    ("queue", "ani", "counts"),
    [
        ("told", "+4989123", CONSENT),
        ("told", "004989123", CONSENT),
        ("told", "+493012345", ANNOUNCED),
        ("told", "+12125550100", ANNOUNCED),
        ("asked", "+12125550100", CONSENT),
        ("told", "+39066123", OFF),
        ("never", "+12125550100", OFF),
        ("told", "+44207", ANNOUNCED),
        ("told", "", CONSENT),
        ("none", "+44207", OFF),
        (None, "+44207", OFF),
    ],
)
def test_the_strictest_of_queue_and_jurisdiction_counts(queue: str | None, ani: str, counts: RecordingPolicy) -> None:
    assert PLAN.recording_policy(None if queue is None else QueueId(queue), ani) is counts


def test_a_caller_without_a_number_and_without_a_rule_has_the_queues_policy() -> None:
    assert replace(PLAN, jurisdictions={}).recording_policy(QueueId("told"), "") is ANNOUNCED


def test_the_dialplan_is_given_all_that_it_needs_to_find_the_same() -> None:
    settings = recording_settings(PLAN)
    assert settings["recording/told"] == "announced"
    assert settings["recording-prefix/4930"] == "announced"
    assert settings["recording-prefix/unknown"] == "consent"
    assert len(settings) == 8


def recorded(hall: Hall) -> tuple[LegId, str]:
    """A talk that is recorded: the caller's leg, the interaction."""
    hall.ready(LI)
    caller, _leg, _bridge, interaction = hall.talk(LI)
    hall.feed(e.RecordingStarted(at=hall.now, leg=caller, file="1.wav", basis="announced"))
    return caller, interaction


def test_an_objection_stops_the_recording_and_is_told_when_the_switch_has_stopped_it() -> None:
    hall = Hall(small_plan())
    journal = hall.keep_journal()
    caller, interaction = recorded(hall)
    hall.feed(e.RecordingObjected(at=hall.now, interaction=InteractionId(interaction), agent=LI))
    assert hall.last(c.StopRecording).leg == caller
    assert hall.last(e.RecordingChanged).state == "on"
    hall.feed(e.RecordingStopped(at=hall.now, leg=caller))
    told = hall.last(e.RecordingChanged)
    assert (told.state, told.basis, told.file) == ("off", "objected", "1.wav")
    hall.feed(e.RecordingRefused(at=hall.now, leg=caller, why="no_consent"))
    assert hall.last(e.RecordingChanged) == told
    stories = Stories(small_plan().owner_of)
    for fact in journal:
        stories.take(fact, before=START)
    story = stories.stories[InteractionId(interaction)]
    assert story.recording_basis == "objected"
    assert [(tape.basis, tape.objected_at, tape.ended_at) for tape in story.tapes] == [
        ("announced", hall.now, hall.now)
    ]


def test_a_talk_that_may_not_be_recorded_says_so_from_its_answer_on() -> None:
    plan = small_plan()
    quiet = {queue: replace(one, recording=OFF) for queue, one in plan.queues.items()}
    hall = Hall(replace(plan, queues=quiet))
    hall.ready(LI)
    hall.talk(LI)
    assert hall.last(c.RingAgent).recording is OFF
    told = hall.last(e.RecordingChanged)
    assert (told.state, told.basis, told.file) == ("off", "off", "")


def test_a_caller_who_refused_is_told_apart_from_one_who_could_not_be_told() -> None:
    hall = Hall(small_plan())
    caller, _interaction = hall.call()
    for why in ("no_consent", "unannounced"):
        hall.feed(e.RecordingRefused(at=hall.now, leg=caller, why=why))
        told = hall.last(e.RecordingChanged)
        assert (told.state, told.basis, told.file) == ("off", why, "")
