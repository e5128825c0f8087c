"""A recorded day is read from the journal, and replayed beside what happened."""

from __future__ import annotations

import datetime
import json
import math
import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cti import events as e
from cti.cli import app
from cti.errors import BadInput
from cti.events import AgentState, DialOutcome, Event
from cti.ids import AgentId, InteractionId, LegId, QueueId
from cti.journal import Journal
from cti.whatif.books import Outcome
from cti.whatif.censored import Censored
from cti.whatif.change import ChangeWords, changed
from cti.whatif.compared import compare, is_expected
from cti.whatif.figures import figures
from cti.whatif.recorded import RecordedDay, read_day
from cti.whatif.run import Run, run
from cti.whatif.scenario import Deed, Scenario
from cti.whatif.words import read_text
from tests.sim.centres import centre
from tests.sim.test_simulate import DOCS

DAY = datetime.date(2026, 3, 2)


def office(**words: Any) -> Scenario:
    """A busy morning: two queues, three agents, a break."""
    return centre(
        day=DAY,
        zone="Europe/Berlin",
        opens="08:00",
        closes="10:00",
        queues={
            "sales": {"calls_per_hour": 60, "talk": 90, "patience": 60, "wrap_up": {"mean_s": 15}, "wrap_up_s": 25},
            "help": {"calls_per_hour": 20, "talk": {"mean_s": 150, "cv": 0.5}, "patience": 120, "wrap_up_s": 0},
        },
        agents=[
            {"name": "ann", "queues": ["sales"], "shifts": ["08:00-09:00", "09:15-10:00"]},
            {"name": "bob", "count": 2},
        ],
        **words,
    )


def facts_of(scenario: Scenario, seed: int = 1) -> list[Event]:
    """A day as the daemon would have journaled it."""
    facts: list[Event] = [e.PlanChanged(at=scenario.starts_at, plan=scenario.plan)]
    Run(scenario, seed=seed, on_fact=facts.append).run()
    return facts


