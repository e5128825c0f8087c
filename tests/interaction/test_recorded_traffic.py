"""What the conversations conclude from real traffic of both Asterisk versions, call by call."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

import pytest

from cti import events as e
from cti.asterisk.translator import Translator
from cti.events import Event
from cti.ids import AgentId, PbxId
from cti.interaction import Conversations, Interaction
from tests.interaction.story import line

TRAFFIC = Path(__file__).parents[1] / "asterisk" / "traffic"
AGENTS = frozenset({"alice", "bob", "carol"})

ALICE_ANSWERS = ["started inbound", "rang alice", "ring-ended alice answered", "joined alice talk"]
BOB_ANSWERS = ["rang bob", "ring-ended bob answered", "joined bob talk"]
BOB_ENDS = ["left bob", "ended answered"]

STORIES: dict[str, list[str]] = {
    "direct_busy": ["started inbound", "rang alice", "ring-ended alice busy", "ended busy"],
    "direct_dial": [*ALICE_ANSWERS, "left alice", "ended answered"],
    "forward_refused": ["started inbound", "rang alice", "ring-ended alice forwarded", "ended abandoned"],
    "forwarded": [
        *("started internal", "rang bob", "ring-ended bob forwarded"),
        *("rang carol", "ring-ended carol answered", "joined alice talk", "joined carol talk"),
        *("left alice", "left carol", "ended answered"),
    ],
    "hold_and_resume": [*ALICE_ANSWERS, "held alice", "resumed alice", "left alice", "ended answered"],
    "hostile_name": ["started inbound", "ended abandoned"],
    "inbound_abandoned_ringing": ["started inbound", "rang alice", "ring-ended alice cancelled", "ended abandoned"],
    "inbound_abandoned_waiting": ["started inbound", "ended abandoned"],
    "inbound_answered": [
        *("started inbound", "recording on", "rang alice", "ring-ended alice answered", "joined alice talk"),
        *("recording paused", "recording on", "left alice", "recording off", "ended answered"),
    ],
    "inbound_busy": ["started inbound", "rang alice", "ring-ended alice busy", *BOB_ANSWERS, *BOB_ENDS],
    "inbound_caller_hangs_up": [*ALICE_ANSWERS, "left alice", "ended answered"],
    "inbound_consult": [
        *(*ALICE_ANSWERS, "rang bob", "held alice", "left alice", "ring-ended bob answered"),
        *("joined alice consult", "joined bob consult", "joined bob talk", "resumed alice", "left alice", *BOB_ENDS),
    ],
    "inbound_fallback": [*ALICE_ANSWERS, "left alice", "ended answered"],
    "inbound_moved_blind": [*ALICE_ANSWERS, "left alice", *BOB_ANSWERS, *BOB_ENDS],
    "inbound_no_answer": ["started inbound", "rang alice", "ring-ended alice no_answer", "ended abandoned"],
    "internal_call": [
        *("started internal", "rang bob", "ring-ended bob answered", "joined alice talk", "joined bob talk"),
        *("left alice", "left bob", "ended answered"),
    ],
    "internal_through_local": [
        *("started internal", "rang bob", "ring-ended bob answered", "joined alice talk", "joined bob talk"),
        *("left alice", "left bob", "ended answered"),
    ],
    "originated": [
        *("started internal", "rang bob", "ring-ended bob answered", "rang carol", "ring-ended carol answered"),
        *("joined bob talk", "joined carol talk", "left bob", "left carol", "ended answered"),
    ],
    "outbound_call": ["started outbound", "joined alice talk", "left alice", "ended answered"],
    "outbound_congestion": ["started outbound", "ended failed"],
    "outbound_unallocated": ["started outbound", "ended failed"],
    "parallel_ring": [
        *("started inbound", "rang alice", "rang bob", "ring-ended alice cancelled", "ring-ended bob answered"),
        *("joined bob talk", *BOB_ENDS),
    ],
    "phone_leaves_and_returns": [],
    "pickup": ["started inbound", "rang alice", "ring-ended alice cancelled", "joined bob talk", *BOB_ENDS],
    "queue_abandoned": ["started inbound", "rang alice", "ring-ended alice cancelled", "ended abandoned"],
    "queue_answered": [*ALICE_ANSWERS, "left alice", "ended answered"],
    "refer_attended": [
        *(*ALICE_ANSWERS, "held alice", "started internal", "rang bob", "ring-ended bob answered"),
        *("joined alice consult", "joined bob consult", "resumed alice", "merged", "joined bob talk"),
        *("transfer attended alice agent:bob", "transferred attended completed", "left alice", "left alice", *BOB_ENDS),
    ],
    "refer_blind": [
        *(*ALICE_ANSWERS, "transfer blind alice 101", "left alice", *BOB_ANSWERS),
        *("transferred blind completed", *BOB_ENDS),
    ],
    "refer_blind_to_queue": [
        *(*ALICE_ANSWERS, "transfer blind alice 400", "left alice", "transferred blind completed", "ended answered"),
    ],
    "refer_blonde": [
        *(*ALICE_ANSWERS, "held alice", "started internal", "rang bob", "resumed alice", "merged"),
        *("transfer attended alice agent:bob", "transferred attended blonde", "left alice"),
        *("ring-ended bob answered", "joined bob talk", *BOB_ENDS),
    ],
}

TALKED: dict[str, set[str]] = {
    "inbound_consult": {"alice", "bob"},
    "refer_attended": {"alice", "bob"},
    "refer_blonde": {"alice", "bob"},
    "refer_blind": {"alice", "bob"},
    "pickup": {"bob"},
    "direct_dial": {"alice"},
}
"""Who talked with the customer."""

RECORDINGS = sorted(path for version in ("16", "22") for path in (TRAFFIC / version).glob("*.ami.gz"))


def owner_of(pbx: PbxId, endpoint: str) -> AgentId | None:
    return AgentId(endpoint) if endpoint in AGENTS else None


def facts_of(recording: Path) -> list[Event]:
    """The switch's facts; recordings keep no times, so a message takes a millisecond."""
    translator = Translator(PbxId("pbx1"))
    facts: list[Event] = []
    for count, message in enumerate(gzip.decompress(recording.read_bytes()).split(b"\r\n\r\n")):
        if message.startswith(b"Event: "):
            facts.extend(translator.translate([message + b"\r\n"], 1000.0 + count / 1000))
    return facts


