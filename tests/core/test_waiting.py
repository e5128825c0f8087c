"""What callers are told while they wait, when they go elsewhere, and what becomes of a place that is kept."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from cti import commands as c
from cti import events as e
from cti.asterisk.prompts import SENTENCES, VOICES, counted_words, number_words
from cti.events import AgentState, HangupCause
from cti.ids import LegId
from cti.routing.plan import (
    Calendar,
    CallbackPlan,
    Comfort,
    Overflow,
    OverflowWhen,
    Plan,
)
from cti.waiting import Pace, Wait, may_call_back, position_words, said_minutes, wait_words
from tests.core.hall import Hall
from tests.core.plans import ANN, LI, SALES, small_plan

COMFORT = Comfort(
    greeting="greeting",
    message="comfort",
    every_s=30,
    says_position=True,
    says_wait=True,
    callback_after_s=20,
    voicemail_key="5",
)
CALLBACK = CallbackPlan(trunk="carrier", shown_number="+49301", expires_s=600)
NIGHT = Calendar("night", "Never", "UTC", weekly=((),) * 7)


class Waiting(Hall):
    """A hall whose callers hear what is announced to them."""

    heard = 0

    def listens(self, seconds: float) -> None:
        """Time passes; each announcement takes two seconds."""
        until = self.now + seconds
        while self.now < until:
            orders = [one for one in self.all(c.Announce) if one.says]
            for order in orders[self.heard :]:
                self.wait(2.0)
                self.feed(e.AnnouncementPlayed(at=self.now, leg=order.leg, what=order.what))
            self.heard = len(orders)
            self.wait(min(1.0, max(0.0, until - self.now)))


def hall(**changes: object) -> Waiting:
    plan = small_plan(**changes)
    return Waiting(replace(plan, calendars={"night": NIGHT}))


def said(floor: Hall) -> list[tuple[str, ...]]:
    """What was announced."""
    return [one.says for one in floor.all(c.Announce) if one.says]


# ── announcements ─────────────────────────────────────────────────────────────────────────────────────────


def test_the_emergency_message_comes_first_then_the_greeting_with_the_place_then_comfort() -> None:
    floor = hall(comfort=replace(COMFORT, callback_after_s=0, voicemail_key=""), emergency_message="strike")
    floor.call()
    floor.call(ani="+4913")
    leg, second = floor.call(ani="+4914")
    floor.listens(75)
    orders = [one.says for one in floor.all(c.Announce) if one.leg == leg and one.says]
    assert orders == [
        ("strike",),
        ("greeting", "position-before", "number-3", "position-after"),
        ("comfort", "position-before", "number-3", "position-after"),
        ("comfort", "position-before", "number-3", "position-after"),
    ]
    assert [one.what for one in floor.all(e.CallerAnnounced) if one.interaction == second] == [
        "emergency",
        "greeting",
        "comfort",
        "comfort",
    ]


def test_a_caller_who_is_served_is_told_nothing_more() -> None:
    floor = hall(comfort=COMFORT)
    floor.ready(LI)
    floor.talk(LI)
    floor.listens(120)
    assert said(floor) == []


def test_a_missing_recording_is_not_asked_for_every_second() -> None:
    floor = hall(comfort=replace(COMFORT, every_s=0, callback_after_s=0))
    leg, _ = floor.call()
    floor.wait(1)
    floor.feed(e.AnnouncementPlayed(at=floor.now, leg=leg, what="greeting", missing="greeting"))
    floor.wait(60)
    assert len(said(floor)) == 1
    assert floor.all(e.CallerAnnounced) == []


def test_after_a_restart_nobody_is_greeted_twice() -> None:
    floor = hall(comfort=replace(COMFORT, callback_after_s=0, voicemail_key=""))
    journal = floor.keep_journal()
    leg, _ = floor.call()
    floor.listens(5)
    again = Waiting(floor.core.plan)
    again.core.restore(journal)
    again.now = floor.now
    again.feed(e.LinkUp(at=again.now, pbx=leg.partition("/")[0], version="22"))  # type: ignore[arg-type]
    again.offer(leg, waited_s=5)
    again.listens(40)
    assert said(again) == [("comfort", "position-first")]


def test_what_is_said_of_the_wait_is_honest() -> None:
    assert said_minutes(None) is None
    assert said_minutes(Wait(20, 50)) == 1
    assert said_minutes(Wait(300, 500)) == 9
    assert said_minutes(Wait(600, 900)) == 15
    assert said_minutes(Wait(600, 1000)) == 20
    assert said_minutes(Wait(20, 100)) is None  # nobody knows
    assert said_minutes(Wait(3000, 6000)) is None
    assert wait_words(1) == ("wait-minute",)
    assert wait_words(2) == ("wait-before", "count-2", "wait-after")
    assert position_words(1) == ("position-first",)
    assert position_words(100) == ()


def test_four_of_five_callers_wait_no_longer_than_they_were_told() -> None:
    rng = random.Random(7)
    kept = asked = 0
    for _ in range(400):
        pace, now, agents = Pace(), 0.0, rng.randint(2, 12)
        work_s = rng.uniform(60, 400)
        pace.taken(agents=agents, is_anybody_left=True, now=now)
        for _ in range(rng.randint(5, 20)):
            now += rng.expovariate(agents / work_s)
            pace.taken(agents=agents, is_anybody_left=True, now=now)
        position = rng.randint(1, 10)
        wait = pace.expected(position, agents=agents, now=now)
        if wait is None:
            continue
        asked += 1
        kept += sum(rng.expovariate(agents / work_s) for _ in range(position)) <= wait.upper_s
    assert asked > 300
    assert 0.74 < kept / asked < 0.86


def test_with_little_to_go_by_nothing_is_expected() -> None:
    pace = Pace()
    for moment in range(5):
        pace.taken(agents=3, is_anybody_left=True, now=10.0 * moment)
    assert pace.expected(1, agents=3, now=60.0) is None  # four gaps
    pace.taken(agents=3, is_anybody_left=True, now=50.0)
    assert pace.expected(1, agents=3, now=60.0) is not None
    assert pace.expected(1, agents=0, now=60.0) is None
    assert pace.expected(1, agents=3, now=7200.0) is None


# ── opening hours and overflow ────────────────────────────────────────────────────────────────────────────


def test_a_closed_queue_sends_callers_where_it_says() -> None:
    floor = hall(calendar="night", closed_to="voicemail:sales")
    floor.ready(LI)
    leg, interaction = floor.call()
    (left,) = floor.all(e.CallerOverflowed)
    assert (left.queue, left.to, left.why) == (SALES, "voicemail:sales", "closed")
    assert floor.all(c.SendAway) == [c.SendAway(leg=leg, to="voicemail:sales")]
    assert floor.all(c.RingAgent) == []
    floor.feed(e.MessageRecorded(at=floor.now, leg=leg, file="1.wav", queue="sales"))
    assert [(one.queue, one.file, one.interaction) for one in floor.all(e.MessageLeft)] == [
        (SALES, "1.wav", interaction)
    ]
    floor.wait(10)
    assert floor.all(e.Repaired) == []
    floor.ends(leg)
    assert floor.last(e.InteractionEnded).outcome == "closed"


def test_who_still_waits_when_it_closes_is_sent_away() -> None:
    floor = hall(calendar="day")
    day = Calendar("day", "Until eight", "UTC", weekly=(((0, 480),),) * 7)
    floor.now = datetime(2026, 11, 23, 7, 59, tzinfo=UTC).timestamp()
    floor.feed(e.PlanChanged(at=floor.now, plan=replace(floor.core.plan, calendars={"day": day})))
    leg, _ = floor.call()
    floor.wait(55)
    assert floor.all(c.SendAway) == []
    floor.wait(30)
    assert floor.all(c.SendAway) == [c.SendAway(leg=leg, to="message:closed")]


def test_closed_without_a_destination_is_said() -> None:
    floor = hall(calendar="night")
    floor.call()
    assert [one.to for one in floor.all(c.SendAway)] == ["message:closed"]


def test_a_caller_overflows_to_another_queue_when_the_time_has_come_and_keeps_the_place() -> None:
    floor = hall(overflows=(Overflow(OverflowWhen.WAITED, 60, "queue:support"),))
    leg, interaction = floor.call()
    came_at = floor.now
    floor.wait(59)
    assert floor.all(e.CallerOverflowed) == []
    floor.wait(2)
    (left,) = floor.all(e.CallerOverflowed)
    assert (left.interaction, left.to, left.why) == (interaction, "queue:support", "waited")
    queued = floor.last(e.InteractionQueued)
    assert (queued.queue, queued.queued_at) == ("support", came_at)
    assert floor.last(c.AcceptOffer).queue == "support"
    # Back in the loop after a ring, with what the menu once said: not back to the first queue.
    floor.offer(leg, target="queue:sales")
    assert floor.core.calls[interaction].queue == "support"
    assert len(floor.all(e.CallerOverflowed)) == 1


def test_queues_that_overflow_into_each_other_do_not_toss_callers_about() -> None:
    floor = hall(overflows=(Overflow(OverflowWhen.WAITED, 10, "queue:support"),))
    support = replace(
        floor.core.plan.queues["support"],  # type: ignore[index]
        overflows=(Overflow(OverflowWhen.WAITED, 10, "queue:sales"),),
    )
    plan = replace(floor.core.plan, queues={**floor.core.plan.queues, support.id: support})
    floor.feed(e.PlanChanged(at=floor.now, plan=plan))
    floor.call()
    floor.wait(300)
    assert [one.to for one in floor.all(e.CallerOverflowed)] == ["queue:support"]


def test_a_full_queue_lets_nobody_in() -> None:
    floor = hall(overflows=(Overflow(OverflowWhen.LENGTH, 2, "message:busy"),))
    for _ in range(3):
        floor.call()
    assert [one.why for one in floor.all(e.CallerOverflowed)] == ["length"]


def test_with_nobody_logged_in_callers_leave() -> None:
    floor = hall(overflows=(Overflow(OverflowWhen.NO_AGENTS, 10, "number:+493099"),))
    floor.ready(LI)
    floor.feed(e.StateRequested(at=floor.now, agent=LI, state=AgentState.NOT_READY, reason="break", by="agent"))
    leg, _ = floor.call()
    floor.wait(30)
    assert floor.all(c.SendAway) == []  # on a break is not away
    floor.feed(e.AgentLoggedOut(at=floor.now, agent=LI, by="agent"))
    floor.wait(20)
    assert [one.to for one in floor.all(c.SendAway)] == ["number:+493099"]
    # Nobody answered there: the caller waits on, and is not sent there again.
    floor.offer(leg)
    floor.wait(60)
    assert len(floor.all(c.SendAway)) == 1
    floor.ready(ANN)
    assert floor.last(c.RingAgent).leg == leg


# ── a place that is kept ──────────────────────────────────────────────────────────────────────────────────


def placed(floor: Waiting, ani: str = "+49301234567") -> LegId:
    """A caller waits 25 s and asks to be called back."""
    leg, _ = floor.call(ani=ani)
    floor.listens(25)
    for key in "11":
        floor.feed(e.KeyPressed(at=floor.now, leg=leg, key=key))
        floor.listens(4)
    return leg


def waits_for_callback() -> Waiting:
    return hall(comfort=COMFORT, callback=CALLBACK)


def test_a_place_is_kept_and_called_back_once_when_it_is_its_turn() -> None:
    floor = waits_for_callback()
    leg = placed(floor)
    (kept,) = floor.all(e.CallbackPlaced)
    assert (kept.number, kept.queue, kept.queued_at) == ("+49301234567", SALES, 1000.0)
    assert floor.last(c.HangUp).leg == leg
    floor.ends(leg)
    assert floor.last(e.InteractionEnded).outcome == "callback"
    later, _ = floor.call(ani="+49302222222")
    floor.ready(LI)
    (order,) = floor.all(c.CallBack)
    dialled = floor.last(e.CallbackDialled)
    assert floor.said.index(dialled) < floor.said.index(order)
    assert (order.number, order.trunk, order.shown_number) == ("+49301234567", "carrier", "+49301")
    assert floor.agent(LI).state is AgentState.RESERVED
    floor.wait(5)
    assert floor.all(c.RingAgent) == []
    # Answered: a caller like any other, before the one who came later, and for the agent who was kept free.
    floor.feed(
        e.LegStarted(
            at=floor.now,
            leg=order.leg,
            conversation=order.leg,
            channel="PJSIP/carrier-1",
            tech="PJSIP",
            endpoint="carrier",
            number="",
            name="",
            dialled="",
        )
    )
    floor.feed(e.LegAnswered(at=floor.now, leg=order.leg))
    floor.offer(order.leg, dnis="", ani="+49301234567", waited_s=30)
    closed = floor.last(e.CallbackClosed)
    assert (closed.callback, closed.outcome) == (kept.callback, "answered")
    assert (floor.last(c.RingAgent).leg, floor.last(c.RingAgent).agent) == (order.leg, LI)
    floor.rings(order.leg, "agent1")
    floor.ready(ANN)
    assert floor.last(c.RingAgent).leg == later
    floor.wait(60)
    assert len(floor.all(c.CallBack)) == 1
    assert floor.core.attending.waiting.kept == {}


@pytest.mark.parametrize(
    ("cause", "outcome"),
    [(HangupCause.BUSY, "busy"), (HangupCause.NO_ANSWER, "no_answer"), (HangupCause.UNALLOCATED, "failed")],
)
def test_a_call_back_that_is_not_answered_is_not_tried_again(cause: HangupCause, outcome: str) -> None:
    floor = waits_for_callback()
    floor.ends(placed(floor))
    floor.ready(LI)
    leg = floor.last(c.CallBack).leg
    floor.leg_started("carrier")  # somebody else's
    floor.feed(
        e.LegStarted(
            at=floor.now,
            leg=leg,
            conversation=leg,
            channel="PJSIP/carrier-9",
            tech="PJSIP",
            endpoint="carrier",
            number="",
            name="",
            dialled="",
        )
    )
    floor.ends(leg, cause)
    assert floor.last(e.CallbackClosed).outcome == outcome
    assert floor.agent(LI).state is AgentState.AVAILABLE
    floor.wait(600)
    assert len(floor.all(c.CallBack)) == 1


def test_no_more_are_called_than_agents_are_free() -> None:
    floor = waits_for_callback()
    for number in range(4):
        floor.ends(placed(floor, f"+4930123456{number}"))
    floor.ready(LI, ANN)
    assert len(floor.all(c.CallBack)) == 2
    assert {one.agent for one in floor.all(e.CallbackDialled)} == {LI, ANN}


def test_who_calls_in_again_takes_the_kept_place() -> None:
    floor = waits_for_callback()
    floor.ends(placed(floor))
    floor.call(ani="+49302222222")
    leg, interaction = floor.call(ani="0049301234567")
    closed = floor.last(e.CallbackClosed)
    assert (closed.outcome, closed.interaction) == ("called_in", interaction)
    floor.ready(LI)
    assert floor.last(c.RingAgent).leg == leg
    assert floor.all(c.CallBack) == []


def test_a_place_expires() -> None:
    floor = waits_for_callback()
    floor.ends(placed(floor))
    floor.wait(600)
    assert floor.last(e.CallbackClosed).outcome == "expired"
    floor.ready(LI)
    assert floor.all(c.CallBack) == []


def test_outside_the_hours_nobody_is_offered_or_called() -> None:
    floor = hall(comfort=COMFORT, callback=replace(CALLBACK, calendar="night"))
    leg, _ = floor.call(ani="+49301234567")
    floor.listens(60)
    floor.feed(e.KeyPressed(at=floor.now, leg=leg, key="1"))
    assert not any("callback-offer" in words for words in said(floor))
    assert floor.all(e.CallbackPlaced) == []


def test_a_place_waits_for_the_hours_and_survives_a_restart_with_its_position() -> None:
    morning = datetime(2026, 11, 23, 8, tzinfo=UTC).timestamp()
    calendar = Calendar("day", "Day", "UTC", weekly=((((480, 1080)),),) * 7)
    plan = replace(small_plan(comfort=COMFORT, callback=CALLBACK), calendars={"day": calendar, "night": NIGHT})
    floor = Waiting(plan)
    journal = floor.keep_journal()
    floor.now = morning - 300
    floor.ends(placed(floor))
    (kept,) = floor.all(e.CallbackPlaced)
    closed = replace(plan.queues[SALES], callback=replace(CALLBACK, calendar="day"))
    again = Hall(replace(plan, queues={**plan.queues, SALES: closed}))
    again._next = 100  # leg names are not used twice
    again.core.restore(journal)
    again.now = floor.now
    again.feed(e.LinkUp(at=again.now, pbx=kept.pbx, version="22"))
    again.ready(LI)
    again.call(ani="+49302222222")
    assert again.last(c.RingAgent).agent == LI  # not allowed yet: the next caller is served
    again.ready(ANN)
    again.wait(morning - again.now - 10)
    assert again.all(c.CallBack) == []
    again.wait(20)
    assert again.last(c.CallBack).waited_s >= int(morning - kept.queued_at)
    (still,) = again.core.attending.waiting.kept.values()
    assert (still.id, still.queued_at) == (kept.callback, kept.queued_at)


def test_a_call_back_that_was_dialled_before_the_daemon_died_is_never_dialled_again() -> None:
    floor = waits_for_callback()
    journal = floor.keep_journal()
    floor.ends(placed(floor))
    floor.ready(LI)
    dialled = floor.last(e.CallbackDialled)
    again = Waiting(floor.core.plan)
    again.core.restore(journal)
    again.now = floor.now + 1
    again.feed(e.LinkUp(at=again.now, pbx=dialled.leg.partition("/")[0], version="22"))  # type: ignore[arg-type]
    again.wait(120)
    assert again.all(c.CallBack) == []
    assert again.last(e.CallbackClosed).outcome == "unknown"
    assert again.agent(LI).state is AgentState.AVAILABLE


def test_a_new_journal_segment_still_knows_the_kept_places() -> None:
    floor = waits_for_callback()
    floor.ends(placed(floor))
    preface = list(floor.core.attending.waiting.preface())
    again = Waiting(floor.core.plan)
    again.core.restore(preface)
    assert again.core.attending.waiting.kept == {
        one.id: replace_not_before(one, again) for one in floor.core.attending.waiting.kept.values()
    }


def replace_not_before(one: object, again: Hall) -> object:
    """After a restart it is looked at anew."""
    (kept,) = again.core.attending.waiting.kept.values()
    return replace(one, not_before=kept.not_before)  # type: ignore[type-var]


def test_a_withheld_number_is_asked_for_where_the_plan_says_which_may_be_called() -> None:
    floor = hall(comfort=COMFORT, callback=replace(CALLBACK, prefixes=("4930",)))
    leg, _ = floor.call(ani="")
    floor.listens(25)
    floor.feed(e.KeyPressed(at=floor.now, leg=leg, key="1"))
    assert floor.last(c.Announce).says == ("callback-number",)
    floor.listens(3)
    for key in "9*00493012345#":
        floor.feed(e.KeyPressed(at=floor.now, leg=leg, key=key))
    assert floor.last(e.CallbackPlaced).number == "00493012345"


def test_nobody_makes_us_dial_a_number_of_their_choice() -> None:
    assert may_call_back(CALLBACK, "+49301234567", is_typed=False)
    assert not may_call_back(CALLBACK, "+49301234567", is_typed=True)
    assert not may_call_back(CALLBACK, "110", is_typed=False)
    assert not may_call_back(CALLBACK, "49301234&PJSIP/x", is_typed=False)
    local = replace(CALLBACK, prefixes=("4930", "+4940"))
    assert may_call_back(local, "004930123456", is_typed=True)
    assert may_call_back(local, "4940123456", is_typed=True)
    assert not may_call_back(local, "+19005551234", is_typed=False)


def test_the_menu_to_leave_a_message_is_a_key() -> None:
    floor = hall(comfort=COMFORT)
    leg, _ = floor.call()
    floor.listens(35)
    assert said(floor)[-1][-2:] == ("voicemail-offer", "number-5")
    floor.feed(e.KeyPressed(at=floor.now, leg=leg, key="5"))
    assert floor.last(c.SendAway).to == "voicemail:sales"
    assert floor.last(e.CallerOverflowed).why == "chosen"


def test_a_kept_place_whose_queue_is_gone_is_closed() -> None:
    floor = waits_for_callback()
    floor.ends(placed(floor))
    plan: Plan = floor.core.plan
    support = {queue: one for queue, one in plan.queues.items() if queue != SALES}
    floor.feed(e.PlanChanged(at=floor.now, plan=replace(plan, queues=support, routes=(), default_queue=None)))
    assert floor.last(e.CallbackClosed).outcome == "cancelled"


# ── numbers ───────────────────────────────────────────────────────────────────────────────────────────────


def test_chinese_numbers_are_read_as_chinese_reads_them() -> None:
    read = {number: number_words("zh", number) for number in (0, 2, 9, 10, 11, 12, 20, 22, 99)}
    assert list(read.values()) == ["零", "二", "九", "十", "十一", "十二", "二十", "二十二", "九十九"]
    assert [counted_words("zh", number) for number in (2, 12, 20, 22)] == ["两", None, None, None]
    assert counted_words("fr", 21) == "vingt et une"
    assert counted_words("es", 31) == "treinta y un"


def test_every_sentence_is_spoken_in_every_language() -> None:
    assert {name: set(texts) for name, texts in SENTENCES.items()} == {name: set(VOICES) for name in SENTENCES}
