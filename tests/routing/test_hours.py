"""Opening hours over clock changes, holidays and make-up workdays."""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cti.errors import BadInput
from cti.routing.hours import is_open, opens_at
from cti.routing.plan import Calendar

OFFICE = ((480, 720), (780, 1080))
"""Eight to twelve and one to six."""
WEEK = (OFFICE, OFFICE, OFFICE, OFFICE, OFFICE, (), ())


def at(zone: str, text: str, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def calendar(zone: str = "Europe/Berlin", **changes: object) -> Calendar:
    return Calendar("main", "Main", zone, **{"weekly": WEEK, **changes})  # type: ignore[arg-type]


def test_it_is_open_from_the_first_minute_and_closed_from_the_last() -> None:
    office = calendar()
    times = ("07:59:59", "08:00", "11:59:59", "12:00", "13:00", "17:59", "18:00")
    assert [is_open(office, at("Europe/Berlin", f"2026-11-23T{one}")) for one in times] == [
        False,
        True,
        True,
        False,
        True,
        True,
        False,
    ]


def test_a_holiday_is_closed_and_a_make_up_workday_is_open() -> None:
    """China, National Day 2026: Thursday the first is off, Saturday the tenth is worked."""
    office = calendar("Asia/Shanghai", days={"2026-10-01": (), "2026-10-10": OFFICE})
    assert not is_open(office, at("Asia/Shanghai", "2026-10-01T10:00"))
    assert is_open(office, at("Asia/Shanghai", "2026-10-10T10:00"))
    assert opens_at(office, at("Asia/Shanghai", "2026-09-30T18:00")) == at("Asia/Shanghai", "2026-10-02T08:00")


def test_over_the_weekend_it_opens_on_monday() -> None:
    assert opens_at(calendar(), at("Europe/Berlin", "2026-11-20T18:00")) == at("Europe/Berlin", "2026-11-23T08:00")


def test_the_hour_that_comes_twice_is_open_twice_and_the_missing_one_never() -> None:
    night = calendar(weekly=(((0, 150),), (), (), (), (), (), ((150, 165),)))
    # 25 October 2026, a Sunday: 2:30 comes twice.
    assert is_open(night, at("Europe/Berlin", "2026-10-25T02:30"))
    assert is_open(night, at("Europe/Berlin", "2026-10-25T02:30", fold=1))
    between = at("Europe/Berlin", "2026-10-25T02:50")
    assert opens_at(night, between) == at("Europe/Berlin", "2026-10-25T02:30", fold=1)
    # 28 March 2027, a Sunday: there is no 2:30, so the next opening is Monday's.
    spring = at("Europe/Berlin", "2027-03-28T01:00")
    assert opens_at(night, spring) == at("Europe/Berlin", "2027-03-29T00:00")


def test_an_opening_inside_the_jump_is_where_the_clock_lands() -> None:
    early = calendar(weekly=((),) * 6 + (((150, 240),),))
    assert opens_at(early, at("Europe/Berlin", "2027-03-28T01:00")) == at("Europe/Berlin", "2027-03-28T03:00")


def test_what_never_opens_says_so() -> None:
    assert opens_at(calendar(weekly=((),) * 7), at("Europe/Berlin", "2026-11-20T18:00")) is None


def test_an_unknown_zone_is_refused() -> None:
    for name in ("Europe/Nowhere", "../../etc/passwd", ""):
        with pytest.raises(BadInput):
            is_open(calendar(name), 0.0)


intervals = st.lists(
    st.tuples(st.integers(0, 1439), st.integers(1, 1440)).filter(lambda one: one[0] < one[1]), max_size=3
).map(tuple)
calendars = st.builds(
    Calendar,
    st.just("main"),
    st.just("Main"),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Shanghai", "Australia/Lord_Howe", "Africa/Casablanca"]),
    st.tuples(*[intervals] * 7),
    st.dictionaries(st.dates(date(2026, 1, 1), date(2027, 12, 31)).map(str), intervals),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(calendars, st.integers(1_767_225_600, 1_830_000_000))
def test_at_the_next_opening_it_is_open_and_until_then_it_is_not(office: Calendar, now: int) -> None:
    opening = opens_at(office, float(now))
    if opening is None:
        return
    assert opening >= now
    assert is_open(office, opening)
    minutes = range(now, min(int(opening), now + 3 * 86400), 600)
    assert not any(is_open(office, float(one)) for one in minutes if one < opening)
    if opening > now:
        assert not is_open(office, opening - 1)
