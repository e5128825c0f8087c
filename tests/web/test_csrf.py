from __future__ import annotations

import pytest

from web import csrf

SITE = frozenset({"https://calls.example"})


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://calls.example", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "https://calls.example"},
        {"Sec-Fetch-Site": "same-origin"},
    ],
)
def test_a_request_of_our_own_page_passes(headers: dict[str, str]) -> None:
    assert csrf.is_from_here(headers, SITE)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "null"},
        {"Origin": "https://evil.example"},
        {"Origin": "http://calls.example"},
        {"Origin": "https://calls.example:8443"},
        {"Origin": "https://calls.example", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "https://calls.example", "Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-site"},
        {"Referer": "https://calls.example/desk"},
    ],
)
def test_every_other_request_is_refused_also_when_the_headers_are_missing(headers: dict[str, str]) -> None:
    assert not csrf.is_from_here(headers, SITE)


def test_a_token_belongs_to_one_session_and_does_not_show_it() -> None:
    token = csrf.token_of("secret-of-one")
    assert csrf.is_token_right("secret-of-one", token)
    assert not csrf.is_token_right("secret-of-another", token)
    assert not csrf.is_token_right("secret-of-one", None)
    assert not csrf.is_token_right("secret-of-one", "")
    assert not csrf.is_token_right("secret-of-one", "ü")
    assert "secret" not in token
