"""Telephone numbers as people, lists and networks write them. Everything given here is hostile until parsed.

The traps handled before the number library is asked: extensions (``转``, ``分机``, ``#``, ``ext``), full-width digits
and brackets, ``0086``, short numbers such as 95588 (the library makes an invalid ``+8695588`` of it), internal
extensions, and the words that networks send in place of a withheld number.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import phonenumbers
from phonenumbers import shortnumberinfo

LONGEST_RAW = 80
LONGEST_INTERNAL = 6
FEWEST_DIGITS_ABROAD = 10

_WITHHELD = frozenset(
    [
        "anonymous",
        "unknown",
        "withheld",
        "restricted",
        "private",
        "unavailable",
        "blocked",
        "asserted",
        "hidden",
        "privatenumber",
        "unknownnumber",
        "nocallerid",
        "notavailable",
        "outofarea",
        "匿名",
        "未知",
        "未知号码",
        "隐藏",
        "隐藏号码",
        "私人号码",
        "不显示",
        "無顯示",
        "無來電顯示",
    ]
)
_SCHEME = re.compile(r"^(?:sips?|tel):", re.IGNORECASE)
_EXTENSION = re.compile(r"(?:转|轉|分机|分機|;ext=|ext(?:ension)?\.?|[x#,;])[\s:]*([0-9]{1,12})\D*$", re.IGNORECASE)
_ALLOWED = re.compile(r"^\+?[0-9 ().\-/–—‑·]*$")
_NOT_A_DIGIT = re.compile(r"[^0-9]")

_LINE_TYPES = {
    phonenumbers.PhoneNumberType.FIXED_LINE: "fixed",
    phonenumbers.PhoneNumberType.MOBILE: "mobile",
    phonenumbers.PhoneNumberType.FIXED_LINE_OR_MOBILE: "fixed_or_mobile",
    phonenumbers.PhoneNumberType.TOLL_FREE: "toll_free",
    phonenumbers.PhoneNumberType.PREMIUM_RATE: "premium",
    phonenumbers.PhoneNumberType.SHARED_COST: "shared_cost",
    phonenumbers.PhoneNumberType.VOIP: "voip",
    phonenumbers.PhoneNumberType.PERSONAL_NUMBER: "personal",
    phonenumbers.PhoneNumberType.PAGER: "pager",
    phonenumbers.PhoneNumberType.UAN: "company",
    phonenumbers.PhoneNumberType.VOICEMAIL: "voicemail",
}


class NumberState(StrEnum):
    """What a text that should be a number is."""

    E164 = "e164"
    SHORT = "short"
    INTERNAL = "internal"
    WITHHELD = "withheld"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Number:
    """A parsed number. ``e164`` is empty unless ``state`` is E164, ``digits`` are those of the number without its
    extension; ``region`` is an ISO 3166 code or empty, ``line_type`` one of ours or empty."""

    state: NumberState
    e164: str = ""
    digits: str = ""
    extension: str = ""
    region: str = ""
    line_type: str = ""


def digits(raw: str) -> str:
    """The digits of a text as 0–9, full-width and other scripts' digits included."""
    return "".join(
        str(unicodedata.decimal(character)) for character in raw if unicodedata.decimal(character, None) is not None
    )


@lru_cache(maxsize=4096)
def parse_number(raw: str, default_region: str) -> Number:
    """What ``raw`` is, read as it would be dialled in ``default_region`` (ISO 3166, for instance ``CN``)."""
    if len(raw) > LONGEST_RAW:
        return Number(NumberState.INVALID)
    text = unicodedata.normalize("NFKC", raw).strip().strip("<>")
    text = _SCHEME.sub("", text).partition("@")[0].strip()
    if not text or re.sub(r"[\s_.\-]", "", text).casefold() in _WITHHELD:
        return Number(NumberState.WITHHELD)
    text = text.partition(";")[0] if ";ext=" not in text else text
    extension = ""
    if found := _EXTENSION.search(text):
        extension = found[1]
        text = text[: found.start()].strip()
    is_readable = text.isascii() or not any(character.isalnum() and not character.isascii() for character in text)
    dialled = _NOT_A_DIGIT.sub("", text)
    if not dialled or not is_readable or not _ALLOWED.match(text):
        return Number(NumberState.INVALID)
    is_international = text.startswith("+")
    if not is_international and not extension and (short := _short(dialled, default_region)):
        return short
    for candidate in _candidates(dialled, default_region, is_international=is_international):
        if number := _full(candidate, default_region, dialled, extension):
            return number
    return Number(NumberState.INVALID, digits=dialled, extension=extension)


def _short(dialled: str, region: str) -> Number | None:
    if not 2 <= len(dialled) <= LONGEST_INTERNAL:
        return None
    parsed = phonenumbers.PhoneNumber(
        country_code=phonenumbers.country_code_for_region(region), national_number=int(dialled)
    )
    is_short = not dialled.startswith("0") and shortnumberinfo.is_valid_short_number_for_region(parsed, region)
    return Number(NumberState.SHORT if is_short else NumberState.INTERNAL, digits=dialled)


def _candidates(dialled: str, region: str, *, is_international: bool) -> tuple[str, ...]:
    if is_international:
        return (f"+{dialled}",)
    # Trunks hand over 00 and the country whatever the region's own way of dialling abroad is.
    if dialled.startswith("00") and len(dialled) >= FEWEST_DIGITS_ABROAD:
        return (f"+{dialled[2:]}", dialled)
    return (dialled, f"+{dialled}") if len(dialled) >= FEWEST_DIGITS_ABROAD else (dialled,)


def _full(candidate: str, region: str, dialled: str, extension: str) -> Number | None:
    try:
        parsed = phonenumbers.parse(candidate, region)
    except phonenumbers.NumberParseException:
        return None
    is_valid = phonenumbers.is_valid_number(parsed)
    # Ranges newer than the library's tables: believed when the country was given.
    is_plausible = candidate.startswith("+") and (
        phonenumbers.is_possible_number_with_reason(parsed) == phonenumbers.ValidationResult.IS_POSSIBLE
    )
    if not is_valid and not is_plausible:
        return None
    return Number(
        NumberState.E164,
        e164=phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164),
        digits=dialled,
        extension=extension,
        region=(phonenumbers.region_code_for_number(parsed) or "")[:3],
        line_type=_LINE_TYPES.get(phonenumbers.number_type(parsed), "") if is_valid else "",
    )
