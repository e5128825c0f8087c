"""``callfloor simulate`` and ``callfloor replay``: read, run, print. What is large is imported when it is needed."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cti.errors import BadInput

if TYPE_CHECKING:
    from cti.ids import QueueId
    from cti.whatif.books import Day
    from cti.whatif.figures import Figures
    from cti.whatif.scenario import Scenario

MOST_SEEDS = 1000

SeedsOption = Annotated[int, typer.Option(help="How many days, each with a seed of its own.", min=1, max=MOST_SEEDS)]
SeedOption = Annotated[int, typer.Option(help="The first seed; the same seed tells the same day.")]
JobsOption = Annotated[int | None, typer.Option(help="On how many processors; all by default.", min=1)]
JsonOption = Annotated[bool, typer.Option("--json", help="For programs.")]
ChartOption = Annotated[Path | None, typer.Option(help="Write a picture of the day there (SVG).", dir_okay=False)]


def simulate(
    file: Annotated[Path | None, typer.Option(help="A described centre (TOML), see docs/simulate.md.")] = None,
    agents: Annotated[int, typer.Option(help="Without a file: how many agents.")] = 8,
    calls_per_hour: Annotated[float, typer.Option(help="Without a file: how many callers.")] = 120.0,
    hours: Annotated[float, typer.Option(help="Without a file: how long.")] = 8.0,
    talk_s: Annotated[float, typer.Option(help="Without a file: mean talk time in seconds.")] = 150.0,
    patience_s: Annotated[float, typer.Option(help="Without a file: mean patience in seconds.")] = 90.0,
    seeds: SeedsOption = 1,
    seed: SeedOption = 1,
    jobs: JobsOption = None,
    is_json: JsonOption = False,
    chart: ChartOption = None,
) -> None:
    """Run a described centre through the live deciding core, days in seconds."""
    from cti.whatif import described, words
    from cti.whatif.chart import Series
    from cti.whatif.chart import chart as drawn
    from cti.whatif.figures import estimates, intervals, mean_intervals
    from cti.whatif.printed import as_data, intervals_as_data, of_centre
    from cti.whatif.run import run_all

    if file is not None:
        scenario = described.scenario_of(words.read_file(file, described.CentreWords))
    else:
        scenario = described.one_queue(
            agents=agents, calls_per_hour=calls_per_hour, hours=hours, talk_s=talk_s, patience_s=patience_s
        )
    numbers = range(seed, seed + seeds)
    (days,) = run_all([scenario], numbers, jobs=jobs)
    by_queue = by_day(days, scenario)
    found = {queue: estimates(figures) for queue, figures in by_queue.items()}
    halves = mean_intervals([intervals(day, scenario.plan) for day in days])
    if chart is not None:
        write(chart, drawn(scenario.name, [Series("simulated", halves)], zone=scenario.zone))
    if is_json:
        told = {
            "name": scenario.name,
            "seeds": list(numbers),
            "queues": as_data(found),
            "intervals": intervals_as_data(halves),
        }
        typer.echo(json.dumps(told, indent=1))
    else:
        typer.echo(of_centre(scenario.name, numbers, found))


def replay(
    journals: Annotated[list[Path], typer.Argument(help="The journal's folder, or segments of it.", exists=True)],
    with_: Annotated[Path | None, typer.Option("--with", help="What is changed (TOML), see docs/simulate.md.")] = None,
    day: Annotated[
        datetime.datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Which day; the last one with calls.")
    ] = None,
    zone: Annotated[str, typer.Option(help="Whose midnight a day begins with.")] = "UTC",
    seeds: SeedsOption = 10,
    seed: SeedOption = 1,
    jobs: JobsOption = None,
    is_json: JsonOption = False,
    chart: ChartOption = None,
) -> None:
    """Look at a recorded day, or run it again with changes, beside what happened."""
    from cti.whatif import change, compared, recorded, words

    changed = words.read_file(with_, change.ChangeWords) if with_ is not None else None
    found = recorded.read_day(journals, day=day.date() if day is not None else None, zone=zone)
    told = compared.compare(found, changed, range(seed, seed + seeds), jobs=jobs)
    if chart is not None:
        write(chart, compared.drawn(told))
    typer.echo(json.dumps(compared.as_data(told), indent=1) if is_json else compared.as_text(told))


def by_day(days: Sequence[Day], scenario: Scenario) -> dict[QueueId | None, list[Figures]]:
    """The figures of each queue (None: all), day by day."""
    from cti.whatif.figures import figures

    of_days = [figures(day, scenario.plan) for day in days]
    return {queue: [one[queue] for one in of_days] for queue in of_days[0]}


def write(path: Path, text: str) -> None:
    """Put a picture where it was asked for. Raises ``BadInput``."""
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise BadInput(str(path), error.strerror or "can't be written") from None
