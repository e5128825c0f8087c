"""What stands beside the cards: who is told of a listener, and how long a message stays."""

from __future__ import annotations

from dataclasses import replace

from cti import events as e
from cti.events import SpyMode
from cti.ids import AgentId, InteractionId
from cti.screenpop.margins import MOST_MESSAGES, Margins
from tests.core.plans import small_plan

PLAN = small_plan()
CALL, OTHER = InteractionId("pbx1-100"), InteractionId("pbx1-1001")
ANNA, LI, RUTH = (AgentId(one) for one in ("anna", "li", "ruth"))


def asked(mode: SpyMode = SpyMode.LISTEN) -> e.SpyRequested:
    return e.SpyRequested(at=1.0, interaction=CALL, agent=ANNA, listener=RUTH, mode=mode, by="ruth")


def begun(mode: SpyMode = SpyMode.LISTEN) -> e.SpyStarted:
    return e.SpyStarted(at=2.0, interaction=CALL, agent=ANNA, listener=RUTH, mode=mode, by="ruth")


def test_the_agent_is_told_from_the_moment_somebody_hears_and_no_longer() -> None:
    margins = Margins(PLAN)
    assert set(margins.listen(asked())) == {ANNA, RUTH}
    assert margins.of(ANNA)["listeners"] == []
    assert margins.of(RUTH)["spying"]["is_on"] is False
    margins.listen(begun())
    assert [one["mode"] for one in margins.of(ANNA)["listeners"]] == ["listen"]
    assert margins.listen(asked(SpyMode.WHISPER)) == ()
    margins.listen(begun(SpyMode.WHISPER))
    assert [one["mode"] for one in margins.of(ANNA)["listeners"]] == ["whisper"]
    assert margins.of(LI) == {"listeners": [], "spying": None, "messages": []}
    assert set(margins.listen(e.InteractionEnded(at=3.0, interaction=CALL, outcome="answered"))) == {ANNA, RUTH}
    assert margins.of(ANNA)["listeners"] == []
    assert margins.of(RUTH)["spying"] is None


def test_where_the_rule_of_the_site_says_so_the_agent_is_not_told() -> None:
    margins = Margins(replace(PLAN, is_spying_shown=False))
    margins.listen(begun())
    assert margins.of(ANNA)["listeners"] == []
    assert margins.of(RUTH)["spying"]["is_on"] is True
    assert margins.listen(e.PlanChanged(at=3.0, plan=PLAN)) == (ANNA,)
    assert len(margins.of(ANNA)["listeners"]) == 1


def test_the_end_of_another_call_changes_nothing() -> None:
    margins = Margins(PLAN)
    margins.listen(begun())
    assert margins.listen(e.InteractionEnded(at=3.0, interaction=OTHER, outcome="answered")) == ()
    gone = e.SpyEnded(at=3.0, interaction=OTHER, agent=ANNA, listener=RUTH, why="asked")
    assert margins.listen(gone) == ()
    margins.listen(e.InteractionMerged(at=3.0, gone=CALL, into=OTHER))
    assert set(margins.listen(gone)) == {ANNA, RUTH}


def test_a_message_stays_until_its_reader_has_read_it_and_a_flood_keeps_the_newest() -> None:
    margins = Margins(PLAN)
    for number in range(MOST_MESSAGES + 3):
        fact = e.MessageSent(at=1.0, agents=(ANNA, LI), text=f"{number}", by="ruth", message=f"{number}-1", name="Ruth")
        assert margins.listen(fact) == (ANNA, LI)
    texts = [one["text"] for one in margins.of(ANNA)["messages"]]
    assert texts == [f"{number}" for number in range(3, MOST_MESSAGES + 3)]
    assert margins.listen(e.MessageRead(at=2.0, agent=ANNA, message="3-1")) == (ANNA,)
    assert margins.listen(e.MessageRead(at=2.0, agent=ANNA, message="3-1")) == ()
    assert len(margins.of(ANNA)["messages"]) == MOST_MESSAGES - 1
    assert len(margins.of(LI)["messages"]) == MOST_MESSAGES
