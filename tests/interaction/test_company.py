"""Legs that we had the PBX make, and whose conversation they are part of."""

from __future__ import annotations

from cti import events as e
from cti.events import BridgeKind, DialOutcome
from cti.ids import AgentId, BridgeId, LegId, spy_leg, take_leg
from tests.interaction.story import PBX, Story, leg

TALK = BridgeId(f"{PBX}/talk")
AGAIN = BridgeId(f"{PBX}/again")


def talk() -> Story:
    """A caller (c1) speaks with ann (d2)."""
    it = Story()
    it.tell(it.started("c1"), it.offered("c1"), it.started("d2", "c1", "ann"), it.dial("c1", "d2"))
    it.tell(it.dialled("c1", "d2", DialOutcome.ANSWERED), joined(it, leg("c1"), TALK), joined(it, leg("d2"), TALK))
    it.facts.clear()
    return it


def joined(it: Story, one: LegId, bridge: BridgeId) -> e.BridgeJoined:
    return e.BridgeJoined(at=it.at, leg=one, bridge=bridge, kind=BridgeKind.TALK)


def begun(it: Story, one: LegId, endpoint: str) -> list[e.Event]:
    """The PBX calls a phone by order."""
    started = e.LegStarted(
        at=it.at,
        leg=one,
        conversation=one,
        channel=f"PJSIP/{endpoint}-9",
        tech="PJSIP",
        endpoint=endpoint,
        number=endpoint,
        name="",
        dialled="",
    )
    return [started, e.DialStarted(at=it.at, by=None, to=one)]


def test_who_only_listens_is_in_no_conversation_until_connected_with_one() -> None:
    it = talk()
    spy = spy_leg(PBX, AgentId("bob"), it.at)
    it.tell(*begun(it, spy, "bob"), e.LegAnswered(at=it.at, leg=spy))
    assert it.facts == []
    assert it.conversations.of_leg(spy) is None
    it.tell(joined(it, spy, AGAIN), joined(it, leg("c1"), AGAIN))
    home = it.conversations.of_leg(leg("c1"))
    assert home is not None
    assert it.conversations.of_leg(spy) is home
    assert [fact.agent for fact in it.facts if isinstance(fact, e.AgentJoined)] == ["bob"]
    assert not [fact for fact in it.facts if isinstance(fact, e.InteractionStarted | e.InteractionMerged)]


def test_the_phone_of_who_takes_over_rings_in_the_callers_conversation() -> None:
    it = talk()
    taken = take_leg(leg("c1"), it.at)
    it.tell(*begun(it, taken, "bob"))
    (rang,) = it.facts
    assert isinstance(rang, e.AgentRang)
    assert (rang.agent, it.conversations.of_leg(taken)) == ("bob", it.conversations.of_leg(leg("c1")))


def test_a_trunks_leg_is_the_agents_whose_number_it_calls() -> None:
    it = Story()
    it.conversations.owner_of = lambda pbx, endpoint: AgentId("far") if endpoint == "+4917011" else None
    it.tell(it.started("c1"), it.offered("c1"), it.started("d2", "c1"))
    it.tell(e.LegOwned(at=it.at, leg=leg("d2"), endpoint="+4917011"), it.dial("c1", "d2"))
    assert [fact.agent for fact in it.facts if isinstance(fact, e.AgentRang)] == ["far"]