def fold(facts: list[Event]) -> tuple[list[Event], list[Interaction]]:
    conversations, told, ended = Conversations(owner_of), [], []
    # A recording may stop before its last hang-ups were told; what is not on the PBX any more has ended.
    end = e.PbxRead(at=facts[-1].at + 1, pbx=PbxId("pbx1"), legs=(), devices=())
    for fact in [*facts, end]:
        concluded = conversations.handle(fact)
        told += concluded
        ended += [
            found
            for conclusion in concluded
            if isinstance(conclusion, e.InteractionEnded)
            and (found := conversations.get(conclusion.interaction)) is not None
        ]
    assert conversations.wake_at() is None
    assert all(interaction.ended_at is not None for interaction in conversations.interactions.values())
    return told, ended


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda path: f"{path.parent.name}-{path.name.partition('.')[0]}")
def test_a_recorded_call_is_one_conversation_and_tells_its_story(recording: Path) -> None:
    name = recording.name.partition(".")[0]
    told, ended = fold(facts_of(recording))
    if name in STORIES:
        # Facts of one moment may come in either order; the story as a whole may not differ.
        story = Counter(map(line, told))
        if name == "inbound_consult":
            # When bob leaves, the recorder's dialplan lets alice and the caller meet once more, if both are quick.
            story["joined alice talk"] = 1
        assert story == Counter(STORIES[name])
        assert [line(fact) for fact in told if not _is_shuffled(fact)] == [
            said for said in STORIES[name] if not said.startswith(("joined", "left", "ring-ended", "rang"))
        ]
    if name != "conference":  # there carol may enter the room when the others have left it: two conversations
        assert len(ended) == (0 if name == "phone_leaves_and_returns" else 1)
    for interaction in ended:
        with_customer = {
            talk.agent
            for talk in interaction.talks
            if interaction.customer_leg in talk.with_legs and talk.role == "talk"
        }
        if name in TALKED:
            assert with_customer == TALKED[name]
        if interaction.answered_at is not None:
            assert interaction.talk_s(interaction.ended_at or 0.0) > 0
            assert all(talk.ended_at is not None for talk in interaction.talks)


def _is_shuffled(fact: Event) -> bool:
    return isinstance(fact, e.AgentJoined | e.AgentLeft | e.AgentRang | e.AgentRingEnded)


def test_every_kind_of_recording_was_made_on_both_versions() -> None:
    names = [{path.name for path in RECORDINGS if path.parent.name == version} for version in ("16", "22")]
    assert names[0] == names[1]
    assert names[0]


@pytest.mark.parametrize("name", ["inbound_answered", "refer_attended", "originated"])
def test_both_versions_tell_the_same(name: str) -> None:
    stories = [Counter(map(line, fold(facts_of(TRAFFIC / v / f"{name}.ami.gz"))[0])) for v in ("16", "22")]
    assert stories[0] == stories[1]
