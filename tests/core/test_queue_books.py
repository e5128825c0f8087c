"""The books of each queue: every offer belongs to the queue in which it began, and ends once."""

from __future__ import annotations

from cti import events as e
from cti.journal import START
from cti.routing.plan import Overflow, OverflowWhen
from cti.stories import Offer, Stories, Story
from tests.core.hall import Hall
from tests.core.plans import BO, LI, small_plan


def told(journal: list[e.Event], interaction: str) -> Story:
    stories = Stories(lambda pbx, endpoint: None)
    for fact in journal:
        stories.take(fact, before=START)
    return stories.stories[interaction]  # type: ignore[index]


def test_who_overflows_is_two_offers_of_one_interaction() -> None:
    floor = Hall(small_plan(overflows=(Overflow(OverflowWhen.WAITED, 60, "queue:support"),)))
    journal = floor.keep_journal()
    leg, interaction = floor.call()
    came_at = floor.now
    floor.now += 60
    journal += [one for one in floor.core.wake(now=floor.now) if isinstance(one, e.Event)]
    floor.ready(BO)
    talk = floor.rings(leg, "agent3")
    floor.now += 10
    floor.answers(leg, talk)
    floor.ends(leg)
    floor.ends(talk)
    story = told(journal, interaction)
    first, second = story.offers
    assert first == Offer("sales", came_at, came_at + 60, "overflowed", "queue:support")
    assert (second.queue, second.began_at, second.outcome) == ("support", came_at + 60, "answered")
    assert story.outcome == "answered"


def test_a_ring_that_nobody_answers_opens_no_second_offer() -> None:
    floor = Hall(small_plan())
    journal = floor.keep_journal()
    floor.ready(LI)
    leg, interaction = floor.call()
    floor.ring_ends(leg, floor.rings(leg, "agent1"), e.DialOutcome.NO_ANSWER)
    floor.offer(leg)
    floor.ends(leg)
    (offer,) = told(journal, interaction).offers
    assert offer.outcome == "short_abandoned"


def test_a_message_is_kept_with_the_interaction_once() -> None:
    floor = Hall(small_plan())
    journal = floor.keep_journal()
    leg, interaction = floor.call()
    for _ in range(2):
        floor.feed(e.MessageRecorded(at=floor.now, leg=leg, file="1.wav", queue="sales"))
    story = told(journal, interaction)
    assert [(one.file, one.queue) for one in story.messages] == [("1.wav", "sales")]
