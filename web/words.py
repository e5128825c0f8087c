"""A word for each stable code that people see, by ``group.code``. Pages and scripts share them; a code without a word
is shown as it is, with blanks for underscores."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def _(message: str) -> str:
    """Marks a message for extraction; the translation is looked up when a page is rendered."""
    return message


WORDS: Mapping[str, str] = MappingProxyType(
    {
        # cti.events.AgentState
        "state.LOGGED_OUT": _("Logged out"),
        "state.NOT_READY": _("Not ready"),
        "state.AVAILABLE": _("Available"),
        "state.RESERVED": _("Ringing"),
        "state.ON_CALL": _("On call"),
        "state.WRAP_UP": _("Wrap-up"),
        # cti.floor.CallView.phase and the desk's phases
        "phase.offered": _("Arriving"),
        "phase.waiting": _("Waiting"),
        "phase.ringing": _("Ringing"),
        "phase.talking": _("Talking"),
        "phase.held": _("On hold"),
        "phase.consulting": _("Consulting"),
        "phase.fallback": _("In the fall-back queue"),
        "phase.wrap_up": _("Wrap-up"),
        "direction.inbound": _("Incoming"),
        "direction.outbound": _("Outgoing"),
        "direction.internal": _("Internal"),
        # cti.events.InteractionEnded.outcome
        "outcome.answered": _("Answered"),
        "outcome.abandoned": _("Gave up waiting"),
        "outcome.short_abandoned": _("Gave up at once"),
        "outcome.fell_back": _("Went to the fall-back queue"),
        "outcome.busy": _("Busy"),
        "outcome.no_answer": _("No answer"),
        "outcome.failed": _("Failed"),
        "outcome.unknown": _("Unknown"),
        # cti.events.DialOutcome and HangupCause, of one leg
        "leg.answered": _("Answered"),
        "leg.busy": _("Busy"),
        "leg.no_answer": _("No answer"),
        "leg.cancelled": _("Cancelled"),
        "leg.rejected": _("Rejected"),
        "leg.unreachable": _("Unreachable"),
        "leg.forwarded": _("Forwarded"),
        "leg.failed": _("Failed"),
        "leg.normal": _("Ended normally"),
        "leg.unallocated": _("Number not in use"),
        "leg.congestion": _("Network congestion"),
        "leg.answered_elsewhere": _("Answered elsewhere"),
        "role.customer": _("Customer"),
        "role.caller": _("Caller"),
        "role.agent": _("Agent"),
        "role.consult": _("Consulted"),
        "role.other": _("Other"),
        "recording.pending": _("Being written"),
        "recording.complete": _("Complete"),
        "recording.silent": _("Silent"),
        "recording.missing": _("Missing"),
        "recording.on": _("Recording"),
        "recording.paused": _("Recording paused"),
        "recording.off": _("Not recorded"),
        # cti.events.DeskStale.why
        "desk.gone": _("Page closed"),
        "desk.silent": _("Page silent"),
        "desk.asleep": _("Page asleep"),
        "desk.no_microphone": _("No microphone"),
        "kind.person": _("Person"),
        "kind.organisation": _("Organisation"),
        "relation.owns": _("Owns"),
        "relation.asks_about": _("Asks about"),
        "how.account": _("by account number"),
        "how.number": _("by phone number"),
        "how.none": _("nobody found"),
        "how.failed": _("look-up failed"),
        "how.chosen": _("chosen by the agent"),
        "tier.platinum": _("Platinum"),
        "tier.gold": _("Gold"),
        "tier.silver": _("Silver"),
        "tier.bronze": _("Bronze"),
        "tier.standard": _("Standard"),
        "status.active": _("Active"),
        "status.inactive": _("Inactive"),
        "status.prospect": _("Prospect"),
        "status.dormant": _("Dormant"),
        "status.lost": _("Former customer"),
        "status.closed": _("Closed"),
        "flag.vip": _("VIP"),
        "flag.complaint_open": _("Open complaint"),
        "flag.payment_overdue": _("Payment overdue"),
        "flag.slow_payer": _("Slow payer"),
        "flag.no_marketing": _("No advertising"),
        "flag.do_not_call": _("Do not call"),
        "flag.fraud_watch": _("Fraud watch"),
    }
)
