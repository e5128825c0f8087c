from __future__ import annotations

import pytest

from web.login_limits import ACCOUNT, FORGET_AFTER_S, MAX_COUNTS, PAIR, LoginLimits, network_of


def failed(limits: LoginLimits, account: str, address: str, times: int, *, now: float) -> None:
    for _ in range(times):
        limits.attempted(account, address, now=now)


def test_a_few_wrong_passwords_cost_no_wait() -> None:
    limits = LoginLimits()
    failed(limits, "li.wei", "10.0.0.1", PAIR.free - 1, now=0.0)
    assert limits.wait_s("li.wei", "10.0.0.1", now=0.0) == 0.0


def test_the_wait_grows_with_each_further_failure_up_to_a_bound() -> None:
    limits = LoginLimits()
    failed(limits, "li.wei", "10.0.0.1", PAIR.free, now=0.0)
    waits = []
    for _ in range(12):
        waits.append(limits.wait_s("li.wei", "10.0.0.1", now=0.0))
        limits.attempted("li.wei", "10.0.0.1", now=0.0)
    assert waits == sorted(waits)
    assert waits[0] == PAIR.first_wait_s
    assert waits[1] == 2 * PAIR.first_wait_s
    assert waits[-1] == PAIR.longest_wait_s


def test_the_wait_passes() -> None:
    limits = LoginLimits()
    failed(limits, "li.wei", "10.0.0.1", PAIR.free, now=100.0)
    assert limits.wait_s("li.wei", "10.0.0.1", now=100.0 + PAIR.first_wait_s - 1) == 1.0
    assert limits.wait_s("li.wei", "10.0.0.1", now=100.0 + PAIR.first_wait_s) == 0.0


def test_the_right_password_clears_the_account() -> None:
    limits = LoginLimits()
    failed(limits, "li.wei", "10.0.0.1", PAIR.free, now=0.0)
    limits.attempted("li.wei", "10.0.0.1", now=20.0)
    limits.succeeded("li.wei", "10.0.0.1")
    assert limits.wait_s("li.wei", "10.0.0.1", now=20.0) == 0.0


def test_an_address_that_guesses_many_accounts_waits_even_with_one_guess_each() -> None:
    limits = LoginLimits()
    for number in range(20):
        limits.attempted(f"user{number}", "10.0.0.9", now=0.0)
    assert limits.wait_s("somebody.else", "10.0.0.9", now=0.0) > 0.0
    assert limits.wait_s("somebody.else", "10.0.0.10", now=0.0) == 0.0


@pytest.mark.parametrize("attempts", [1, 30, 31, 35, 1000, 3000])
def test_nobody_can_lock_an_account_for_another_address_for_more_than_a_minute(attempts: int) -> None:
    limits = LoginLimits()
    for number in range(attempts):
        limits.attempted("li.wei", f"10.1.{number // 250 % 250}.{number % 250}", now=0.0)
    assert limits.wait_s("li.wei", "192.0.2.7", now=0.0) <= ACCOUNT.longest_wait_s


def test_case_and_blanks_do_not_make_another_account() -> None:
    limits = LoginLimits()
    failed(limits, " Li.Wei", "10.0.0.1", PAIR.free, now=0.0)
    assert limits.wait_s("li.wei", "10.0.0.1", now=0.0) > 0.0


def test_one_subscriber_of_ipv6_counts_once() -> None:
    assert network_of("2001:db8:1:2:3::1") == network_of("2001:db8:1:2:ffff::9")
    assert network_of("2001:db8:1:2::1") != network_of("2001:db8:1:3::1")
    assert network_of("::ffff:10.0.0.1") == network_of("10.0.0.1")
    assert network_of("nonsense") == "unknown"


def test_failures_are_forgotten_after_an_hour_of_quiet() -> None:
    limits = LoginLimits()
    failed(limits, "li.wei", "10.0.0.1", 30, now=0.0)
    assert limits.wait_s("li.wei", "10.0.0.1", now=FORGET_AFTER_S + 1) == 0.0
    limits.attempted("li.wei", "10.0.0.1", now=FORGET_AFTER_S + 1)
    assert limits.wait_s("li.wei", "10.0.0.1", now=FORGET_AFTER_S + 1) == 0.0


def test_memory_is_bounded() -> None:
    limits = LoginLimits()
    for number in range(MAX_COUNTS):
        limits.attempted(f"user{number}", "10.0.0.1", now=0.0)
    assert len(limits._counts) <= MAX_COUNTS
