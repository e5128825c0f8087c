"""What the system decided or refused, in sentences that a person can read."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from web.words import WORDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cti.floor import Happening

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
    """One decision of the routing, live or stored. ``agent``: who was rung, None when nobody could be; ``others``: at
    the same time; ``required``: an expression, empty: anybody, or not known any more."""

    at: float
    queue: str
    agent: str | None
    rule: str
    passed: Sequence[PassedOver]
    others: Sequence[str] = ()
    required: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """A decision in words: one sentence, and one for each candidate who was passed over, in the order of ``passed``;
    ``required``: what was asked for, empty: nothing, or not known any more."""

    decision: Decision
    sentence: str
    others: tuple[str, ...]
    required: str


@dataclass(frozen=True, slots=True)
class Names:
    """What agents, queues, skills and reasons are called; an id without a name stays an id."""

    agents: Mapping[str, str]
    queues: Mapping[str, str]
    reasons: Mapping[str, str]
    people: Mapping[str, str] = field(default_factory=dict)

    def agent(self, agent: str) -> str:
        """The agent's name."""
        return self.agents.get(agent, agent)

    def queue(self, queue: str) -> str:
        """The queue's name."""
        return self.queues.get(queue, queue)

    def person(self, username: str) -> str:
        """What a user is called."""
        return self.people.get(username, username)

    def reason(self, code: str) -> str:
        """The label of a reason for not being ready."""
        return self.reasons.get(code, code.replace("_", " "))


CHOSEN: Mapping[str, str] = {
    "longest_idle": _("{agent} was rung: qualified for {queue}, and free for the longest time."),
    "best_skilled": _("{agent} was rung: the most proficient of those free for {queue}."),
    "least_occupied": _("{agent} was rung: free for {queue}, and the least busy over the last hour."),
    "fewest_skills": _(
        "{agent} was rung: free for {queue}, and the one with the fewest skills, so that others stay free."
    ),
    "round_robin": _("{agent} was rung: next in turn in {queue}."),
    "weighted_random": _("{agent} was rung: drawn by lot among those free for {queue}."),
    "named_agent": _("{agent} was rung: the call was sent to this agent."),
    "picked": _("{agent} was rung: a supervisor gave this agent the caller."),
    "preferred_owner": _("{agent} was rung: this customer is in this agent's care."),
    "preferred_last_agent": _("{agent} was rung: this agent spoke with the customer last."),
    "returning": _("{agent} was rung again: the talk was cut off when the page was loaded anew."),
}
_TOO = _("{sentence} Rung at the same time: {others}.")
_CHOSEN_OTHERWISE = _("{agent} was rung ({rule}).")
_NOBODY = _("Nobody could take the call in {queue}: the caller waits.")
_NO_QUEUE = _("The caller is in no queue, so nobody is asked.")
_NOBODY_ASKED = _("No agent works in {queue}: the caller waits.")

