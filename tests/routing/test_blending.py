"""Inbound goes first; outbound has what is left, and not for a minute only."""

from __future__ import annotations

from cti.routing.blending import CALM_S, WINDOW_S, Blending


def calm(blending: Blending, now: float, seconds: float = CALM_S) -> int:
    """How many may be lent after a while in which nobody waits, ten agents free, four busy."""
    blending.to_lend(waiting=0, free=10, busy=4, now=now)
    return blending.to_lend(waiting=0, free=10, busy=4, now=now + seconds)


def test_agents_are_lent_after_a_calm_while_and_some_are_kept_for_who_may_call() -> None:
    blending = Blending(0.8)
    assert calm(blending, 0.0, CALM_S - 1) == 0
    assert calm(blending, 0.0) == 8


def test_a_single_caller_who_waits_takes_all_back_and_the_calm_begins_anew() -> None:
    blending = Blending(0.8)
    assert calm(blending, 0.0) == 8
    assert blending.to_lend(waiting=1, free=0, busy=14, now=CALM_S + 1) == 0
    assert calm(blending, CALM_S + 2, CALM_S - 1) == 0
    assert calm(blending, CALM_S + 2) == 8


def test_nothing_is_lent_while_callers_are_answered_too_late() -> None:
    blending = Blending(0.8)
    for number in range(10):
        blending.answered(is_in_time=number < 7, now=0.0)
    assert calm(blending, 10.0) == 0
    assert calm(blending, WINDOW_S + 1) == 8


def test_between_the_target_and_the_margin_it_stays_as_it_was() -> None:
    lending, keeping = Blending(0.8), Blending(0.8)
    assert calm(lending, 0.0) == 8
    for one in (lending, keeping):
        for number in range(100):
            one.answered(is_in_time=number < 82, now=CALM_S + 1)
        assert one.service_level(now=CALM_S + 2) == 0.82
    assert calm(lending, CALM_S + 2) == 8
    assert calm(keeping, CALM_S + 2) == 0
