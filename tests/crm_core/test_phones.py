from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm_core.phones import NumberState, digits, parse_number


@pytest.mark.parametrize(
    ("raw", "region", "e164"),
    [
        ("138 0013 8000", "CN", "+8613800138000"),
        ("+86 138-0013-8000", "CN", "+8613800138000"),
        ("0086-13800138000", "CN", "+8613800138000"),
        ("0086-13800138000", "US", "+8613800138000"),
        ("013800138000", "CN", "+8613800138000"),
        ("8613800138000", "CN", "+8613800138000"),
        ("１３８００１３８０００", "CN", "+8613800138000"),
        ("＋８６ １３８００１３８０００", "US", "+8613800138000"),
        ("021-6381 0000", "CN", "+862163810000"),
        ("(415) 555-2671", "US", "+14155552671"),
        ("14155552671", "US", "+14155552671"),
        ("sip:+442079460123@pbx.example;user=phone", "CN", "+442079460123"),
        ("tel:+44-20-7946-0123", "CN", "+442079460123"),
        ("+852 2123 4567", "CN", "+85221234567"),
    ],
)
def test_numbers_become_e164_however_they_are_written(raw: str, region: str, e164: str) -> None:
    number = parse_number(raw, region)
    assert (number.state, number.e164) == (NumberState.E164, e164)


@pytest.mark.parametrize(
    ("raw", "e164", "extension"),
    [
        ("（021）6381-0000转1234", "+862163810000", "1234"),
        ("021-63810000 分机 12", "+862163810000", "12"),
        ("021-63810000#12", "+862163810000", "12"),
        ("021-63810000 ext. 12", "+862163810000", "12"),
        ("tel:+862163810000;ext=12", "+862163810000", "12"),
        ("+1 (415) 555-2671 x12", "+14155552671", "12"),
    ],
)
def test_an_extension_is_kept_apart_from_the_number(raw: str, e164: str, extension: str) -> None:
    number = parse_number(raw, "CN")
    assert (number.state, number.e164, number.extension) == (NumberState.E164, e164, extension)


@pytest.mark.parametrize(
    ("raw", "region", "state"),
    [
        ("95588", "CN", NumberState.SHORT),
        ("110", "CN", NumberState.SHORT),
        ("911", "US", NumberState.SHORT),
        ("8001", "CN", NumberState.INTERNAL),
        ("anonymous", "CN", NumberState.WITHHELD),
        ("Anonymous", "US", NumberState.WITHHELD),
        ("sip:anonymous@anonymous.invalid", "US", NumberState.WITHHELD),
        ("PRIVATE NUMBER", "US", NumberState.WITHHELD),
        ("<unknown>", "US", NumberState.WITHHELD),
        ("未知号码", "CN", NumberState.WITHHELD),
        ("", "CN", NumberState.WITHHELD),
        ("  ", "CN", NumberState.WITHHELD),
        ("+", "CN", NumberState.INVALID),
        ("+()", "CN", NumberState.INVALID),
        ("1-800-FLOWERS", "US", NumberState.INVALID),
        ("13800138000; DROP TABLE party", "CN", NumberState.E164),
        ("${SHELL(id)}", "CN", NumberState.INVALID),
        ("+99912", "CN", NumberState.INVALID),
        ("1" * 200, "CN", NumberState.INVALID),
        ("٠" * 40, "CN", NumberState.INVALID),
    ],
)
def test_what_is_no_full_number_is_told_apart(raw: str, region: str, state: NumberState) -> None:
    assert parse_number(raw, region).state is state


def test_the_line_type_and_region_of_a_number_are_known() -> None:
    number = parse_number("+8613800138000", "US")
    assert (number.region, number.line_type) == ("CN", "mobile")


@given(st.text(max_size=120), st.sampled_from(["CN", "US", "DE", "HK"]))
def test_no_text_breaks_the_parser_and_only_digits_come_out(raw: str, region: str) -> None:
    number = parse_number(raw, region)
    assert (number.state is NumberState.E164) == bool(number.e164)
    assert all(character in "+0123456789" for character in number.e164 + number.digits + number.extension)
    assert len(number.e164) <= 16


@given(st.from_regex(r"\+861(3[0-9]|8[0-9])[0-9]{8}", fullmatch=True))
def test_parsing_its_own_result_changes_nothing(e164: str) -> None:
    number = parse_number(e164, "US")
    assert parse_number(number.e164, "CN").e164 == number.e164


def test_digits_are_read_in_any_script() -> None:
    assert digits("＋８６ (١٢٣) x") == "86123"


def test_the_slow_geocoder_is_not_loaded() -> None:
    code = (
        "import sys, crm_core.phones as p; p.parse_number('13800138000', 'CN'); "
        "print('phonenumbers.geocoder' in sys.modules)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == "False"