def journal_of(folder: Path, facts: list[Event]) -> Path:
    """The facts in a journal of several segments."""
    written = Journal(folder, preface=lambda: facts[:1], segment_bytes=200_000)
    written.open()
    for first in range(0, len(facts), 50):
        written.append(facts[first : first + 50])
    written.close()
    return folder


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The journal of a busy morning."""
    return journal_of(tmp_path_factory.mktemp("day") / "journal", facts_of(office()))


def read(folder: Path) -> RecordedDay:
    """The one day of it."""
    return read_day([folder], day=None, zone="Europe/Berlin")


def test_a_journal_tells_what_happened(recorded: Path) -> None:
    real = run(office(), 1)
    day = read(recorded)
    assert (day.date, day.happened.starts_at) == (DAY, real.starts_at)
    told, lived = (figures(one, day.plan) for one in (day.happened, real))
    for queue in (None, QueueId("sales"), QueueId("help")):
        assert told[queue].is_balanced
        assert replace(told[queue], occupancy=0, unevenness=0) == replace(lived[queue], occupancy=0, unevenness=0)
    for call in day.calls:
        assert (call.talk_s is None) is (call.answered_at is None)
    answered = [call for call in day.calls if call.talk_s is not None]
    wraps = [call for call in answered if call.queue == "sales" and not call.is_wrap_up_full]
    assert {call.wrap_up_s for call in answered if call.queue == "help"} == {None}
    assert wraps
    assert all(call.wrap_up_s is not None and call.wrap_up_s < 25 for call in wraps)


def test_a_breaks_a_break_again_in_the_replay(recorded: Path) -> None:
    deeds = [deed for deed in read(recorded).scenario().desks if deed.agent == "ann1"]
    assert [deed.deed for deed in deeds] == [Deed.LOG_IN, Deed.LOG_OUT, Deed.LOG_IN]
    assert deeds[0].at + 3600 <= deeds[1].at < deeds[2].at


def test_an_unchanged_replay_comes_close_to_what_happened(recorded: Path) -> None:
    told = compare(read(recorded), None, range(1, 6), jobs=1)
    real = told.happened[None]
    for name in ("service_level", "asa_s", "abandon_rate", "occupancy"):
        days = [getattr(one, name) for one in told.unchanged.days[None]]
        assert is_expected(getattr(real, name), days) or abs(sum(days) / len(days) - getattr(real, name)) < {
            "asa_s": 3.0
        }.get(name, 0.03), name
    assert all(one.is_balanced for days in told.unchanged.days.values() for one in days)
    assert all(one.offered == real.offered for one in told.unchanged.days[None])


def test_one_agent_more_serves_more_of_the_same_callers(recorded: Path) -> None:
    words = ChangeWords.model_validate({"add": [{"like": "bob1"}]})
    told = compare(read(recorded), words, range(1, 3), jobs=1)
    assert told.changed is not None
    for before, after in zip(told.unchanged.days[None], told.changed.days[None], strict=True):
        assert after.offered == before.offered
        assert after.answered >= before.answered
        assert (after.service_level or 0) > (before.service_level or 0)


def test_what_is_changed_reaches_the_plan_and_the_desks(recorded: Path) -> None:
    day = read(recorded)
    text = """
        calls = 2.0
        remove = ["bob2"]
        agents.ann1 = { skills = { english = 7 }, shifts = ["09:00-09:30"] }
        queues.sales = { wrap_up_s = 5, steps = [{ requires = "english >= 5" }], calendar = "office" }
        calendars.office.weekly = { mon = ["09:00-17:00"] }
        [[add]]
        name = "new"
        queues = ["help"]
    """
    scenario = changed(day, day.scenario(), read_text(text, ChangeWords))
    plan = scenario.plan
    assert set(plan.agents) == {"ann1", "bob1", "new1"}
    assert plan.agents[AgentId("ann1")].skills == {"english": 7}
    assert plan.agents[AgentId("new1")].queues == ("help",)
    sales = plan.queues[QueueId("sales")]
    assert (sales.wrap_up_s, sales.steps[0].text, sales.calendar) == (5, "english >= 5", "office")
    assert plan.calendars["office"].zone == "Europe/Berlin"
    assert [deed.at - day.happened.starts_at for deed in scenario.desks if deed.agent == "ann1"] == [3600, 5400]
    assert not any(deed.agent == "bob2" for deed in scenario.desks)
    assert len(scenario.demand.arrivals(random.Random(1))) == 2 * len(day.calls)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("queues.nobody = {}", "queues.nobody"),
        ("agents.nobody = {}", "agents.nobody"),
        ('remove = ["nobody"]', "remove.0"),
        ('add = [{ like = "nobody" }]', "add.0.like"),
        ('add = [{ name = "bob" }]', "add.0.name"),
        ('add = [{ queues = ["nothing"] }]', "add.0.queues"),
        ('queues.sales.calendar = "never"', "queues.sales.calendar"),
        ("calls = 0", "calls"),
        ("cals = 1", "cals"),
    ],
)
def test_an_error_in_a_change_names_the_field(recorded: Path, text: str, field: str) -> None:
    day = read(recorded)
    with pytest.raises(BadInput) as caught:
        changed(day, day.scenario(), read_text(text, ChangeWords))
    assert caught.value.field == field


def test_the_command_shows_the_day_beside_the_model_and_the_change(recorded: Path, tmp_path: Path) -> None:
    change, picture = tmp_path / "change.toml", tmp_path / "day.svg"
    change.write_text('name = "one more"\n[[add]]\nlike = "bob1"\n', "utf-8")
    words = ["replay", str(recorded), "--zone", "Europe/Berlin", "--with", str(change), "--seeds", "2", "--jobs", "1"]
    shown = CliRunner().invoke(app, [*words, "--chart", str(picture)])
    assert shown.exit_code == 0, shown.output
    for expected in ("how far the model is from what happened", "happened", "replayed unchanged", "one more", "change"):
        assert expected in shown.output
    assert picture.read_text("utf-8").count("<polyline") == 6
    told = json.loads(CliRunner().invoke(app, [*words, "--json"]).output)
    assert told["change"]["all"]["service_level"]["mean"] > 0
    assert told["happened"]["all"]["offered"]["mean"] == told["unchanged"]["all"]["offered"]["mean"]


def test_the_manuals_change_is_understood() -> None:
    text = re.findall(r"```toml\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)[1]
    words = read_text(text, ChangeWords)
    assert (words.calls, words.remove, words.add[0].like) == (1.1, ("bob",), "ann")


def test_a_day_without_callers_and_a_folder_without_a_journal_are_refused(recorded: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no caller on 2026-03-03"):
        read_day([recorded], day=datetime.date(2026, 3, 3), zone="UTC")
    with pytest.raises(BadInput, match="no journal in it"):
        read_day([tmp_path], day=None, zone="UTC")


def test_a_talk_that_was_handed_on_is_an_absence_of_the_second_agent(tmp_path: Path) -> None:
    """ann speaks for 60 s and hands the caller to bob, who speaks for 100 s: nobody else could have had bob then."""
    scenario = office()
    start = scenario.starts_at
    call, leg = InteractionId("sim1-1"), LegId("sim1/1")
    ann, bob = AgentId("ann1"), AgentId("bob1")

    def state(at: float, agent: AgentId, to: AgentState, interaction: InteractionId | None = None) -> Event:
        return e.AgentStateChanged(
            at=start + at,
            agent=agent,
            state=to,
            reason="",
            by="system",
            interaction=interaction,
            until=None,
            next_state=None,
        )

    facts: list[Event] = [
        e.PlanChanged(at=start, plan=scenario.plan),
        state(0, ann, AgentState.AVAILABLE),
        state(0, bob, AgentState.AVAILABLE),
        e.InteractionStarted(
            at=start + 9,
            interaction=call,
            direction="inbound",
            first_leg=leg,
            ani="+4930123",
            ani_name="",
            is_withheld=False,
            dnis="9001",
            account="",
            choice="",
            language="de",
        ),
        e.InteractionQueued(at=start + 10, interaction=call, queue=QueueId("sales"), queued_at=start + 10, position=1),
        e.AgentChosen(at=start + 10, interaction=call, queue=QueueId("sales"), agent=ann, rule="", passed=()),
        state(10, ann, AgentState.RESERVED, call),
        e.AgentJoined(at=start + 14, interaction=call, agent=ann, leg=leg, role="talk"),
        state(14, ann, AgentState.ON_CALL, call),
        state(70, bob, AgentState.ON_CALL, call),
        e.AgentJoined(at=start + 74, interaction=call, agent=bob, leg=leg, role="talk"),
        e.AgentLeft(at=start + 74, interaction=call, agent=ann, leg=leg),
        e.TransferEnded(
            at=start + 74, interaction=call, agent=ann, target="agent:bob1", kind="attended", outcome="completed"
        ),
        state(74, ann, AgentState.AVAILABLE),
        e.AgentLeft(at=start + 174, interaction=call, agent=bob, leg=leg),
        e.InteractionEnded(at=start + 174, interaction=call, outcome="answered"),
        state(174, bob, AgentState.AVAILABLE),
        e.AgentRingEnded(at=start + 180, interaction=call, agent=bob, leg=leg, outcome=DialOutcome.NO_ANSWER),
    ]
    day = read(journal_of(tmp_path / "journal", facts))
    (one,) = day.calls
    assert (one.agent, one.talk_s, one.wait_s, one.language) == (ann, 60, 4, "de")
    assert (day.transfers, day.unanswered_rings) == (1, 1)
    bobs = [(deed.deed, deed.at - start) for deed in day.scenario().desks if deed.agent == bob]
    assert bobs == [(Deed.LOG_IN, 0), (Deed.PAUSE, 70), (Deed.RESUME, 174)]
    assert [offer.outcome for offer in run(day.scenario(), 1).callers] == [Outcome.ANSWERED]


def test_patience_is_the_product_limit_estimate() -> None:
    """Four callers: one gives up after 10 s, one is answered at 20, one gives up at 30, one is answered at 40."""
    patience = Censored([(10, True), (20, False), (30, True), (40, False)])
    assert [patience.share_after(at) for at in (5, 10, 29, 30, 100)] == [1, 0.75, 0.75, 0.375, 0.375]
    rng = random.Random(1)
    drawn = [patience.draw(rng) for _ in range(4000)]
    assert sum(one == 10 for one in drawn) / 4000 == pytest.approx(0.25, abs=0.03)
    assert sum(one == 30 for one in drawn) / 4000 == pytest.approx(0.375, abs=0.03)
    tail = [one - 40 for one in drawn if one > 30]
    assert min(tail) >= 0
    assert sum(tail) / len(tail) == pytest.approx(100 / 2, rel=0.1)
    assert all(patience.draw(rng, longer_than_s=35) > 40 for _ in range(50))
    assert Censored([(5, False)]).draw(rng) == float("inf")


def test_patience_is_found_again_under_heavy_censoring() -> None:
    rng = random.Random(5)
    waits = []
    for _ in range(4000):
        patience_s, served_s = rng.expovariate(1 / 100), rng.expovariate(1 / 60)
        waits.append((min(patience_s, served_s), patience_s < served_s))
    patience = Censored(waits)
    drawn = [patience.draw(rng) for _ in range(4000)]
    for at_s in (20, 50, 100):
        assert sum(one > at_s for one in drawn) / 4000 == pytest.approx(math.exp(-at_s / 100), abs=0.04)
