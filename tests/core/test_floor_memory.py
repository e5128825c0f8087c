"""What the floor remembers of the day: work, who set a state, a caller's way, places kept."""

from __future__ import annotations

from typing import Any

from cti import events as e
from cti.events import AgentState, SpyMode
from cti.floor_memory import MOST_HAPPENINGS, FloorMemory
from cti.ids import AgentId, InteractionId, LegId, PbxId, QueueId

ANNA, RUTH = AgentId("anna"), AgentId("ruth")
CALL, SALES = InteractionId("pbx1-1"), QueueId("sales")
DAY_S = 86_400.0


def memory() -> FloorMemory:
    return FloorMemory(day_of=lambda at: int(at // DAY_S))


def state(at: float, state: AgentState, by: str = "system", **more: Any) -> e.AgentStateChanged:
    fields = {"reason": "", "interaction": None, "until": None, "next_state": None} | more
    return e.AgentStateChanged(at=at, agent=ANNA, state=state, by=by, **fields)


def joined(at: float, call: str = "pbx1-1", role: str = "talk") -> e.AgentJoined:
    return e.AgentJoined(at=at, interaction=InteractionId(call), agent=ANNA, leg=LegId("pbx1/2"), role=role)


def test_occupancy_is_work_against_work_and_free_time() -> None:
    kept = memory()
    assert kept.work(ANNA, now=0.0) == (0, None)
    kept.listen(state(0, AgentState.NOT_READY))
    kept.listen(state(1000, AgentState.AVAILABLE))
    kept.listen(state(1100, AgentState.RESERVED))
    kept.listen(state(1110, AgentState.ON_CALL))
    kept.listen(joined(1110))
    kept.listen(joined(1150))
    kept.listen(joined(1160, "pbx1-7", role="consult"))
    kept.listen(state(1180, AgentState.WRAP_UP))
    assert kept.work(ANNA, now=1200.0) == (1, 0.5)
    kept.listen(state(1200, AgentState.NOT_READY))
    assert kept.work(ANNA, now=5000.0) == (1, 0.5)


def test_a_new_day_counts_from_midnight_also_for_a_call_that_lasts_over_it() -> None:
    kept = memory()
    kept.listen(state(DAY_S - 100, AgentState.AVAILABLE))
    kept.listen(state(DAY_S - 50, AgentState.ON_CALL))
    kept.listen(joined(DAY_S - 50))
    kept.listen(state(DAY_S + 100, AgentState.AVAILABLE))
    calls, occupancy = kept.work(ANNA, now=DAY_S + 200)
    assert calls == 0
    assert occupancy is not None
    assert abs(occupancy - 0.5) < 0.01


def test_who_set_a_state_outlives_a_new_segment_of_the_journal() -> None:
    kept = memory()
    kept.listen(state(10, AgentState.NOT_READY, by="ruth", reason="lunch"))
    kept.listen(state(10, AgentState.NOT_READY, reason="lunch"))
    assert kept.set_by(ANNA) == "ruth"
    kept.listen(state(20, AgentState.AVAILABLE, by="agent"))
    assert kept.set_by(ANNA) == "agent"
    assert kept.set_by(RUTH) == ""


def test_a_callers_way_is_kept_as_long_as_the_call_and_not_for_ever() -> None:
    kept = memory()
    started = e.InteractionStarted(
        at=1, interaction=CALL, direction="inbound", first_leg=LegId("pbx1/1"), ani="", ani_name="", is_withheld=True,
        dnis="", account="", choice="", language="",
    )  # fmt: skip
    kept.listen(started)
    kept.listen(e.InteractionQueued(at=2, interaction=CALL, queue=SALES, queued_at=2, position=3))
    kept.listen(e.CallerOverflowed(at=3, interaction=CALL, queue=SALES, to="queue:support", why="waited"))
    assert [one.what for one in kept.story(CALL)] == ["queued", "overflow"]
    for number in range(2 * MOST_HAPPENINGS):
        kept.listen(e.CallerAnnounced(at=4 + number, interaction=CALL, what="comfort"))
    assert len(kept.story(CALL)) == MOST_HAPPENINGS
    other = InteractionId("pbx1-2")
    kept.listen(e.InteractionMerged(at=900, gone=CALL, into=other))
    assert kept.story(CALL) == ()
    assert kept.story(other)[0].what == "queued"
    kept.listen(e.InteractionEnded(at=1000, interaction=other, outcome="answered"))
    assert kept.story(other) == ()


def test_listeners_and_kept_places_come_and_go() -> None:
    kept = memory()
    kept.listen(e.SpyStarted(at=1, interaction=CALL, agent=ANNA, listener=RUTH, mode=SpyMode.BARGE, by="ruth"))
    assert [(one.listener, one.mode) for one in kept.listeners()] == [(RUTH, "barge")]
    kept.listen(e.SpyEnded(at=2, interaction=CALL, agent=ANNA, listener=RUTH, why="asked"))
    assert kept.listeners() == ()
    for name, since in (("c2", 20.0), ("c1", 10.0)):
        kept.listen(
            e.CallbackPlaced(
                at=30,
                callback=name,
                interaction=CALL,
                pbx=PbxId("pbx1"),
                queue=SALES,
                number="+49301",
                language="de",
                queued_at=since,
                expires_at=900,
            )
        )
    assert [one.id for one in kept.callbacks()] == ["c1", "c2"]
    kept.listen(e.CallbackDialled(at=40, callback="c1", leg=LegId("pbx1/9")))
    assert kept.callbacks()[0].is_dialled
    kept.listen(e.CallbackClosed(at=50, callback="c1", outcome="answered"))
    assert [one.id for one in kept.callbacks()] == ["c2"]
