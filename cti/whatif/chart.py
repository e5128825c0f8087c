"""A day as a picture: calls by half hour as bars, the service level and the speed of answer as lines, with the
intervals of their means. Plain SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from cti.whatif.figures import Interval
from cti.whatif.printed import clock

WIDTH, PANEL, LEFT, TOP, GAP = 960, 180, 64, 84, 56
RIGHT = 24
COLOURS = ("#5b6770", "#0b7285", "#c2410c", "#6d28d9")
"""Readable on white, and told apart by people who do not see all colours; the dashes differ too."""
DASHES = ("2 4", "8 4", "", "12 3 2 3")


@dataclass(frozen=True, slots=True)
class Series:
    """A line with a name."""

    name: str
    intervals: Sequence[Interval]


def chart(title: str, series: Sequence[Series], *, zone: str) -> str:
    """The picture as SVG text: service level, then speed of answer, both over the calls of the first series."""
    panels = (
        _panel(series, "service_level", "service level", 0, zone, scale=100, unit="%", top=100.0),
        _panel(series, "asa_s", "speed of answer", 1, zone, scale=1, unit="s", top=None),
    )
    height = TOP + 2 * (PANEL + GAP) + 24
    legend = "".join(
        f'<g transform="translate({LEFT + number * 220},44)">{_stroke(number, 0, 0, 28, 0)}'
        f'<text x="34" y="4">{escape(one.name)}</text></g>'
        for number, one in enumerate(series)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        f' font-family="sans-serif" font-size="12" fill="#222" role="img" aria-label="{escape(title)}">\n'
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>\n'
        f'<text x="{LEFT}" y="20" font-size="16">{escape(title)}</text>\n{legend}\n{"".join(panels)}</svg>\n'
    )


def _panel(
    series: Sequence[Series],
    figure: str,
    label: str,
    place: int,
    zone: str,
    *,
    scale: float,
    unit: str,
    top: float | None,
) -> str:
    base = TOP + place * (PANEL + GAP) + PANEL
    count = max((len(one.intervals) for one in series), default=1)
    step = (WIDTH - LEFT - RIGHT) / max(1, count)
    values = [_points(one.intervals, figure, scale) for one in series]
    highest = top or max((value for line in values for _, value in line), default=1.0) or 1.0
    calls = [part.offered for part in series[0].intervals] if series else []
    most = max(calls, default=0.0) or 1.0
    heading = f"{label}, {unit}; bars: calls, at most {most:.0f}"
    parts = [f'<g><text x="{LEFT}" y="{base - PANEL - 8}">{escape(heading)}</text>']
    for number, offered in enumerate(calls):
        bar = offered / most * PANEL * 0.9
        parts.append(
            f'<rect x="{LEFT + number * step + 1:.1f}" y="{base - bar:.1f}" width="{max(1.0, step - 2):.1f}"'
            f' height="{bar:.1f}" fill="#e4e8ec"/>'
        )
    for share in (0.0, 0.5, 1.0):
        y = base - share * PANEL
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#c8ced3"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{share * highest:.0f}</text>')
    every = max(1, round(count / 12))
    for number, part in enumerate(series[0].intervals if series else ()):
        if number % every == 0:
            parts.append(f'<text x="{LEFT + number * step:.1f}" y="{base + 18}">{clock(part.at, zone)}</text>')
    for number, one in enumerate(series):
        edge = _band(one.intervals, figure, scale)
        if edge:
            points = " ".join(
                f"{LEFT + (at + 0.5) * step:.1f},{base - min(1.0, max(0.0, value / highest)) * PANEL:.1f}"
                for at, value in edge
            )
            parts.append(f'<polygon points="{points}" fill="{COLOURS[number % 4]}" opacity="0.15"/>')
    for number, line in enumerate(values):
        points = " ".join(
            f"{LEFT + (at + 0.5) * step:.1f},{base - min(1.0, value / highest) * PANEL:.1f}" for at, value in line
        )
        parts.append(f'<polyline points="{points}" fill="none" {_look(number)}/>')
    return "".join(parts) + "</g>\n"


def _points(intervals: Sequence[Interval], figure: str, scale: float) -> list[tuple[int, float]]:
    found = [(number, getattr(part, figure)) for number, part in enumerate(intervals)]
    return [(number, value * scale) for number, value in found if value is not None]


def _band(intervals: Sequence[Interval], figure: str, scale: float) -> list[tuple[int, float]]:
    """The edge of the means' intervals: there along the top and back along the bottom."""
    found = [
        (number, value * scale, one.halves[figure] * scale)
        for number, one in enumerate(intervals)
        if (value := getattr(one, figure)) is not None and figure in one.halves
    ]
    above = [(number, mean + half) for number, mean, half in found]
    return above + [(number, mean - half) for number, mean, half in reversed(found)]


def _look(number: int) -> str:
    return f'stroke="{COLOURS[number % 4]}" stroke-width="2" stroke-dasharray="{DASHES[number % 4]}"'


def _stroke(number: int, x1: int, y1: int, x2: int, y2: int) -> str:
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" {_look(number)}/>'
