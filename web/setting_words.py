"""What the settings, their choices and what may be wrong with them are called. Pages, history and errors share it."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Gettext = Callable[[str], str]


def _(message: str) -> str:
    """Marks a message for extraction; the translation is looked up when a page is rendered."""
    return message


KINDS: Mapping[str, str] = MappingProxyType(
    {
        "queue": _("Queue"),
        "agent": _("Agent"),
        "calendar": _("Opening hours"),
        "menu": _("Menu"),
        "number": _("Number"),
        "reason": _("Reason for not being ready"),
        "disposition": _("Disposition"),
        "product": _("Product"),
        "jurisdiction": _("Recording rule"),
        "site": _("Whole site"),
        "prompt": _("Announcement"),
    }
)
"""Kinds of ``crm_core.configuring``, and announcements."""

FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "slug": _("Id"),
        "code": _("Id"),
        "name": _("Name"),
        "is_active": _("In use"),
        "product": _("Product"),
        "language": _("Language"),
        "position": _("Order"),
        "labels": _("Label"),
        "names": _("Name"),
        "summary": _("Summary"),
        "summaries": _("Summary"),
        "digits": _("Number begins with"),
        "policy": _("Policy"),
        "citation": _("Which law says so"),
        # queues
        "is_default": _("For all numbers without a queue of their own"),
        "steps": _("Step"),
        "steps.after_s": _("Waited, in seconds"),
        "steps.text": _("What is required"),
        "selection": _("Who is chosen"),
        "preferred": _("Given first to"),
        "preferred_patience_s": _("For how many seconds"),
        "parallel": _("Phones that ring at once"),
        "priority": _("Priority"),
        "ageing_s": _("Seconds of waiting that outweigh a point"),
        "ring_timeout_s": _("Ringing, in seconds"),
        "hold_recall_s": _("Reminder of a caller on hold after seconds, 0: never"),
        "wrap_up_s": _("Wrap-up, in seconds"),
        "breather_s": _("Breather, in seconds"),
        "breather_after_s": _("After a talk of so many seconds"),
        "service_level_s": _("Answered within, in seconds"),
        "service_level_target": _("Share of calls, in percent"),
        "short_abandon_s": _("Who gives up sooner is not counted, in seconds"),
        "calendar": _("Opening hours"),
        "closed_to": _("When closed, callers go to"),
        "overflows": _("Overflow"),
        "overflows.when": _("When"),
        "overflows.limit": _("Limit"),
        "overflows.to": _("Go to"),
        "comfort": _("While waiting"),
        "comfort.greeting": _("Greeting"),
        "comfort.music": _("Music"),
        "comfort.message": _("Message"),
        "comfort.every_s": _("Every so many seconds, 0: never"),
        "comfort.says_position": _("Tell the place in the queue"),
        "comfort.says_wait": _("Tell the expected wait"),
        "comfort.callback_after_s": _("Offer a call back after seconds, 0: never"),
        "comfort.voicemail_key": _("Key for leaving a message"),
        "callback": _("Call back"),
        "callback.calendar": _("Allowed hours"),
        "callback.expires_s": _("Kept for how many seconds"),
        "callback.trunk": _("Trunk"),
        "callback.shown_number": _("Number shown to the caller"),
        "callback.ring_s": _("Ringing, in seconds"),
        "callback.prefixes": _("Beginnings of other numbers that callers may type"),
        "emergency_message": _("Emergency message"),
        "recording": _("Recording"),
        "keeps_objected": _("Keep what was recorded before an objection"),
        # agents
        "team": _("Team"),
        "pbx": _("Telephone system"),
        "phone_kind": _("Phone"),
        "endpoint": _("Phone's name or number"),
        "skills": _("Skill"),
        "queues": _("Queue"),
        "may_see_numbers": _("May see callers' numbers"),
        # hours
        "zone": _("Time zone"),
        "monday": _("Monday"),
        "tuesday": _("Tuesday"),
        "wednesday": _("Wednesday"),
        "thursday": _("Thursday"),
        "friday": _("Friday"),
        "saturday": _("Saturday"),
        "sunday": _("Sunday"),
        "days": _("Special day"),
        # menus and numbers
        "prompt": _("Announcement"),
        "options": _("Key"),
        "otherwise": _("Who chooses nothing goes to"),
        "timeout_s": _("Waits for a key, in seconds"),
        "tries": _("Tries"),
        "account_digits": _("Digits of the account number, 0: not asked for"),
        "has_check_digit": _("Its last digit is a check digit"),
        "dnis": _("Number dialled"),
        "queue": _("Queue"),
        "menu": _("Menu"),
        "key": _("Key"),
        # the whole site
        "tiers": _("Customer's tier"),
        "most_occupied": _("Most occupied, in percent"),
        "outside_allowed": _("Beginnings of numbers outside that callers may be handed on to"),
        "outside_refused": _("Of these, beginnings that are refused"),
        "is_spying_shown": _("Agents see who listens to their call"),
    }
)
"""Field → label; what is inside another field by its whole name, without numbers and keys."""

CHOICES: Mapping[str, str] = MappingProxyType(
    {
        "longest_idle": _("Free for the longest time"),
        "best_skilled": _("Most proficient"),
        "least_occupied": _("Least busy over the last hour"),
        "fewest_skills": _("Fewest skills, so that the versatile stay free"),
        "round_robin": _("In turn"),
        "weighted_random": _("By lot, weighted by proficiency"),
        "none": _("Nobody in particular"),
        "owner": _("Whose customer it is"),
        "last_agent": _("Who spoke with the customer last"),
        "waited": _("Waited for seconds"),
        "length": _("Callers waiting already"),
        "expected_wait": _("Expected wait over seconds"),
        "no_agents": _("Nobody logged in for seconds"),
        "browser": _("In the browser"),
        "desk": _("On the desk"),
        "outside": _("A number outside"),
        "off": _("Not recorded"),
        "announced": _("After an announcement"),
        "consent": _("With the caller's consent"),
        "True": _("yes"),
        "False": _("no"),
    }
)

PROBLEMS: Mapping[str, str] = MappingProxyType(
    {
        "required": _("This is needed."),
        "malformed": _("This can't be written so."),
        "out_of_range": _("This number is too small or too large."),
        "not_a_number": _("A number is needed."),
        "not_a_choice": _("This is not one of the choices."),
        "too_long": _("This is too long."),
        "too_many": _("These are too many."),
        "control_characters": _("Line breaks and control characters can't be used here."),
        "not_from_the_start": _("The first step begins at 0 seconds."),
        "not_ascending": _("Each step begins later than the one before."),
        "to_itself": _("Callers would come back to this queue."),
        "no_callback": _("Switch call back on, too."),
        "not_hours": _("Hours are written like 08:00-12:00 13:00-18:00."),
        "not_a_date": _("A date is written like 2026-10-01."),
        "unknown_zone": _("There is no such time zone."),
        "twice": _("This is there twice."),
        "taken": _("Something else has this already."),
        "taken_by_the_language": _("This word means something else in expressions."),
        "unknown": _("There is no such thing."),
        "unknown_queue": _("There is no such queue."),
        "queue_not_in_use": _("This queue is not in use."),
        "agent_not_in_use": _("This agent is not in use."),
        "no_way_out": _("Who chooses nothing would go round for ever."),
        "unknown_agent": _("There is no such agent."),
        "unknown_menu": _("There is no such menu."),
        "unknown_calendar": _("There are no such opening hours."),
        "unknown_product": _("There is no such product."),
        "somebody_logs_in_as": _("Somebody logs in as this agent."),
        "customers_have_it": _("Customers have this product."),
        "changed_meanwhile": _("Somebody changed this while you had it open. Save again to replace what they did."),
        # cti.routing.expression
        "too_deep": _("There are too many brackets inside each other."),
        "too_many_comparisons": _("There are too many comparisons."),
        "unknown_character": _("This character means nothing here."),
        "unclosed_text": _("The closing quotation mark is missing."),
        "unclosed_bracket": _("The closing bracket is missing."),
        "expected_comparison": _("A skill, a bracket or “not” is needed here."),
        "expected_operator": _("A comparison such as >= is needed here."),
        "expected_value": _("A number or a text is needed here."),
        "expected_and_or": _("“and” or “or” is needed here."),
        "two_values": _("One side must be a name."),
        "two_names": _("One side must be a number or a text."),
        "text_for_skill": _("A skill is compared with a number from 1 to 10."),
        "text_not_ordered": _("A text is equal or it is not."),
        "proficiency_out_of_range": _("Proficiency goes from 1 to 10."),
        "single_equals": _("“Equal” is written ==."),
        # crm_core.errors.CannotUndo
        "changed_since": _("It was changed again since: undo that first."),
        "is_gone": _("It does not exist any more."),
        "is_back": _("It exists again."),
        "is_undone": _("This was undone already."),
        # web.prompts
        "not_a_wav": _("This is not a WAV file with PCM samples."),
        "not_writable": _("The folder of the announcements can't be written to by this program."),
        "too_short": _("This is too short to be heard."),
    }
)
_ELSEWHERE = _("{kind} {key}, {field}: {problem}")


def kind_word(gettext: Gettext, kind: str) -> str:
    """What a kind of setting is called."""
    return gettext(KINDS[kind]) if kind in KINDS else kind


def choice_word(gettext: Gettext, choice: object) -> str:
    """What a choice, a flag or anything else is called; texts of the site's own stay as they are."""
    said = CHOICES.get(str(choice))
    return gettext(said) if said is not None else str(choice)


def field_words(gettext: Gettext, field: str) -> str:
    """What a field is called: ``steps.1.text`` is its step, counted from 1, and its part."""
    told: list[str] = []
    known: list[str] = []
    for part in field.split("."):
        name = ".".join((*known, part))
        if name in FIELDS:
            known.append(part)
            told.append(gettext(FIELDS[name]))
        else:
            told.append(str(int(part) + 1) if part.isdecimal() and known != ["options"] else part)
    return " ".join(told)


def problem_words(gettext: Gettext, problem: str) -> str:
    """What is wrong, as a sentence."""
    return gettext(PROBLEMS[problem]) if problem in PROBLEMS else problem.replace("_", " ")


def fault_words(gettext: Gettext, kind: str, key: str, field: str, problem: str) -> str:
    """What is wrong with another setting."""
    return gettext(_ELSEWHERE).format(
        kind=kind_word(gettext, kind),
        key=key,
        field=field_words(gettext, field),
        problem=problem_words(gettext, problem),
    )