PASSED: Mapping[str, str] = {
    "skill_missing": _("{agent} lacks the skill “{detail}”."),
    "skill_too_low": _("{agent} is not proficient enough ({detail})."),
    "skill_too_high": _("{agent} is too proficient ({detail})."),
    "skill_unwanted": _("{agent} has the skill “{detail}”, which is not wanted here."),
    "call_unknown": _("Not {agent}: it is not known of this call what is asked of it ({detail})."),
    "call_differs": _("Not {agent}: this call is not what is asked for ({detail})."),
    "none_of": _("{agent} meets none of the ways asked for ({detail})."),
    "logged_out": _("{agent} is logged out."),
    "not_ready": _("{agent} is not ready ({reason})."),
    "on_call": _("{agent} is on a call."),
    "reserved": _("{agent} is being rung for another call."),
    "wrap_up": _("{agent} is in wrap-up for another {detail} s."),
    "desk_stale": _("The page of {agent} cannot ring ({desk})."),
    "phone_unreachable": _("The phone of {agent} is not reachable."),
    "phone_in_use": _("The phone of {agent} is in use."),
    "less_idle": _("{agent} was free for a shorter time ({detail} s)."),
    "less_skilled": _("{agent} is less proficient ({detail})."),
    "more_occupied": _("{agent} was busier over the last hour ({detail} %)."),
    "more_skills": _("{agent} has more skills and stays free for others ({detail})."),
    "later_in_turn": _("{agent} comes later in turn."),
    "not_drawn": _("{agent} was not drawn."),
    "resting": _("{agent} has a breather ({detail} % busy over the last hour)."),
    "not_member": _("{agent} does not work in this queue."),
}
_PASSED_OTHERWISE = _("{agent} was passed over ({why}).")
PASSED_MANY: Mapping[str, str] = {
    "skill_missing": _("{count} more lack a skill."),
    "skill_too_low": _("{count} more are not proficient enough."),
    "skill_too_high": _("{count} more are too proficient."),
    "skill_unwanted": _("{count} more have a skill that is not wanted here."),
    "call_unknown": _("{count} more, because it is not known of this call what is asked of it."),
    "call_differs": _("{count} more, because this call is not what is asked for."),
    "none_of": _("{count} more meet none of the ways asked for."),
    "logged_out": _("{count} more are logged out."),
    "not_ready": _("{count} more are not ready."),
    "on_call": _("{count} more are on a call."),
    "reserved": _("{count} more are being rung for another call."),
    "wrap_up": _("{count} more are in wrap-up."),
    "less_idle": _("{count} more were free for a shorter time."),
    "less_skilled": _("{count} more are less proficient."),
    "more_occupied": _("{count} more were busier over the last hour."),
    "more_skills": _("{count} more have more skills and stay free for others."),
    "later_in_turn": _("{count} more come later in turn."),
    "not_drawn": _("{count} more were not drawn."),
    "resting": _("{count} more have a breather."),
    "not_member": _("{count} more do not work in this queue."),
    "unqualified": _("{count} more do not meet what is asked for."),
    "desk_stale": _("{count} more have a page that cannot ring."),
    "phone_unreachable": _("{count} more have a phone that is not reachable."),
    "phone_in_use": _("{count} more have a phone that is in use."),
}
_PASSED_MANY_OTHERWISE = _("{count} more were passed over ({why}).")

_ANYBODY = _("anybody")
NAMED = frozenset({"named_agent", "picked", "preferred_owner", "preferred_last_agent", "returning"})
"""Rules by which a caller waits for one agent alone."""
_NOBODY_COUNTED = _("Nobody is free: {counted}.")
_NOBODY_WANTED = _("This caller waits for one agent: {counted}.")
COUNTED: Mapping[str, str] = {
    "skill_missing": _("{count} without the skill"),
    "skill_too_low": _("{count} not proficient enough"),
    "skill_too_high": _("{count} too proficient"),
    "skill_unwanted": _("{count} with a skill that is not wanted"),
    "call_unknown": _("{count} for a call of which more is known"),
    "call_differs": _("{count} for other calls"),
    "none_of": _("{count} who meet none of the ways"),
    "logged_out": _("{count} logged out"),
    "not_ready": _("{count} not ready"),
    "on_call": _("{count} on a call"),
    "reserved": _("{count} being rung for another call"),
    "wrap_up": _("{count} in wrap-up"),
    "desk_stale": _("{count} whose page cannot ring"),
    "phone_unreachable": _("{count} whose phone is not reachable"),
    "phone_in_use": _("{count} whose phone is in use"),
    "less_idle": _("{count} free for a shorter time"),
    "less_skilled": _("{count} less proficient"),
    "more_occupied": _("{count} busier"),
    "more_skills": _("{count} with more skills"),
    "later_in_turn": _("{count} later in turn"),
    "not_drawn": _("{count} not drawn"),
    "resting": _("{count} having a breather"),
    "not_member": _("{count} not in this queue"),
    "unqualified": _("{count} who do not meet what is asked for"),
}
_COUNTED_OTHERWISE = _("{count} passed over ({why})")
_BETWEEN = _(", ")

