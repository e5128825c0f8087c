"""A described centre runs through the same deciding core, and its books balance."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from cti import events as e
from cti.cli import app
from cti.errors import BadInput
from cti.events import Event
from cti.ids import AgentId, QueueId
from cti.whatif.books import Outcome
from cti.whatif.described import CentreWords, one_queue, scenario_of
from cti.whatif.figures import Figures, estimate, figures, gini, percentile, student
from cti.whatif.run import Run, run, run_all
from cti.whatif.scenario import Scenario
from cti.whatif.words import read_text
from tests.sim.centres import centre

DOCS = Path(__file__).parents[2] / "docs" / "simulate.md"


def examples() -> list[str]:
    """The TOML files of the manual."""
    return re.findall(r"```toml\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)


def small(**words: object) -> Scenario:
    """One queue, one agent, two hours."""
    queue = {"calls_per_hour": 30, "talk": 60, "patience": 60, "wrap_up_s": 0}
    return centre(opens="08:00", closes="10:00", **{"queues": {"main": queue}, "agents": [{"count": 1}]} | words)


def all_of(scenario: Scenario, seed: int = 1) -> Figures:
    """The figures of one day."""
    return figures(run(scenario, seed), scenario.plan)[None]


def test_the_manuals_centre_runs_and_its_books_balance() -> None:
    scenario = scenario_of(read_text(examples()[0], CentreWords))
    found = figures(run(scenario, 1), scenario.plan)
    assert set(found) == {None, "english", "help"}
    assert all(one.is_balanced for one in found.values())
    assert found[None].offered > 200
    assert found[None].answered > 0.7 * found[None].offered
    assert found[None].fell_back == found[None].other == found[None].in_progress == 0


def test_the_same_seed_tells_the_same_day_and_another_seed_another() -> None:
    days: list[list[Event]] = []
    for seed in (3, 3, 4):
        facts: list[Event] = []
        Run(small(), seed=seed, on_fact=facts.append).run()
        days.append(facts)
    assert days[0] == days[1] != days[2]


def test_two_plans_meet_the_same_callers() -> None:
    few, many = (run(small(agents=[{"count": count}]), 7) for count in (1, 3))
    assert [one.began_at for one in few.callers] == [one.began_at for one in many.callers]
    assert sum(one.outcome is Outcome.ANSWERED for one in few.callers) < sum(
        one.outcome is Outcome.ANSWERED for one in many.callers
    )


def test_more_agents_answer_more_callers_in_time() -> None:
    few, many = (
        all_of(one_queue(agents=agents, calls_per_hour=150, hours=2, talk_s=150, patience_s=90)) for agents in (5, 12)
    )
    assert many.service_level is not None
    assert few.service_level is not None
    assert many.service_level > few.service_level
    assert (many.occupancy or 0) < (few.occupancy or 0)


def test_who_finds_no_free_line_is_counted_apart() -> None:
    scenario = small(lines=1)
    found = figures(run(scenario, 1), scenario.plan)
    assert found[QueueId("main")].blocked == found[None].blocked > 5
    assert found[None].is_balanced
    assert found[None].most_waiting == 1


def test_agents_serve_only_in_their_shifts_and_finish_the_call_that_they_have() -> None:
    scenario = small(agents=[{"count": 1, "shifts": ["08:30-09:00"]}])
    talks = [one for one in run(scenario, 2).callers if one.outcome is Outcome.ANSWERED]
    minutes = [((one.ended_at or 0.0) - scenario.starts_at) / 60 for one in talks]
    assert minutes
    assert all(30 <= minute <= 60 for minute in minutes)


def test_a_step_lets_others_serve_who_waited_long_enough() -> None:
    queue = {"calls_per_hour": 40, "talk": 120, "steps": [{"requires": "english >= 7"}, {"after_s": 30}]}
    agents = [{"name": "good", "skills": {"english": 8}}, {"name": "weak", "skills": {"english": 3}}]
    callers = run(small(queues={"main": queue}, agents=agents), 1).callers
    waits = [one.wait_s for one in callers if one.agent == "weak1"]
    assert waits
    assert min(waits) >= 30


def test_who_waits_too_long_overflows_and_opens_an_offer_in_the_next_queue() -> None:
    queues = {
        "busy": {
            "calls_per_hour": 60,
            "talk": 120,
            "overflows": [{"when": "waited", "limit": 20, "to": "queue:help"}],
        },
        "help": {"calls_per_hour": 0, "talk": 60},
    }
    scenario = small(queues=queues, agents=[{"queues": ["busy"]}, {"name": "h", "queues": ["help"], "count": 2}])
    day = run(scenario, 1)
    found = figures(day, scenario.plan)
    busy, everybody = found[QueueId("busy")], found[None]
    assert all(one.is_balanced for one in found.values())
    assert 5 < busy.overflowed == found[QueueId("help")].offered
    assert everybody.offered == busy.offered
    assert everybody.overflowed == 0
    assert everybody.answered == busy.answered + found[QueueId("help")].answered
    assert {round(one.wait_s) for one in day.offers if one.outcome is Outcome.OVERFLOWED} == {20}


def test_who_overflows_from_a_late_step_begins_at_the_next_queues_first() -> None:
    queues = {
        "busy": {
            "calls_per_hour": 40,
            "talk": 60,
            "steps": [{"requires": "english"}, {"after_s": 10, "requires": "german"}],
            "overflows": [{"when": "waited", "limit": 30, "to": "queue:help"}],
        },
        "help": {"calls_per_hour": 0, "talk": 60, "requires": "english"},
    }
    scenario = small(queues=queues, agents=[{"skills": {"english": 5, "german": 1}}])
    found = figures(run(scenario, 1), scenario.plan)
    assert found[QueueId("help")].offered > 5
    assert found[None].answered == found[None].offered


def test_who_calls_when_it_is_closed_is_counted_as_closed() -> None:
    queue = {"calls_per_hour": 60, "talk": 20, "calendar": "office"}
    scenario = small(queues={"main": queue}, calendars={"office": {"weekly": {"mon": ["08:00-09:00"]}}})
    day = run(scenario, 1)
    closed = [one.began_at - scenario.starts_at for one in day.callers if one.outcome is Outcome.CLOSED]
    assert closed
    assert min(closed) >= 3600
    assert all_of(scenario).is_balanced
    assert all(one.began_at < scenario.starts_at + 3600 for one in day.callers if one.outcome is Outcome.ANSWERED)


def test_who_knows_what_of_a_caller_reaches_routing() -> None:
    queue = {
        "calls_per_hour": 30,
        "talk": 10,
        "patience": 60,
        "requires": 'tier == "gold"',
        "kinds": [{"share": 0.5, "variables": {"tier": "gold"}}],
    }
    found = all_of(small(queues={"main": queue}))
    assert 0 < found.answered < found.offered


def test_a_short_wrap_up_ends_before_the_limit() -> None:
    def wrapped_s(**words: object) -> list[float]:
        began: dict[AgentId, float] = {}
        found: list[float] = []

        def watch(fact: Event) -> None:
            if isinstance(fact, e.AgentStateChanged):
                if fact.agent in began:
                    found.append(fact.at - began.pop(fact.agent))
                if fact.state == "WRAP_UP":
                    began[fact.agent] = fact.at

        queue = {"calls_per_hour": 30, "talk": 30, "wrap_up_s": 40, **words}
        Run(small(queues={"main": queue}), seed=1, on_fact=watch).run()
        return found

    assert set(wrapped_s()) == {40.0}
    drawn = wrapped_s(wrap_up={"mean_s": 20, "shape": "uniform", "cv": 0.2})
    assert 10 < min(drawn) < 19 < 21 < max(drawn) < 30


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("", "queues"),
        ("queues.a.talk = 10", "agents"),
        ("agents = [{}]\nqueues.a = { talk = 10 }", "queues.a"),
        ("agents = [{}]\nqueues.a = { talk = -1, calls_per_hour = 1 }", "queues.a.talk.mean_s"),
        ("agents = [{}]\nqueues.a = { talk = 1, calls_per_hour = 1, colour = 1 }", "queues.a.colour"),
        ("agents = [{}]\nqueues.a = { talk = 1, calls_per_hour = 1, requires = 'english >' }", "queues.a.requires"),
        ("agents = [{}]\nqueues.a = { talk = 1, calls_per_hour = 1, calendar = 'x' }", "queues.a.calendar"),
        ("agents = [{}]\nqueues.a = { talk = 1, calls_per_hour = 1, closed_to = 'queue:x' }", "queues.a.closed_to"),
        ("agents = [{ queues = ['b'] }]\nqueues.a = { talk = 1, calls_per_hour = 1 }", "agents.0.queues"),
        ("agents = [{ shifts = ['9-5'] }]\nqueues.a = { talk = 1, calls_per_hour = 1 }", "agents.0.shifts.0"),
        ("agents = [{}, {}]\nqueues.a = { talk = 1, calls_per_hour = 1 }", "agents.1.name"),
        ("closes = '07:00'\nagents = [{}]\nqueues.a = { talk = 1, calls_per_hour = 1 }", "closes"),
        ("zone = 'Mars/Base'\nagents = [{}]\nqueues.a = { talk = 1, calls_per_hour = 1 }", "zone"),
        ("agents = [", "file"),
    ],
)
def test_an_error_in_the_description_names_the_field(text: str, field: str) -> None:
    with pytest.raises(BadInput) as caught:
        scenario_of(read_text(text, CentreWords))
    assert caught.value.field == field


def test_the_command_prints_the_figures_and_draws_the_day(tmp_path: Path) -> None:
    file, picture = tmp_path / "centre.toml", tmp_path / "day.svg"
    file.write_text(examples()[0].replace('closes = "12:00"', 'closes = "09:00"'), "utf-8")
    words = ["simulate", "--file", str(file), "--seeds", "2", "--jobs", "1"]
    shown = CliRunner().invoke(app, [*words, "--chart", str(picture)])
    assert shown.exit_code == 0, shown.output
    assert "2 days, 95% intervals" in shown.output
    assert "service level" in shown.output
    assert "±" in shown.output
    root = ElementTree.parse(picture).getroot()
    assert root.tag.endswith("svg")
    told = json.loads(CliRunner().invoke(app, [*words, "--json"]).output)
    everybody = told["queues"]["all"]
    outcomes = sum(everybody[outcome.value]["mean"] for outcome in Outcome)
    assert everybody["offered"]["mean"] == pytest.approx(outcomes)
    assert len(told["intervals"]) == 2


def test_the_command_without_a_file_runs_one_queue_and_names_a_wrong_option() -> None:
    shown = CliRunner().invoke(app, ["simulate", "--agents", "2", "--hours", "0.2", "--calls-per-hour", "60"])
    assert shown.exit_code == 0, shown.output
    assert "one queue: one day, seed 1" in shown.output
    refused = CliRunner().invoke(app, ["simulate", "--agents", "0"])
    assert isinstance(refused.exception, BadInput)
    assert refused.exception.field == "agents"


def test_many_processors_tell_the_same_days_as_one() -> None:
    scenarios = [small(), small(agents=[{"count": 2}])]
    assert run_all(scenarios, [1, 2], jobs=2) == run_all(scenarios, [1, 2], jobs=1)


def test_the_statistics_are_the_well_known_ones() -> None:
    assert [student(0.95, freedom) for freedom in (1, 2, 4, 9, 19)] == pytest.approx(
        [12.706, 4.303, 2.776, 2.262, 2.093], abs=2e-3
    )
    assert student(0.99, 4) == pytest.approx(4.604, abs=0.02)
    found = estimate([1.0, 2.0, 3.0])
    assert (found.mean, found.half) == (2.0, pytest.approx(2.484, abs=1e-3))
    assert gini([1, 1, 1]) == pytest.approx(0)
    assert gini([0, 0, 1]) == pytest.approx(2 / 3)
    assert percentile([1, 2, 3, 4], 0.5) == 2
    assert percentile([], 0.5) is None
