from __future__ import annotations

from web.plays import MAX_OPEN, QUIET_S, Plays


def test_a_play_with_its_seeking_counts_once() -> None:
    plays = Plays()
    assert plays.is_new("s1", "a.wav", 0, now=0.0)
    assert not plays.is_new("s1", "a.wav", 0, now=0.1)
    assert not plays.is_new("s1", "a.wav", 40_000, now=3.0)
    assert not plays.is_new("s1", "a.wav", 90_000, now=60.0)


def test_a_request_that_skips_the_beginning_counts_as_well() -> None:
    assert Plays().is_new("s1", "a.wav", 1, now=0.0)


def test_starting_again_is_a_new_play() -> None:
    plays = Plays()
    assert plays.is_new("s1", "a.wav", 0, now=0.0)
    assert plays.is_new("s1", "a.wav", 0, now=30.0)


def test_another_session_or_another_recording_is_another_play() -> None:
    plays = Plays()
    assert plays.is_new("s1", "a.wav", 0, now=0.0)
    assert plays.is_new("s2", "a.wav", 0, now=0.0)
    assert plays.is_new("s1", "b.wav", 0, now=0.0)


def test_going_on_after_a_long_pause_is_a_new_play() -> None:
    plays = Plays()
    assert plays.is_new("s1", "a.wav", 0, now=0.0)
    assert plays.is_new("s1", "a.wav", 500, now=QUIET_S + 1)


def test_memory_is_bounded_and_forgetting_never_hides_a_play() -> None:
    plays = Plays()
    for number in range(MAX_OPEN + 1):
        assert plays.is_new("s1", f"{number}.wav", 0, now=0.0)
    assert plays.is_new("s1", "0.wav", 7, now=1.0)
