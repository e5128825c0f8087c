"""Who owns a desk, what a page that returns gets, and when a desk cannot ring. Time is passed in."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cti.events import DeskFresh, DeskStale
from cti.ids import AgentId
from cti.routing.plan import PhoneKind
from cti.screenpop.desk import REPLAY_MESSAGES, Admitted, Busy, Desk
from cti.screenpop.frames import Beat, Hello, body

ANNA = AgentId("anna")


def desk(phone: PhoneKind = PhoneKind.BROWSER) -> Desk:
    return Desk(ANNA, epoch="e1", phone=phone)


def hello(tab: str = "one", *, epoch: str | None = None, last_seq: int = 0, take_over: bool = False) -> Hello:
    return Hello(tab, epoch, last_seq, is_taking_over=take_over)


def beat(*, visible: bool = True, phone: str = "registered", microphone: str = "ok") -> Beat:
    return Beat(0, is_visible=visible, phone=phone, microphone=microphone)


def message(number: int) -> bytes:
    return body({"type": "notice", "code": str(number), "text": ""})


def fresh(at: float) -> DeskFresh:
    return DeskFresh(at=at, agent=ANNA)


def stale(at: float, why: str) -> DeskStale:
    return DeskStale(at=at, agent=ANNA, why=why)


def read(frames: tuple[bytes, ...]) -> list[dict[str, Any]]:
    return [json.loads(frame) for frame in frames]


# ── messages ──────────────────────────────────────────────────────────────────────────────────────────────


def test_messages_are_numbered_from_one() -> None:
    one = desk()
    sent = read((one.put(message(0), now=1.0), one.put(message(1), now=2.0)))
    assert [(frame["seq"], frame["now"]) for frame in sent] == [(1, 1.0), (2, 2.0)]


def test_a_page_that_returns_gets_exactly_what_it_missed_with_the_clock_of_now() -> None:
    one = desk()
    one.hello(1, hello(), now=0.0)
    for number in range(5):
        one.put(message(number), now=1.0)
    one.left(1, now=2.0)
    answer = one.hello(2, hello(epoch="e1", last_seq=3), now=9.0)
    assert isinstance(answer, Admitted)
    assert answer.is_resumed
    assert [(frame["seq"], frame["code"], frame["now"]) for frame in read(answer.missed)] == [
        (4, "3", 9.0),
        (5, "4", 9.0),
    ]


def test_a_page_that_missed_nothing_is_resumed_with_nothing() -> None:
    one = desk()
    one.put(message(0), now=0.0)
    assert one.hello(1, hello(epoch="e1", last_seq=1), now=1.0) == Admitted(is_resumed=True, missed=(), ousted=None)


@pytest.mark.parametrize(
    ("epoch", "last_seq"), [("e0", 1), (None, 0), ("e1", 0), ("e1", REPLAY_MESSAGES + 51), ("e1", 2**53 - 1)]
)
def test_a_page_of_another_epoch_or_too_far_behind_or_ahead_gets_a_snapshot(epoch: str | None, last_seq: int) -> None:
    one = desk()
    for number in range(REPLAY_MESSAGES + 50):
        one.put(message(number), now=0.0)
    answer = one.hello(1, hello(epoch=epoch, last_seq=last_seq), now=1.0)
    assert isinstance(answer, Admitted)
    assert not answer.is_resumed


def test_what_is_kept_for_a_page_that_is_away_is_bounded() -> None:
    one = desk()
    for _ in range(100):
        one.put(body({"type": "notice", "text": "x" * 10_000}), now=0.0)
    answer = one.hello(1, hello(epoch="e1", last_seq=88), now=1.0)
    assert isinstance(answer, Admitted)
    assert len(answer.missed) == 12
    later = one.hello(1, hello(epoch="e1", last_seq=80), now=1.0)
    assert later == Admitted(is_resumed=False, missed=(), ousted=None)


def test_nothing_kept_for_one_person_is_given_to_another() -> None:
    one = desk()
    one.put(message(0), now=0.0)
    one.renew("e2")
    assert one.hello(1, hello(epoch="e1", last_seq=0), now=1.0) == Admitted(is_resumed=False, missed=(), ousted=None)


# ── owners ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_second_tab_is_told_that_the_desk_is_busy_and_may_take_it_over() -> None:
    one = desk()
    one.hello(1, hello("one"), now=0.0)
    assert isinstance(one.hello(2, hello("two"), now=1.0), Busy)
    assert one.owner == 1
    answer = one.hello(2, hello("two", take_over=True), now=2.0)
    assert isinstance(answer, Admitted)
    assert answer.ousted == 1
    assert one.owner == 2


def test_the_same_tab_gets_its_desk_back_though_its_old_socket_still_looks_alive() -> None:
    one = desk()
    one.hello(1, hello("one"), now=0.0)
    answer = one.hello(2, hello("one"), now=1.0)
    assert isinstance(answer, Admitted)
    assert answer.ousted == 1
    one.left(1, now=2.0)
    assert one.owner == 2


def test_after_the_owner_left_another_tab_needs_no_take_over() -> None:
    one = desk()
    one.hello(1, hello("one"), now=0.0)
    one.left(1, now=1.0)
    assert isinstance(one.hello(2, hello("two"), now=2.0), Admitted)


def test_beats_of_a_tab_that_does_not_own_the_desk_change_nothing() -> None:
    one = desk()
    one.hello(1, hello("one"), now=0.0)
    assert one.beat(2, beat(), now=1.0) is None
    assert one.why is None


# ── freshness ─────────────────────────────────────────────────────────────────────────────────────────────


def test_the_first_beat_makes_a_desk_fresh_and_later_ones_say_nothing_new() -> None:
    one = desk()
    one.hello(1, hello(), now=0.0)
    assert one.beat(1, beat(), now=0.1) == fresh(0.1)
    assert one.beat(1, beat(), now=4.1) is None
    assert one.describe() == {"type": "desk", "is_fresh": True, "why": ""}


def test_a_desk_without_a_beat_for_twelve_seconds_is_silent_and_wakes_with_the_next() -> None:
    one = desk()
    one.hello(1, hello(), now=0.0)
    one.beat(1, beat(), now=4.0)
    assert one.wake_at() == 16.0
    assert one.wake(now=15.9) is None
    assert one.wake(now=16.0) == stale(16.0, "silent")
    assert one.wake_at() is None
    assert one.beat(1, beat(), now=30.0) == fresh(30.0)


def test_a_page_that_never_beats_is_silent() -> None:
    one = desk()
    one.hello(1, hello(), now=0.0)
    assert one.wake(now=one.wake_at() or 0.0) == stale(12.0, "silent")


def test_a_hidden_page_that_beats_in_time_is_fresh() -> None:
    one = desk()
    one.hello(1, hello(), now=0.0)
    assert one.beat(1, beat(visible=False), now=1.0) == fresh(1.0)
    assert one.beat(1, beat(visible=False), now=5.0) is None


def test_a_hidden_page_whose_beats_come_late_is_asleep_until_it_beats_in_time_or_is_seen() -> None:
    one = desk()
    one.hello(1, hello(), now=0.0)
    one.beat(1, beat(visible=False), now=1.0)
    assert one.wake(now=13.0) == stale(13.0, "asleep")
    assert one.beat(1, beat(visible=False), now=61.0) is None
    assert one.beat(1, beat(visible=False), now=121.0) is None
    assert one.beat(1, beat(visible=False), now=125.0) == fresh(125.0)
    one.wake(now=200.0)
    assert one.beat(1, beat(visible=True), now=201.0) == fresh(201.0)


def test_a_reload_is_not_an_absence_but_a_closed_page_is() -> None:
    one = desk()
    one.hello(1, hello("one"), now=0.0)
    one.beat(1, beat(), now=1.0)
    one.left(1, now=2.0)
    assert one.wake_at() == 4.0
    one.hello(2, hello("two"), now=3.0)
    assert one.wake(now=4.0) is None
    one.beat(2, beat(), now=4.0)
    one.left(2, now=5.0)
    assert one.wake(now=7.0) == stale(7.0, "gone")
    assert one.wake_at() is None


def test_a_silent_page_that_closes_is_gone() -> None:
    one = desk()
    one.hello(1, hello(), now=0.0)
    one.wake(now=12.0)
    one.left(1, now=20.0)
    assert one.wake(now=one.wake_at() or 0.0) == stale(22.0, "gone")


@pytest.mark.parametrize(
    ("phone", "microphone", "why"),
    [("unregistered", "ok", "no_phone"), ("registered", "lost", "no_microphone"), ("desk", "desk", "no_phone")],
)
def test_a_browser_phone_that_cannot_ring_or_hear_makes_its_desk_stale(phone: str, microphone: str, why: str) -> None:
    one = desk()
    one.hello(1, hello(), now=0.0)
    one.beat(1, beat(), now=1.0)
    assert one.beat(1, beat(phone=phone, microphone=microphone), now=2.0) == stale(2.0, why)
    assert one.beat(1, beat(), now=3.0) == fresh(3.0)


def test_a_desk_phone_needs_neither_microphone_nor_registration_in_the_page() -> None:
    one = desk(PhoneKind.DESK)
    one.hello(1, hello(), now=0.0)
    assert one.beat(1, beat(phone="desk", microphone="lost"), now=1.0) == fresh(1.0)


def test_a_phone_configured_anew_is_judged_at_once() -> None:
    one = desk()
    one.hello(1, hello(), now=0.0)
    one.beat(1, beat(phone="desk", microphone="desk"), now=1.0)
    assert one.use_phone(PhoneKind.DESK, now=2.0) == fresh(2.0)


def test_a_desk_without_an_agent_is_never_reported() -> None:
    one = Desk(None, epoch="e1")
    one.hello(1, hello(), now=0.0)
    assert one.beat(1, beat(), now=1.0) is None
    assert one.wake_at() is None
    one.left(1, now=2.0)
    assert one.wake_at() is None
