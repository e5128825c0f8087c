"""Described centres for the tests."""

from __future__ import annotations

from typing import Any

from cti.whatif.described import CentreWords, scenario_of
from cti.whatif.scenario import Scenario


def centre(**words: Any) -> Scenario:
    """A scenario from words as a file has them."""
    return scenario_of(CentreWords.model_validate(words))


def as_in_theory(
    agents: int, calls_per_hour: float, talk_s: float, *, patience_s: float | None = None, hours: float, warm_up_s: int
) -> Scenario:
    """One queue, phones that are answered at once, no wrap-up."""
    queue: dict[str, Any] = {"calls_per_hour": calls_per_hour, "talk": talk_s, "wrap_up_s": 0, "short_abandon_s": 0}
    if patience_s is not None:
        queue["patience"] = patience_s
    return whole_day(hours, queues={"q": queue}, agents=[{"count": agents}], warm_up_s=warm_up_s)


def whole_day(hours: float, **words: Any) -> Scenario:
    """A day from midnight for ``hours``, phones answered at once."""
    minutes = round(hours * 60)
    assert minutes <= 24 * 60
    closes = f"{minutes // 60:02}:{minutes % 60:02}"
    return centre(opens="00:00", closes=closes, ring_s=[0, 0], run_on_s=86_400, **words)
