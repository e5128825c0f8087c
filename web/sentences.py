"""What the system decided or refused, in sentences that a person can read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from web.words import WORDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Gettext = Callable[[str], str]


def _(message: str) -> str:
    """Marks a message for extraction; the translation is looked up when a page is rendered."""
    return message


@dataclass(frozen=True, slots=True)
class PassedOver:
    """Why one candidate was not taken."""

    agent: str
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision of the routing, live or stored. ``agent``: who was rung; None when nobody could be."""

    at: float
    queue: str
    agent: str | None
    rule: str
    passed: Sequence[PassedOver]


@dataclass(frozen=True, slots=True)
class Told:
    """A decision in words: one sentence, and one for each candidate who was passed over, in the order of ``passed``."""

    decision: Decision
    sentence: str
    others: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Names:
    """What agents, queues, skills and reasons are called; an id without a name stays an id."""

    agents: Mapping[str, str]
    queues: Mapping[str, str]
    reasons: Mapping[str, str]

    def agent(self, agent: str) -> str:
        """The agent's name."""
        return self.agents.get(agent, agent)

    def queue(self, queue: str) -> str:
        """The queue's name."""
        return self.queues.get(queue, queue)

    def reason(self, code: str) -> str:
        """The label of a reason for not being ready."""
        return self.reasons.get(code, code.replace("_", " "))


_CHOSEN: Mapping[str, str] = {
    "longest_idle": _("{agent} was rung: qualified for {queue}, and free for the longest time."),
    "named_agent": _("{agent} was rung: the call was sent to this agent."),
    "returning": _("{agent} was rung again: the talk was cut off when the page was loaded anew."),
}
_CHOSEN_OTHERWISE = _("{agent} was rung ({rule}).")
_NOBODY = _("Nobody could take the call in {queue}: the caller waits.")
_NOBODY_ASKED = _("No agent works in {queue}: the caller waits.")

_PASSED: Mapping[str, str] = {
    "skill_missing": _("{agent} lacks the skill “{detail}”."),
    "skill_too_low": _("{agent} is not proficient enough ({detail})."),
    "logged_out": _("{agent} is logged out."),
    "not_ready": _("{agent} is not ready ({reason})."),
    "on_call": _("{agent} is on a call."),
    "reserved": _("{agent} is being rung for another call."),
    "wrap_up": _("{agent} is in wrap-up for another {detail} s."),
    "desk_stale": _("The page of {agent} cannot ring ({desk})."),
    "phone_unreachable": _("The phone of {agent} is not reachable."),
    "phone_in_use": _("The phone of {agent} is in use."),
    "less_idle": _("{agent} was free for a shorter time ({detail} s)."),
    "not_in_queue": _("{agent} does not work in this queue."),
}
_PASSED_OTHERWISE = _("{agent} was passed over ({why}).")
_PASSED_MANY: Mapping[str, str] = {
    "skill_missing": _("{count} more lack a skill."),
    "skill_too_low": _("{count} more are not proficient enough."),
    "logged_out": _("{count} more are logged out."),
    "not_ready": _("{count} more are not ready."),
    "on_call": _("{count} more are on a call."),
    "reserved": _("{count} more are being rung for another call."),
    "wrap_up": _("{count} more are in wrap-up."),
    "less_idle": _("{count} more were free for a shorter time."),
}
_PASSED_MANY_OTHERWISE = _("{count} more were passed over ({why}).")

_REPAIRED: Mapping[str, str] = {
    "stuck_agent": _("Was shown as busy without a call."),
    "unseen_talk": _("Was talking and not shown as on a call."),
    "ghost_leg": _("The phone was taken to be in use, and was not."),
    "ghost_call": _("A call was still shown though it was over."),
    "lost_leg": _("A line was still shown that the telephone system no longer had."),
    "unknown_leg": _("The telephone system had lines that were not known here: it was read anew."),
    "silent_ring": _("The phone was shown as ringing, and was not: the caller waits again."),
    "stuck_transfer": _("A transfer was still shown though it was over."),
    "lost_caller": _("A caller was on the line and nowhere: the caller waits again."),
    "not_waiting": _("A caller was still shown as waiting, and was not."),
    "no_route": _("No queue is set for calls to {detail}: the caller went to the fall-back queue."),
    "phone_gone": _("Page and phone went away in mid-call: the talk goes on."),
}
_REPAIRED_OTHERWISE = _("Corrected: {what}.")