HAPPENED: Mapping[str, str] = {
    "queued": _("Waits in {queue}, place {detail}."),
    "overflow": _("Left {queue} for {to}: {why}."),
    "offered": _("Waits in {queue}."),
    "left": _("Left {queue} for {to}."),
    "announced": _("Was told: {said}."),
    "callback": _("Hung up and keeps the place in {queue} for a call back."),
    "message_left": _("Left a message for {queue}."),
    "transfer": _("{agent} sends the caller to {to}."),
    "transfer_attended": _("{agent} speaks with {to} first."),
    "transfer_take_over": _("The caller of {agent} is taken over."),
    "pick": _("{by} gave the caller to {agent}."),
    "spy": _("{by} joined the talk of {agent} ({mode})."),
}
_ANNOUNCED = {"position": _("place {value}"), "minutes": _("up to {value} min")}
_HAPPENED_OTHERWISE = _("Something else happened ({what}).")
_DESTINATIONS: Mapping[str, str] = {
    "queue": _("the queue {name}"),
    "number": _("the number {name}"),
    "message": _("the announcement {name}"),
    "voicemail": _("the voicemail of {name}"),
    "menu": _("the menu {name}"),
    "skill": _("whoever has {name}"),
}

_OPERATORS: Mapping[str, str] = {
    ">=": _("at least"),
    "<=": _("at most"),
    ">": _("more than"),
    "<": _("less than"),
    "==": _("is"),
    "!=": _("is not"),
    "and": _("and"),
    "or": _("or"),
    "not": _("not"),
}
_TOKEN = re.compile(r"""\s*("[^"]*"|'[^']*'|>=|<=|!=|==|[<>=()]|[^\s<>=!()]+)""")

_LEVELS = frozenset({"skill_too_low", "skill_too_high"})
_LEVEL = _("{skill} {held}, asked: {required}")

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
    "lost_place": _("A caller who waits had no place in the line: the place is back."),
    "ghost_place": _("The line kept a place for a caller who no longer waits."),
    "no_queue": _("A caller waited in a queue that there no longer is: the caller waits in the default queue."),
    "mistaken_agent": _("Was taken to be free and was not, or the other way round."),
    "lost_callback": _("A place was kept for a call back that nobody could make any more: it is given up."),
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
    "no_phone_of_your_own": _(
        "Listening and taking over need a phone of your own: ask an administrator to give your user an agent's seat, "
        "and open its desk."
    ),
    "own_phone_unreachable": _(
        "Your own phone is not reachable: open your desk in another tab, or switch the phone on."
    ),
    "own_phone_in_use": _("Your own phone is in use."),
    "own_call": _("This is your own call."),
    "number_not_allowed": _("Callers may not be handed on to this number."),
    "agent_not_talking": _("This agent is not talking in that call any more."),
    "not_listening": _("You are not listening to this call."),
    "not_waiting": _("This caller does not wait any more."),
    "nobody_to_tell": _("Nobody of them is logged in."),
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
        sentence = gettext(CHOSEN.get(decision.rule, _CHOSEN_OTHERWISE)).format(
            agent=names.agent(decision.agent), queue=queue, rule=decision.rule.replace("_", " ")
        )
        if decision.others:
            others = gettext(_BETWEEN).join(names.agent(other) for other in decision.others)
            sentence = gettext(_TOO).format(sentence=sentence, others=others)
    elif decision.rule == "no_queue":
        sentence = gettext(_NO_QUEUE)
    else:
        sentence = gettext(_NOBODY if decision.passed else _NOBODY_ASKED).format(queue=queue)
    required = required_told(gettext, decision.required) if decision.required else ""
    return Told(decision, sentence, tuple(_passed(gettext, one, names) for one in decision.passed), required)


