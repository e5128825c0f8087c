"""What holds for every order of facts: those that PBX versions swap, and whatever a random PBX does."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cti import events as e
from cti.events import BridgeKind, DialOutcome, Event, HangupCause
from cti.ids import BridgeId, InteractionId, LegId
from cti.interaction import Conversations
from tests.interaction.story import PBX, Story, leg, line, owner_of

# ── orders that occur ─────────────────────────────────────────────────────────────────────────────────────


def _answer(story: Story) -> list[Event]:
    story.waiting_caller()
    story.ring("a1", "b1", "ann")
    return [
        story.answered("b1"),
        story.dialled("a1", "b1", DialOutcome.ANSWERED),
        story.joined("a1", "one"),
        story.joined("b1", "one"),
    ]


def _hang_up(story: Story) -> list[Event]:
    story.in_talk()
    story.later(10)
    return [story.parted("a1", "one"), story.parted("b1", "one"), story.ended("a1"), story.ended("b1")]


def _move_by_bridge(story: Story) -> list[Event]:
    """Bridge(): the agent's leg changes bridges while the customer enters."""
    story.in_talk()
    story.later(10)
    return [story.parted("b1", "one"), story.joined("b1", "two"), story.parted("a1", "one"), story.joined("a1", "two")]


def _optimise(story: Story) -> list[Event]:
    story.tell(story.started("a1"))
    story.tell(story.started("b1", of="a1", tech="Local"), story.started("b2", of="a1", tech="Local"))
    story.tell(story.paired("b1", "b2"), story.dial("a1", "b1"))
    story.ring("b2", "c1", "ann")
    story.answer("b2", "c1", "two")
    story.tell(story.joined("a1", "one"), story.joined("b1", "one"))
    story.later(1)
    return [story.parted("c1", "two"), story.joined("c1", "one"), story.parted("b1", "one"), story.parted("b2", "two")]


def _merge(story: Story) -> list[Event]:
    """A phone joins its two calls: the bridge and the new link are told in either order."""
    story.in_talk()
    story.tell(story.held("b1"), story.started("c1", endpoint="ann"))
    story.ring("c1", "d1", "bob")
    story.answer("c1", "d1", "two")
    story.later(5)
    return [
        story.joined("a1", "two"),
        story.relinked("d1", "a1"),
        story.relinked("c1", "a1"),
        story.parted("a1", "one"),
    ]


def _identify(story: Story) -> list[Event]:
    story.waiting_caller()
    story.tell(story.started("b1", of="a1", endpoint="ann"))
    return [
        story.dial("a1", "b1"),
        e.LegIdentified(at=story.at, leg=leg("b1"), number="101", name="Ann"),
        e.LegRinging(at=story.at, leg=leg("b1")),
    ]


@pytest.mark.parametrize("scene", [_answer, _hang_up, _move_by_bridge, _optimise, _merge, _identify])
def test_the_order_of_simultaneous_facts_does_not_matter(scene: object) -> None:
    assert callable(scene)
    results = set()
    for order in itertools.permutations(range(len(scene(Story())))):
        story = Story()
        events = scene(story)
        before = len(story.facts)
        story.tell(*(events[index] for index in order))
        story.rest()
        told = Counter((line(fact), fact.at) for fact in story.facts[before:])
        left_over = {
            (interaction.id, tuple(sorted(interaction.agents_talking.items())), interaction.talk_s(story.at))
            for interaction in story.conversations.interactions.values()
            if interaction.ended_at is None
        }
        results.add((frozenset(told.items()), frozenset(left_over)))
    assert len(results) == 1, results


def test_a_move_between_bridges_is_silent_in_every_order() -> None:
    for scene in (_move_by_bridge, _optimise):
        for order in itertools.permutations(range(4)):
            story = Story()
            events = scene(story)
            before = len(story.facts)
            story.tell(*(events[index] for index in order))
            story.rest()
            assert story.facts[before:] == []


# ── a random PBX ──────────────────────────────────────────────────────────────────────────────────────────

STEPS = ("start", "dial", "dialled", "join", "part", "end", "link", "hold", "offer", "pair", "read", "start", "join")
ENDPOINTS = ("trunk", "trunk", "ann", "bob", "cho", "lobby", "")


