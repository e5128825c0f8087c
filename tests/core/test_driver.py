"""The driver: journal first, then decide, then act; nothing is decided while the journal can't be written."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from cti import journal
from cti.commands import Beat, Command
from cti.driver import Driver
from cti.events import CommandFailed, Event, LinkLost, LinkUp
from cti.ids import PbxId
from cti.inbound import Output
from cti.journal import Journal, JournalBroken, Position

PBX = PbxId("pbx1")


class Echo:
    """A deciding machine that answers each LinkUp with a fact and a beat, and beats when woken."""

    def __init__(self) -> None:
        self.due: float | None = None
        self.decided: list[Event] = []

    def handle_all(self, events: Sequence[Event], *, now: float) -> list[Output]:
        self.decided.extend(events)
        outputs: list[Output] = []
        for event in events:
            if isinstance(event, LinkUp):
                outputs += [LinkLost(at=now, pbx=PBX, why="concluded"), Beat(pbx=PBX, boot="b", count=1)]
        return outputs

    def wake_at(self) -> float | None:
        return self.due

    def wake(self, *, now: float) -> list[Output]:
        self.due = None
        return [Beat(pbx=PBX, boot="b", count=2)]


class JournalWithAFullDisk(Journal):
    """Takes nothing until it is emptied."""

    is_full = True

    def append(self, events: Sequence[Event]) -> Position:  # type: ignore[override]
        if self.is_full:
            raise JournalBroken("full")
        return super().append(events)


def link_up() -> LinkUp:
    return LinkUp(at=1.0, pbx=PBX, version="22")


async def test_a_command_is_carried_out_only_after_its_fact_is_in_the_journal(tmp_path: Path) -> None:
    written = Journal(tmp_path)
    written.open()
    seen: list[list[str]] = []
    done = asyncio.Event()

    def carry_out(command: Command) -> None:
        seen.append([type(event).__name__ for _, event in journal.read(tmp_path)])
        done.set()

    driver = Driver(Echo(), journal=written, clock=time.time, carry_out=carry_out, loop=asyncio.get_running_loop())
    driver.post(link_up())
    await asyncio.wait_for(done.wait(), 5)
    assert seen == [["LinkUp", "LinkLost"]]
    driver.close()
    written.close()


async def test_listeners_hear_every_fact_in_the_order_of_the_journal(tmp_path: Path) -> None:
    written = Journal(tmp_path)
    written.open()
    heard: list[str] = []
    done = asyncio.Event()
    driver = Driver(
        Echo(), journal=written, clock=time.time, carry_out=lambda command: done.set(), loop=asyncio.get_running_loop()
    )
    stop = driver.listen(lambda event: heard.append(type(event).__name__))
    driver.post(CommandFailed(at=1.0, command="x", leg=None, interaction=None, why="y"))
    driver.post(link_up())
    await asyncio.wait_for(done.wait(), 5)
    assert heard == ["CommandFailed", "LinkUp", "LinkLost"]
    stop()
    driver.close()
    written.close()


async def test_while_the_disk_is_full_nothing_is_decided_and_nothing_is_lost(tmp_path: Path) -> None:
    written = JournalWithAFullDisk(tmp_path)
    written.is_full = False
    written.open()
    written.is_full = True
    core = Echo()
    carried: list[Command] = []
    done = asyncio.Event()

    def carry_out(command: Command) -> None:
        carried.append(command)
        done.set()

    driver = Driver(core, journal=written, clock=time.time, carry_out=carry_out, loop=asyncio.get_running_loop())
    driver.post(link_up())
    for _ in range(10):
        await asyncio.sleep(0)
    assert core.decided == []
    assert carried == []
    written.is_full = False
    await asyncio.wait_for(done.wait(), 10)
    assert core.decided == [link_up()]
    driver.close()
    written.close()


async def test_the_core_is_woken_when_it_asked_to_be(tmp_path: Path) -> None:
    written = Journal(tmp_path)
    written.open()
    core = Echo()
    done = asyncio.Event()
    beats: list[Command] = []

    def carry_out(command: Command) -> None:
        beats.append(command)
        if len(beats) == 2:
            done.set()

    driver = Driver(core, journal=written, clock=time.time, carry_out=carry_out, loop=asyncio.get_running_loop())
    core.due = time.time() + 0.01
    driver.post(link_up())
    await asyncio.wait_for(done.wait(), 5)
    driver.close()
    written.close()