def counted(gettext: Gettext, decision: Decision, names: Names) -> str:
    """A decision in one sentence: whoever was rung, or, when nobody was, how many could not and why."""
    if decision.agent or not decision.passed:
        return told(gettext, decision, names).sentence
    if decision.rule in NAMED and len(decision.passed) == 1:
        return gettext(_NOBODY_WANTED).format(counted=_passed(gettext, decision.passed[0], names).rstrip(".。"))
    counts: Counter[str] = Counter()
    for one in decision.passed:
        counts[one.reason] += 1 if one.agent else int(one.detail or 0)
    parts = [
        gettext(COUNTED.get(code, _COUNTED_OTHERWISE)).format(count=count, why=code.replace("_", " "))
        for code, count in counts.most_common()
    ]
    return gettext(_NOBODY_COUNTED).format(counted=gettext(_BETWEEN).join(parts))


def required_told(gettext: Gettext, expression: str) -> str:
    """What a caller requires, in words. ``expression``: as in ``cti.routing.plan.Step``; empty: anybody."""
    if not expression.strip():
        return gettext(_ANYBODY)
    words = [gettext(_OPERATORS[part]) if part in _OPERATORS else part for part in _TOKEN.findall(expression)]
    return " ".join(words).replace("( ", "(").replace(" )", ")")


def destination_told(gettext: Gettext, destination: str, names: Names) -> str:
    """Where somebody is sent, in words. ``destination``: ``<kind>:<value>``."""
    kind, _colon, value = destination.partition(":")
    name = value
    if kind in ("queue", "voicemail"):
        name = names.queue(value)
    elif kind == "agent":
        name = names.agent(value)
    elif kind == "skill":
        name = required_told(gettext, value)
    if kind == "agent":
        return name
    known = _DESTINATIONS.get(kind)
    return gettext(known).format(name=name) if known is not None else destination


def happened(gettext: Gettext, one: Happening, names: Names) -> str:
    """One thing that a contact met, in one sentence."""
    code = f"{one.what}_{one.detail}" if f"{one.what}_{one.detail}" in HAPPENED else one.what
    told_as = word(gettext, "announced", one.to) if one.what == "announced" else ""
    return gettext(HAPPENED.get(code, _HAPPENED_OTHERWISE)).format(
        queue=names.queue(one.queue) if one.queue else "–",
        agent=names.agent(one.agent) if one.agent else "–",
        to=destination_told(gettext, one.to, names),
        by=names.person(one.by),
        detail=one.detail or "–",
        why=word(gettext, "overflow", one.detail),
        said=told_as + _announced_detail(gettext, one.detail),
        mode=word(gettext, "spy", one.detail),
        what=one.what.replace("_", " "),
    )


def _announced_detail(gettext: Gettext, detail: str) -> str:
    """``position=3 minutes=5`` in words and in brackets; empty stays empty."""
    parts = []
    for part in detail.split():
        name, _equals, value = part.partition("=")
        known = _ANNOUNCED.get(name)
        parts.append(gettext(known).format(value=value) if known is not None else part)
    return f" ({gettext(_BETWEEN).join(parts)})" if parts else ""


def _level_told(gettext: Gettext, one: PassedOver) -> str:
    """``english 4 >= 5`` (held 4, asked for 5) in words; anything else as it is."""
    parts = one.detail.split(" ")
    if len(parts) != 4 or parts[2] not in _OPERATORS:
        return one.detail
    skill, held, relation, value = parts
    if one.reason == "skill_too_low" and relation == "<":
        # As it was written before requirements were expressions.
        relation = ">="
    return gettext(_LEVEL).format(skill=skill, held=held, required=f"{gettext(_OPERATORS[relation])} {value}")


def _passed(gettext: Gettext, one: PassedOver, names: Names) -> str:
    why = one.reason.replace("_", " ")
    if not one.agent:
        return gettext(PASSED_MANY.get(one.reason, _PASSED_MANY_OTHERWISE)).format(count=one.detail, why=why)
    return gettext(PASSED.get(one.reason, _PASSED_OTHERWISE)).format(
        agent=names.agent(one.agent),
        detail=_level_told(gettext, one) if one.reason in _LEVELS else one.detail,
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
