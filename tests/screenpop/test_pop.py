"""What a card shows, to whom, and when: facts and look-ups in, cards out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cti.commands import ClosePop, ShowPop
from cti.events import (
    AgentJoined,
    AgentRang,
    AgentState,
    AgentStateChanged,
    CallerLookedUp,
    CustomerChosen,
    DispositionSet,
    Event,
    InteractionEnded,
    InteractionHeld,
    InteractionMerged,
    InteractionQueued,
    InteractionStarted,
    NoteSaved,
    PlanChanged,
    RecordingChanged,
    TransferEnded,
    TransferStarted,
)
from cti.ids import AgentId, InteractionId, LegId, PbxId, QueueId
from cti.routing.plan import AgentPlan, DnisRoute, Phone, PhoneKind, Plan, QueuePlan
from cti.screenpop.pop import PopChanged, PopClosed, Pops, Reading, Viewer

ANNA, BEN, CARL = AgentId("anna"), AgentId("ben"), AgentId("carl")
CALL = InteractionId("pbx1-1.1")
LEG = LegId("pbx1/1.2")
NUMBER = "+8613800138000"
ROLE = "agent"
SIGHTED, BLIND = Viewer(ROLE, is_blind=False), Viewer(ROLE, is_blind=True)


def agent(name: AgentId, *, may_see_numbers: bool = True) -> AgentPlan:
    phone = Phone(PbxId("pbx1"), f"p-{name}", PhoneKind.BROWSER)
    return AgentPlan(name, name.title(), phone, may_see_numbers=may_see_numbers)


PLAN = Plan(
    queues={QueueId("sales"): QueuePlan(QueueId("sales"), "Sales", product="fiber-200")},
    agents={ANNA: agent(ANNA), BEN: agent(BEN), CARL: agent(CARL, may_see_numbers=False)},
    routes=(DnisRoute("4001", QueueId("sales"), product="dsl"),),
    default_queue=None,
)


def customer(party: int, name: str = "Li Wei") -> dict[str, Any]:
    return {"id": party, "name": name}


def reading(*parties: int) -> Reading:
    return Reading(tuple(customer(party) for party in parties), ({"code": "fiber-200", "relation": "asks_about"},))


class Source:
    """Answers at once, and remembers what it was asked."""

    def __init__(self, pops: Pops) -> None:
        self.pops = pops
        self.asked: list[tuple[InteractionId, Viewer]] = []

    def want_sight(self, viewer: Viewer, agent: AgentId) -> None:
        self.pops.know_sight(viewer, without_numbers if viewer.is_blind else dict)

    def want_reading(self, interaction: InteractionId, viewer: Viewer) -> None:
        self.asked.append((interaction, viewer))


def without_numbers(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in {"ani_raw", "ani_name", "account"}}


class Desks:
    """Pops with all three agents at their desks; ``log`` is what the desks were told."""

    def __init__(self) -> None:
        self.pops = Pops(PLAN)
        self.source = Source(self.pops)
        self.pops.read_from(self.source)
        for name in PLAN.agents:
            self.pops.meet(name, ROLE)
        self.log: list[PopChanged | PopClosed] = []
        self.pops.subscribe(self.log.append)

    def hear(self, *facts: Event) -> None:
        for fact in facts:
            self.pops.listen(fact)

    def offer(self, at: float = 100.0) -> None:
        self.pops.expect(CALL)
        self.hear(
            InteractionStarted(
                at=at,
                interaction=CALL,
                direction="inbound",
                first_leg=LegId("pbx1/1.1"),
                ani=NUMBER,
                ani_name="Li, Skill: vip",
                is_withheld=False,
                dnis="4001",
                account="000017",
                choice="2",
                language="zh",
            ),
            InteractionQueued(at=at, interaction=CALL, queue=QueueId("sales"), queued_at=at, position=1),
        )

    def find(self, *parties: int, how: str = "number") -> None:
        readings = {SIGHTED: reading(*parties), BLIND: reading(*parties)}
        self.pops.know_readings(CALL, readings, found=(parties, how))

    def ring(self, name: AgentId = ANNA, at: float = 109.7) -> None:
        self.pops.carry_out(ShowPop(interaction=CALL, agent=name, until=at + 20), now=at)

    def talk(self, name: AgentId = ANNA, at: float = 112.0, role: str = "talk") -> None:
        self.hear(AgentJoined(at=at, interaction=CALL, agent=name, leg=LEG, role=role))

    def card(self, name: AgentId = ANNA) -> dict[str, Any]:
        card = self.pops.message(CALL, name, ROLE)
        assert card is not None
        return card


@pytest.fixture
def desks() -> Desks:
    return Desks()


def state(agent: AgentId, to: AgentState, at: float = 200.0, until: float | None = None) -> AgentStateChanged:
    return AgentStateChanged(
        at=at,
        agent=agent,
        state=to,
        reason="",
        by="system",
        interaction=CALL if to is AgentState.WRAP_UP else None,
        until=until,
        next_state=None,
    )


def test_a_ringing_card_shows_all_that_is_known_before_it_rings(desks: Desks) -> None:
    desks.offer()
    desks.find(17)
    desks.ring()
    assert desks.log == [PopChanged(CALL, ANNA)]
    assert desks.card() == {
        "type": "pop",
        "interaction": CALL,
        "phase": "ringing",
        "since": 109.7,
        "until": 129.7,
        "direction": "inbound",
        "queue": {"id": "sales", "name": "Sales"},
        "waited_s": 9.7,
        "caller": {"number": NUMBER, "name": "Li, Skill: vip", "is_withheld": False, "handle": CALL},
        "dnis": "4001",
        "account": "000017",
        "choice": "2",
        "language": "zh",
        "match": "one",
        "how": "number",
        "party": 17,
        "customers": [customer(17)],
        "products": [{"code": "fiber-200", "relation": "asks_about"}],
        "note": "",
        "disposition": "",
        "recording": "off",
        "recording_basis": "",
        "transfer": None,
        "conference": "",
        "from_agent": "",
        "why": "",
    }


def test_a_talk_that_began_without_us_gets_a_card_that_does_not_ring_and_a_card_that_is_there_stays(
    desks: Desks,
) -> None:
    desks.offer()
    desks.talk(at=150.0)
    desks.pops.carry_out(ShowPop(interaction=CALL, agent=ANNA, until=None, is_talking=True), now=150.1)
    assert (desks.card()["phase"], desks.card()["until"], desks.card()["waited_s"]) == ("talking", None, None)
    desks.ring(BEN)
    desks.pops.carry_out(ShowPop(interaction=CALL, agent=BEN, until=None, is_talking=True), now=150.2)
    assert (desks.card(BEN)["phase"], desks.card(BEN)["until"]) == ("ringing", 129.7)


def test_the_card_is_at_the_ringing_desk_and_at_no_other(desks: Desks) -> None:
    desks.offer()
    desks.ring(ANNA)
    assert {change.agent for change in desks.log} == {ANNA}
    assert desks.pops.message(CALL, BEN, ROLE) is None
    assert desks.pops.shown_to(BEN) == ()


def test_a_card_that_rings_before_its_look_up_is_done_says_pending_and_is_sent_again(desks: Desks) -> None:
    desks.offer()
    desks.ring()
    assert (desks.card()["match"], desks.card()["customers"]) == ("pending", [])
    desks.find(17)
    assert desks.log == [PopChanged(CALL, ANNA), PopChanged(CALL, ANNA)]
    assert desks.card()["match"] == "one"


@pytest.mark.parametrize(
    ("parties", "match", "party"), [((), "none", None), ((17,), "one", 17), ((17, 18, 19), "many", None)]
)
def test_nobody_one_or_many_are_found(desks: Desks, parties: tuple[int, ...], match: str, party: int | None) -> None:
    desks.offer()
    desks.find(*parties, how="number" if parties else "none")
    desks.ring()
    card = desks.card()
    assert (card["match"], card["party"]) == (match, party)
    assert [each["id"] for each in card["customers"]] == list(parties)


def test_a_failed_look_up_is_shown_as_failed_and_a_late_answer_still_improves_the_card(desks: Desks) -> None:
    desks.offer()
    desks.ring()
    desks.hear(CallerLookedUp(at=102.0, interaction=CALL, parties=(), how="failed"))
    assert (desks.card()["match"], desks.card()["how"]) == ("failed", "failed")
    desks.find(17)
    assert (desks.card()["match"], desks.card()["how"]) == ("one", "number")


def test_a_late_report_of_failure_takes_nothing_away(desks: Desks) -> None:
    desks.offer()
    desks.find(17)
    desks.ring()
    desks.hear(CallerLookedUp(at=102.0, interaction=CALL, parties=(), how="failed"))
    assert desks.card()["match"] == "one"


def test_customers_that_cannot_be_read_are_shown_as_failed_and_asked_for_once(desks: Desks) -> None:
    desks.offer()
    desks.hear(CallerLookedUp(at=101.0, interaction=CALL, parties=(17,), how="number"))
    desks.ring()
    assert desks.card()["match"] == "pending"
    desks.pops.know_readings(CALL, {SIGHTED: None})
    assert (desks.card()["match"], desks.card()["customers"]) == ("failed", [])
    assert desks.source.asked == [(CALL, SIGHTED)]


def test_an_agent_who_may_not_see_numbers_gets_a_card_without_any(desks: Desks) -> None:
    desks.offer()
    desks.find(17)
    desks.ring(CARL)
    card = desks.card(CARL)
    assert NUMBER not in json.dumps(card)
    assert card["caller"] == {"is_withheld": False, "handle": CALL}
    assert "account" not in card
    assert card["customers"] == [customer(17)]


def test_until_the_rules_of_a_role_are_known_nothing_of_the_caller_is_shown() -> None:
    pops = Pops(PLAN)
    pops.meet(ANNA, ROLE)
    pops.expect(CALL)
    pops.carry_out(ShowPop(interaction=CALL, agent=ANNA, until=None), now=1.0)
    pops.know_readings(CALL, {SIGHTED: reading(17)}, found=((17,), "number"))
    card = pops.message(CALL, ANNA, ROLE)
    assert card is not None
    assert (card["customers"], card["caller"]) == ([], {"is_withheld": False, "handle": CALL})
    assert "account" not in card
    pops.know_sight(SIGHTED, dict)
    shown = pops.message(CALL, ANNA, ROLE)
    assert shown is not None
    assert shown["customers"] == [customer(17)]


def test_a_plan_that_blinds_an_agent_takes_the_number_off_the_next_card(desks: Desks) -> None:
    desks.offer()
    desks.find(17)
    desks.ring()
    blinded = Plan(PLAN.queues, {**PLAN.agents, ANNA: agent(ANNA, may_see_numbers=False)}, PLAN.routes, None)
    desks.hear(PlanChanged(at=110.0, plan=blinded))
    assert NUMBER not in json.dumps(desks.card())


def test_the_phase_follows_the_call(desks: Desks) -> None:
    def phase() -> tuple[str, float, float | None]:
        card = desks.card()
        return card["phase"], card["since"], card["until"]

    desks.offer()
    desks.ring()
    assert phase() == ("ringing", 109.7, 129.7)
    desks.hear(AgentRang(at=109.8, interaction=CALL, agent=ANNA, leg=LEG, until=130.0))
    assert phase() == ("ringing", 109.7, 130.0)
    desks.talk(at=112.0)
    assert phase() == ("talking", 112.0, None)
    desks.hear(InteractionHeld(at=120.0, interaction=CALL, agent=ANNA, is_held=True))
    assert phase() == ("held", 120.0, None)
    desks.hear(InteractionHeld(at=125.0, interaction=CALL, agent=ANNA, is_held=False))
    assert phase() == ("talking", 125.0, None)
    desks.hear(
        state(ANNA, AgentState.WRAP_UP, at=200.0, until=230.0),
        InteractionEnded(at=200.0, interaction=CALL, outcome="answered"),
    )
    assert phase() == ("wrap_up", 200.0, 230.0)
    desks.pops.carry_out(ClosePop(interaction=CALL, agent=ANNA, reason="done"), now=231.0)
    assert desks.log[-1] == PopClosed(CALL, ANNA, "done")
    assert desks.pops.message(CALL, ANNA, ROLE) is None


@pytest.mark.parametrize("reason", ["no_answer", "caller_gone", "answered_elsewhere", "rejected"])
def test_the_card_goes_when_the_ringing_goes_elsewhere(desks: Desks, reason: str) -> None:
    desks.offer()
    desks.ring()
    desks.pops.carry_out(ClosePop(interaction=CALL, agent=ANNA, reason=reason), now=115.0)
    desks.find(17)
    assert desks.log == [PopChanged(CALL, ANNA), PopClosed(CALL, ANNA, reason)]


def test_an_agent_who_is_available_again_has_no_card_left(desks: Desks) -> None:
    desks.offer()
    desks.ring()
    desks.talk()
    desks.hear(state(ANNA, AgentState.AVAILABLE))
    assert desks.log[-1] == PopClosed(CALL, ANNA, "done")


def test_an_attended_transfer_carries_card_and_notes_to_the_second_agent(desks: Desks) -> None:
    desks.offer()
    desks.find(17)
    desks.ring()
    desks.talk()
    desks.hear(
        NoteSaved(at=120.0, interaction=CALL, agent=ANNA, text="wants fibre"),
        TransferStarted(at=121.0, interaction=CALL, agent=ANNA, target="agent:ben", kind="attended"),
    )
    assert desks.card()["phase"] == "consulting"
    assert desks.card()["transfer"] == {"target": "agent:ben", "kind": "attended", "phase": "ringing"}
    desks.ring(BEN, at=122.0)
    second = desks.card(BEN)
    assert (second["from_agent"], second["note"], second["transfer"]) == ("Anna", "wants fibre", None)
    assert second["customers"] == [customer(17)]
    desks.talk(BEN, at=125.0, role="consult")
    assert desks.card(BEN)["phase"] == "consulting"
    transfer = desks.card()["transfer"]
    assert transfer is not None
    assert transfer["phase"] == "talking"
    desks.hear(
        TransferEnded(at=130.0, interaction=CALL, agent=ANNA, target="agent:ben", kind="attended", outcome="completed"),
        state(ANNA, AgentState.WRAP_UP, until=160.0),
    )
    assert (desks.card(BEN)["phase"], desks.card(BEN)["from_agent"]) == ("talking", "Anna")
    assert (desks.card()["phase"], desks.card()["transfer"]) == ("wrap_up", None)


def test_a_cancelled_consultation_leaves_the_first_agent_talking(desks: Desks) -> None:
    desks.offer()
    desks.ring()
    desks.talk()
    desks.hear(
        TransferStarted(at=121.0, interaction=CALL, agent=ANNA, target="agent:ben", kind="attended"),
        TransferEnded(at=130.0, interaction=CALL, agent=ANNA, target="agent:ben", kind="attended", outcome="cancelled"),
    )
    assert (desks.card()["phase"], desks.card()["transfer"]) == ("talking", None)


def test_a_blind_transfer_names_who_sent_the_caller(desks: Desks) -> None:
    desks.offer()
    desks.ring()
    desks.talk()
    desks.hear(
        TransferStarted(at=121.0, interaction=CALL, agent=ANNA, target="queue:sales", kind="blind"),
        state(ANNA, AgentState.WRAP_UP, until=150.0),
    )
    desks.ring(BEN, at=125.0)
    assert desks.card(BEN)["from_agent"] == "Anna"


def test_what_is_noted_chosen_and_recorded_is_on_the_card(desks: Desks) -> None:
    desks.offer()
    desks.find(17, 18)
    desks.ring()
    desks.talk()
    desks.hear(
        RecordingChanged(at=113.0, interaction=CALL, file="1.1.wav", state="paused"),
        DispositionSet(at=114.0, interaction=CALL, agent=ANNA, code="sale"),
        CustomerChosen(at=115.0, interaction=CALL, agent=ANNA, party=18),
    )
    card = desks.card()
    assert (card["recording"], card["disposition"], card["party"]) == ("paused", "sale", 18)


def test_a_note_is_not_sent_back_to_the_one_who_types_it(desks: Desks) -> None:
    desks.offer()
    desks.ring(ANNA)
    desks.ring(BEN)
    desks.log.clear()
    desks.hear(NoteSaved(at=113.0, interaction=CALL, agent=ANNA, text="half a senten"))
    assert desks.log == [PopChanged(CALL, BEN)]
    assert desks.card(ANNA)["note"] == "half a senten"


def test_a_customer_chosen_by_search_is_read_and_shown(desks: Desks) -> None:
    desks.offer()
    desks.find()
    desks.ring()
    desks.hear(CustomerChosen(at=115.0, interaction=CALL, agent=ANNA, party=99))
    desks.card()
    assert desks.source.asked == [(CALL, SIGHTED)]
    assert desks.pops.parties(CALL) == (99,)
    desks.pops.know_readings(CALL, {SIGHTED: reading(99)})
    assert desks.card()["customers"] == [customer(99)]


def test_a_choice_outlives_a_late_look_up(desks: Desks) -> None:
    desks.offer()
    desks.ring()
    desks.hear(CustomerChosen(at=115.0, interaction=CALL, agent=ANNA, party=None))
    desks.find(17)
    assert desks.card()["party"] is None


def test_two_conversations_that_turn_out_to_be_one_keep_one_card(desks: Desks) -> None:
    other = InteractionId("pbx1-2.1")
    desks.offer()
    desks.ring()
    desks.hear(InteractionMerged(at=130.0, gone=CALL, into=other))
    assert desks.log[-2:] == [PopClosed(CALL, ANNA, "done"), PopChanged(other, ANNA)]
    assert desks.pops.shown_to(ANNA) == (other,)


def test_products_asked_about_come_from_choice_number_and_queue(desks: Desks) -> None:
    desks.offer()
    assert desks.pops.product_codes(CALL) == ("2", "dsl", "fiber-200")


def test_an_interaction_that_is_over_and_shown_nowhere_is_forgotten(desks: Desks) -> None:
    desks.offer()
    desks.ring()
    desks.hear(InteractionEnded(at=115.0, interaction=CALL, outcome="abandoned"))
    desks.pops.carry_out(ClosePop(interaction=CALL, agent=ANNA, reason="caller_gone"), now=115.0)
    desks.log.clear()
    desks.find(17)
    desks.hear(CallerLookedUp(at=116.0, interaction=CALL, parties=(17,), how="number"))
    assert (desks.log, desks.pops.parties(CALL)) == ([], ())