_PROBLEMS: Mapping[str, str] = {
    "not_logged_in": _("Please log in."),
    "no_right": _("Your role does not allow this."),
    "no_seat": _("You have no agent's seat."),
    "not_found": _("There is no such thing, or not any more."),
    "wrong_method": _("This address does not do that."),
    "wrong_origin": _("This request was not made by a page of this site, so it was refused."),
    "wrong_csrf_token": _("This page is out of date. Please load it again."),
    "wrong_content_type": _("This was sent in a form that is not understood."),
    "too_large": _("This is too large."),
    "not_a_form": _("This was sent in a form that is not understood."),
    "not_json": _("This was sent in a form that is not understood."),
    "bad_input": _("Something that was entered is not right."),
    "bad_request": _("This request is not understood."),
    "database_away": _("The database does not answer. Calls go on; please try again in a moment."),
    "internal": _("Something went wrong on our side."),
    "busy": _("The server is busy. Please try again in a moment."),
    "wrong_password": _("The name or the password is wrong."),
    "too_fast": _("That was too fast. Please wait a moment."),
    "too_many_attempts": _("Too many attempts. Please wait a while."),
    "conflict": _("Somebody else changed this in the meantime."),
    "no_recording": _("There is no recording, or it is not complete yet."),
    # What the floor refuses (cti.live_floor).
    "not_your_interaction": _("This call is not yours."),
    "not_talking": _("You are not talking in this call."),
    "no_transfer": _("There is no transfer under way."),
    "transfer_under_way": _("A transfer is already under way."),
    "not_in_wrap_up": _("There is no wrap-up to finish."),
    "not_recorded": _("This call is not recorded."),
    "no_caller": _("The caller is gone."),
    "target_logged_out": _("That agent cannot be reached now."),
    "target_on_call": _("That agent cannot be reached now."),
    "target_reserved": _("That agent cannot be reached now."),
    "target_wrap_up": _("That agent cannot be reached now."),
    "target_desk_stale": _("That agent cannot be reached now."),
    "target_phone_unreachable": _("That agent cannot be reached now."),
    "target_phone_in_use": _("That agent cannot be reached now."),
    "logged_out": _("You are logged out of the floor. Please open your desk again."),
}
_PROBLEM_OTHERWISE = _("This is not possible now ({code}).")


def told(gettext: Gettext, decision: Decision, names: Names) -> Told:
    """A decision in words."""
    queue = names.queue(decision.queue) if decision.queue else "–"
    if decision.agent:
        sentence = gettext(_CHOSEN.get(decision.rule, _CHOSEN_OTHERWISE)).format(
            agent=names.agent(decision.agent), queue=queue, rule=decision.rule.replace("_", " ")
        )
    else:
        sentence = gettext(_NOBODY if decision.passed else _NOBODY_ASKED).format(queue=queue)
    return Told(decision, sentence, tuple(_passed(gettext, one, names) for one in decision.passed))


def _passed(gettext: Gettext, one: PassedOver, names: Names) -> str:
    why = one.reason.replace("_", " ")
    if not one.agent:
        return gettext(_PASSED_MANY.get(one.reason, _PASSED_MANY_OTHERWISE)).format(count=one.detail, why=why)
    return gettext(_PASSED.get(one.reason, _PASSED_OTHERWISE)).format(
        agent=names.agent(one.agent),
        detail=one.detail,
        reason=names.reason(one.detail) if one.detail else "–",
        desk=word(gettext, "desk", one.detail),
        why=why,
    )


def repair_told(gettext: Gettext, what: str, detail: str) -> str:
    """What was put right, in one sentence. ``what``: as in ``cti.events.Repaired``."""
    return gettext(_REPAIRED.get(what, _REPAIRED_OTHERWISE)).format(detail=detail or "–", what=what.replace("_", " "))


def word(gettext: Gettext, group: str, code: str) -> str:
    """The word for a code; a code without one is shown as it is."""
    known = WORDS.get(f"{group}.{code}")
    return gettext(known) if known is not None else code.replace("_", " ")


def problem_text(gettext: Gettext, code: str) -> str:
    """What is said to a person about an error code."""
    known = _PROBLEMS.get(code)
    return gettext(known) if known is not None else gettext(_PROBLEM_OTHERWISE).format(code=code.replace("_", " "))