class RandomPbx:
    """Draws facts that a PBX could tell: only about legs that live, but in any order and at any pace."""

    def __init__(self, data: st.DataObject) -> None:
        self.data = data
        self.at = 1000.0
        self.count = 0
        self.live: dict[LegId, LegId] = {}
        self.inside: dict[LegId, BridgeId] = {}
        self.dialled: set[LegId] = set()
        self.techs: dict[LegId, tuple[str, str]] = {}

    def _pick(self, of: list[LegId]) -> LegId:
        return self.data.draw(st.sampled_from(of))

    def step(self) -> list[Event]:
        self.at += self.data.draw(st.sampled_from((0.0, 0.01, 0.1, 0.5, 20.0)))
        live = sorted(self.live)
        what = self.data.draw(st.sampled_from(STEPS))
        if what == "start" or not live:
            return [self._start(live)]
        one = self._pick(live)
        at = self.at
        match what:
            case "dial":
                self.dialled.add(one)
                return [e.DialStarted(at=at, by=self.data.draw(st.sampled_from([None, *live])), to=one)]
            case "dialled":
                return [e.DialEnded(at=at, by=None, to=one, outcome=self.data.draw(st.sampled_from(DialOutcome)))]
            case "join":
                bridge = BridgeId(f"{PBX}/{self.data.draw(st.sampled_from('pqr'))}")
                events: list[Event] = []
                if one in self.inside and self.data.draw(st.booleans()):
                    events.append(e.BridgeParted(at=at, leg=one, bridge=self.inside[one]))
                self.inside[one] = bridge
                return [*events, e.BridgeJoined(at=at, leg=one, bridge=bridge, kind=BridgeKind.TALK)]
            case "part":
                bridge_of = self.inside.pop(one, None)
                return [e.BridgeParted(at=at, leg=one, bridge=bridge_of)] if bridge_of is not None else []
            case "end":
                return [self._end(one)]
            case "link":
                return [e.LegRelinked(at=at, leg=one, conversation=self._pick(live))]
            case "hold":
                return [self.data.draw(st.sampled_from((e.LegHeld, e.LegResumed)))(at=at, leg=one)]
            case "offer":
                self.inside.pop(one, None)
                return [Story.offered(self._telling(), one.partition(".")[2] and _name(one))]
            case "pair":
                two = self._pick(live)
                return [] if one == two else [e.LocalPaired(at=at, one=one, two=two)]
            case _:
                return [self._read(live)]

    def _telling(self) -> Story:
        story = Story()
        story.at = self.at
        return story

    def _start(self, live: list[LegId]) -> Event:
        self.count += 1
        new = leg(f"a{self.count}")
        of = self.data.draw(st.sampled_from([new, *live]))
        endpoint = self.data.draw(st.sampled_from(ENDPOINTS))
        self.live[new] = of
        tech = "PJSIP" if endpoint else "Local"
        self.techs[new] = tech, endpoint
        return e.LegStarted(
            at=self.at,
            leg=new,
            conversation=of,
            channel=f"{tech}/{endpoint}-{self.count}",
            tech=tech,
            endpoint=endpoint,
            number="101",
            name="",
            dialled="",
        )

    def _end(self, one: LegId) -> Event:
        self.live.pop(one)
        self.inside.pop(one, None)
        return e.LegEnded(at=self.at, leg=one, cause=self.data.draw(st.sampled_from(HangupCause)))

    def _read(self, live: list[LegId]) -> Event:
        kept = [one for one in live if self.data.draw(st.booleans())]
        for gone in set(live) - set(kept):
            self.live.pop(gone)
            self.inside.pop(gone, None)
        return e.PbxRead(
            at=self.at,
            pbx=PBX,
            legs=tuple(
                e.LegSeen(
                    leg=one,
                    conversation=self.live[one],
                    channel="x",
                    tech=self.techs[one][0],
                    endpoint=self.techs[one][1],
                    number="101",
                    name="",
                    dialled="",
                    is_up=True,
                    is_ringing=False,
                    started_at=self.at,
                    bridge=self.inside.get(one),
                    bridge_kind=BridgeKind.TALK if one in self.inside else None,
                    is_waiting=False,
                )
                for one in kept
            ),
            devices=(),
        )

    def finish(self) -> list[Event]:
        self.at += 1
        return [self._end(one) for one in self.data.draw(st.permutations(sorted(self.live)))]


def _name(one: LegId) -> str:
    return f"a{one.rpartition('.')[2]}"


class Books:
    """Keeps what was told and refuses what cannot be."""

    def __init__(self) -> None:
        self.started: set[InteractionId] = set()
        self.open: set[InteractionId] = set()
        self.ringing: set[LegId] = set()
        self.joined: dict[LegId, str] = {}
        self.held: set[tuple[InteractionId, str]] = set()
        self.ended_legs: set[LegId] = set()

    def take(self, fact: Event) -> None:
        match fact:
            case e.InteractionStarted():
                assert fact.interaction not in self.started
                self.started.add(fact.interaction)
                self.open.add(fact.interaction)
            case e.InteractionMerged():
                assert {fact.gone, fact.into} <= self.open
                self.open.discard(fact.gone)
            case e.InteractionEnded():
                self.open.remove(fact.interaction)
            case e.AgentRang():
                assert fact.interaction in self.open
                assert fact.leg not in self.ringing
                assert fact.leg not in self.ended_legs
                self.ringing.add(fact.leg)
            case e.AgentRingEnded():
                self.ringing.remove(fact.leg)
            case e.AgentJoined():
                assert fact.interaction in self.open
                assert fact.leg not in self.ended_legs
                assert self.joined.get(fact.leg) != fact.role
                self.joined[fact.leg] = fact.role
            case e.AgentLeft():
                del self.joined[fact.leg]


def _check_homes(conversations: Conversations) -> None:
    homes: Counter[LegId] = Counter()
    for interaction in conversations.interactions.values():
        homes.update(list(interaction.legs))
        for one in interaction.legs:
            assert conversations.of_leg(one) is interaction
    assert not homes or max(homes.values()) == 1


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_books_balance_whatever_the_pbx_does(data: st.DataObject) -> None:
    pbx, conversations, books = RandomPbx(data), Conversations(owner_of), Books()
    rounds = [pbx.step for _ in range(data.draw(st.integers(1, 30)))]
    for draw in (*rounds, pbx.finish):
        for event in draw():
            for fact in conversations.handle(event):
                books.take(fact)
            if isinstance(event, e.LegEnded):
                books.ended_legs.add(event.leg)
            _check_homes(conversations)
    while (due := conversations.wake_at()) is not None:
        for fact in conversations.wake(now=due):
            books.take(fact)
    assert not books.open
    assert not books.ringing
    assert not books.joined
    conversations.wake(now=pbx.at + 10)
    assert not conversations.interactions
