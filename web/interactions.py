"""One contact: who, when, with whom, what was decided and why, what was said about it, and its recording."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crm_core import interactions, waiting
from cti.floor import Happening
from cti.ids import QueueId
from web.pages import clock
from web.problems import not_found
from web.schemas import HappeningAnswer, Interaction, Leg, PassedAnswer, ReasonAnswer, Reasons
from web.sentences import Decision, PassedOver, counted, happened, told, word

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiohttp import web

    from cti.floor import CallView, Reason
    from web.asking import Ask
    from web.configured import Configuration
    from web.sentences import Names, Told

PLAYABLE = frozenset({"pending", "complete", "silent"})
REFUSALS = frozenset({"off", "no_consent", "objected", "unannounced"})
"""Why nothing (more) was recorded."""


@dataclass(frozen=True, slots=True)
class LegRow:
    """One line of the table of legs."""

    who: str
    role: str
    started_at: float
    ring_s: float | None
    talk_s: float | None
    end: str


@dataclass(frozen=True, slots=True)
class RecordingRow:
    """One recording on the page."""

    part: int
    state: str
    audio_s: float | None
    has_pauses: bool
    is_playable: bool
    basis: str


async def page(ask: Ask) -> web.StreamResponse:
    """The page of a contact."""
    configuration = await ask.services.configured.current(now=ask.now)
    names = configuration.names(ask.services.floor.plan, ask.language)
    contact, decisions = await _contact(ask, configuration)
    labels = configuration.disposition_labels(ask.language.tag)
    return await ask.page(
        "interaction.html",
        contact=contact,
        title=_title(ask, contact),
        disposition=labels.get(contact.disposition or "", contact.disposition or ""),
        facts=_facts(ask, contact, names),
        legs=[_leg(ask, leg, names) for leg in contact.legs],
        recordings=_recordings(contact),
        refusal=contact.recording_basis if contact.recording_basis in REFUSALS else "",
        decisions=[told(ask.language.gettext, one, names) for one in reversed(decisions)],
        story=_story(ask, contact, names),
    )


async def why_page(ask: Ask) -> web.StreamResponse:
    """Only the decisions, for somebody who watches the floor."""
    configuration = await ask.services.configured.current(now=ask.now)
    names = configuration.names(ask.services.floor.plan, ask.language)
    contact, decisions = await _contact(ask, configuration)
    return await ask.page(
        "why.html",
        interaction=contact.id,
        caller=_title(ask, contact),
        summary=counted(ask.language.gettext, decisions[-1], names) if decisions else "",
        decisions=[told(ask.language.gettext, one, names) for one in reversed(decisions)],
        story=_story(ask, contact, names),
    )


async def get(ask: Ask) -> Interaction:
    """A contact as JSON."""
    configuration = await ask.services.configured.current(now=ask.now)
    contact, _decisions = await _contact(ask, configuration)
    return contact


async def reasons(ask: Ask) -> Reasons:
    """The decisions as JSON, newest first."""
    configuration = await ask.services.configured.current(now=ask.now)
    contact, decisions = await _contact(ask, configuration)
    names = configuration.names(ask.services.floor.plan, ask.language)
    return Reasons(
        interaction=contact.id,
        sentence=counted(ask.language.gettext, decisions[-1], names) if decisions else "",
        decisions=contact.decisions[::-1],
        story=_story(ask, contact, names),
    )


async def _contact(ask: Ask, configuration: Configuration) -> tuple[Interaction, list[Decision]]:
    """The contact as this reader may see it, stored and live put together, and its decisions, oldest first."""
    async with ask.services.database.read() as connection:
        row = await interactions.get(connection, ask.reader, configuration.rules, ask.interaction)
        offers = await waiting.offers_of(connection, row["id"]) if row is not None else []
    call = ask.services.floor.call(ask.interaction)
    if row is None and call is None:
        raise not_found()
    stored: dict[str, Any] = row or {}
    if call is None:
        fields, decisions = stored, [_stored_decision(one) for one in stored["decisions"]]
    else:
        fields = _live_fields(ask, configuration, call) | stored | {"phase": call.phase}
        decisions = _live_decisions(ask)
    names = configuration.names(ask.services.floor.plan, ask.language)
    fields["decisions"] = [_answer(told(ask.language.gettext, one, names)) for one in decisions]
    fields["offers"] = offers
    return Interaction(**fields), decisions


def _live_fields(ask: Ask, configuration: Configuration, call: CallView) -> dict[str, Any]:
    """What is known of a live contact before it is written to the database."""
    return configuration.rules.visible(
        ask.reader,
        "interaction",
        {
            "id": call.id,
            "party_id": call.party,
            "direction": call.direction,
            "queue": call.queue or "",
            "agent": call.agent or "",
            "dnis": call.dnis,
            "ani_e164": call.ani,
            "ani_name": call.ani_name,
            "is_withheld": call.is_withheld,
            "account": call.account,
            "choice": call.choice,
            "language": call.language,
            "started_at": call.started_at,
            "queued_at": call.queued_at,
            "recording_basis": call.recording_basis,
        },
    )


def _live_decisions(ask: Ask) -> list[Decision]:
    return [decision_of(reason) for reason in ask.services.floor.reasons(ask.interaction)]


def decision_of(reason: Reason) -> Decision:
    """A live decision as sentences are made of it."""
    return Decision(
        at=reason.at,
        queue=reason.queue or "",
        agent=reason.agent,
        rule=reason.rule,
        passed=[PassedOver(one.agent, one.reason, one.detail) for one in reason.passed],
        others=reason.others,
        required=reason.required,
    )


def _story(ask: Ask, contact: Interaction, names: Names) -> list[HappeningAnswer]:
    """What a contact met on its way, oldest first: of a live one all, of a stored one the queues."""
    live = ask.services.floor.story(ask.interaction)
    return [
        HappeningAnswer(at=one.at, what=one.what, sentence=happened(ask.language.gettext, one, names))
        for one in (live or _stored_way(contact))
    ]


def _stored_way(contact: Interaction) -> Iterator[Happening]:
    for offer in contact.offers:
        queue = QueueId(offer.queue or "")
        yield Happening(offer.began_at, "offered", queue=queue)
        if offer.went_to and offer.ended_at is not None:
            yield Happening(offer.ended_at, "left", queue=queue, to=offer.went_to)


def _stored_decision(row: dict[str, Any]) -> Decision:
    return Decision(
        at=row.get("at", 0.0),
        queue=row.get("queue", ""),
        agent=row.get("agent") or None,
        rule=row.get("rule", ""),
        passed=[PassedOver(agent, reason, detail) for agent, reason, detail in row.get("passed", [])],
        others=row.get("others", ()),
        required=row.get("required", ""),
    )


def _answer(one: Told) -> ReasonAnswer:
    decision = one.decision
    return ReasonAnswer(
        at=decision.at,
        queue=decision.queue,
        agent=decision.agent,
        rule=decision.rule,
        sentence=one.sentence,
        others=list(decision.others),
        required=decision.required,
        passed=[
            PassedAnswer(agent=passed.agent, reason=passed.reason, detail=passed.detail, sentence=sentence)
            for passed, sentence in zip(decision.passed, one.others, strict=True)
        ],
    )


# ── the page's words ──────────────────────────────────────────────────────────────────────────────────────


def _title(ask: Ask, contact: Interaction) -> str:
    if contact.party_name:
        return contact.party_name
    if contact.is_withheld:
        return ask.language.gettext("Number withheld")
    return contact.ani_e164 or contact.ani_name or contact.id


def _facts(ask: Ask, contact: Interaction, names: Names) -> list[tuple[str, str]]:
    _ = ask.language.gettext
    number = _("Withheld") if contact.is_withheld else contact.ani_e164
    facts = [
        (_("Direction"), word(_, "direction", contact.direction) if contact.direction else ""),
        (_("Number"), number),
        (_("Shown as"), contact.ani_name),
        (_("Dialled"), contact.dnis),
        (_("Account entered"), contact.account),
        (_("Queue"), names.queue(contact.queue) if contact.queue else ""),
        (_("Agent"), names.agent(contact.agent) if contact.agent else ""),
        (_("Transferred by"), names.agent(contact.from_agent) if contact.from_agent else ""),
        (_("Customer found"), word(_, "how", contact.match_how) if contact.match_how else ""),
        (_("Waited"), _duration(contact.wait_s)),
        (_("Talked"), _duration(contact.talk_s)),
        (_("On hold"), _duration(contact.hold_s)),
        (_("Wrap-up"), _duration(contact.wrap_up_s)),
    ]
    return [(label, value) for label, value in facts if value]


def _duration(seconds: float | None) -> str:
    return clock(seconds) if seconds else ""


def _leg(ask: Ask, leg: Leg, names: Names) -> LegRow:
    started_at = leg.started_at or 0.0
    rang_until = leg.answered_at or leg.ended_at
    return LegRow(
        who=names.agent(leg.agent) if leg.agent else (leg.number or ask.language.gettext("Caller")),
        role=leg.role or "other",
        started_at=started_at,
        ring_s=rang_until - leg.ringing_at if leg.ringing_at is not None and rang_until is not None else None,
        talk_s=leg.ended_at - leg.answered_at if leg.answered_at is not None and leg.ended_at is not None else None,
        end=leg.cause or leg.outcome or "",
    )


def _recordings(contact: Interaction) -> list[RecordingRow]:
    return [
        RecordingRow(
            part=part,
            state=one.state or "",
            audio_s=one.audio_s,
            has_pauses=bool(one.paused),
            is_playable=one.state in PLAYABLE,
            basis=one.basis or "",
        )
        for part, one in enumerate(contact.recordings)
    ]
