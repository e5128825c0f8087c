"""Calls of a gap are told once, however the records lie and whatever stops in between."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path

from cti import events as e
from cti.ids import LegId
from tests.recovery.records import PBX, Bench, cel, queue_log

FIRST, LAST = 1_795_329_440.0, 1_795_329_530.0
ALL = ["", "4930901999", "+8613800138000", "4930901777", "4930901555"]


async def test_all_calls_of_a_gap_are_told_once_also_over_restarts(tmp_path: Path) -> None:
    async with Bench(tmp_path) as bench:
        bench.write(*queue_log(22), name="queue_log")
        bench.write(*cel(22)[:30])
        bench.records.begin(FIRST)
        assert await bench.follow() == ALL[:2]
        bench.write(*cel(22)[30:])
        assert await bench.follow() == ALL[2:]
    async with Bench(tmp_path) as again:
        again.records.begin(LAST)
        again.read(LAST)
        assert await again.follow() == []


async def test_calls_outside_the_gap_are_left_as_they_were_heard(tmp_path: Path) -> None:
    async with Bench(tmp_path) as bench:
        bench.write(*cel(22))
        # Not heard from half a minute after Otto hung up until the end.
        bench.records.begin(1_795_329_479.8 + 31)
        bench.read(LAST)
        assert await bench.follow() == ["4930901555"]


async def test_records_that_come_hours_after_the_pbx_was_read_are_told_all_the_same(tmp_path: Path) -> None:
    async with Bench(tmp_path, is_shared=False) as bench:
        bench.records.begin(FIRST)
        bench.read(LAST)
        bench.now += 7200
        assert await bench.follow() == []
        for line in cel(22):
            # In parts that end in the middle of a line.
            bench.write(line[:20], name="callfloor.csv.0011223344556677")
            await bench.follow()
            bench.write(line[20:], name="callfloor.csv.0011223344556677")
        await bench.follow()
        assert [call.ani for call in bench.posted] == ALL


async def test_rotated_copied_and_packed_files_are_read_to_their_end_and_in_order(tmp_path: Path) -> None:
    lines = cel(22)
    async with Bench(tmp_path) as bench:
        bench.records.begin(FIRST)
        bench.write(*lines[:10])
        await bench.follow()
        bench.write(*lines[10:25])
        (tmp_path / "callfloor.csv").rename(tmp_path / "callfloor.csv.1")
        bench.write(*lines[25:40])
        await bench.follow()
        # Copied and truncated, and the older one packed.
        (tmp_path / "callfloor.csv.2.gz").write_bytes(gzip.compress((tmp_path / "callfloor.csv.1").read_bytes()))
        (tmp_path / "callfloor.csv.1").write_bytes((tmp_path / "callfloor.csv").read_bytes() + b"".join(lines[40:45]))
        (tmp_path / "callfloor.csv").write_bytes(b"")
        await bench.follow()
        bench.write(*lines[45:])
        await bench.follow()
        assert [call.ani for call in bench.posted] == ALL
    (tmp_path / "state.json").unlink()
    async with Bench(tmp_path) as anew:
        anew.records.begin(FIRST)
        assert await anew.follow() == ALL


async def test_who_calls_is_looked_up_by_the_number(tmp_path: Path) -> None:
    async with Bench(tmp_path, find=lambda ani: (7,) if ani == "+8613800138000" else ()) as bench:
        bench.write(*cel(22))
        bench.records.begin(FIRST)
        await bench.follow()
        found = {call.ani: (call.parties, call.how) for call in bench.posted}
        assert found["+8613800138000"] == ((7,), "number")
        assert found["4930901777"] == ((), "none")


async def test_a_call_that_died_with_its_pbx_ends_with_its_last_record(tmp_path: Path) -> None:
    lines = cel(22)
    died = next(index for index, line in enumerate(lines) if line.startswith(b'"BRIDGE_EXIT"'))
    async with Bench(tmp_path) as bench:
        bench.now = LAST
        bench.write(*lines[:died])
        bench.records.begin(FIRST)
        assert await bench.follow() == [""]
        bench.read(LAST)
        assert await bench.follow() == []
        bench.now = LAST + 3600
        assert await bench.follow() == ["4930901999"]
        (ended,) = [call for call in bench.posted if call.ani == "4930901999"]
        assert ended.outcome == "answered"
        assert ended.agent == "ann"


async def test_a_link_that_broke_for_a_while_is_a_gap_too(tmp_path: Path) -> None:
    async with Bench(tmp_path) as bench:
        bench.records.begin(FIRST - 10_000)
        bench.read(FIRST - 9_000)
        bench.records.listen(e.LinkLost(at=FIRST, pbx=PBX, why="broken"))
        bench.write(*cel(22))
        bench.read(LAST)
        assert await bench.follow() == ALL


async def test_a_leg_that_lives_on_keeps_its_call_open(tmp_path: Path) -> None:
    lines = cel(22)
    died = next(index for index, line in enumerate(lines) if line.startswith(b'"BRIDGE_EXIT"'))
    async with Bench(tmp_path) as bench:
        bench.write(*lines[:died])
        bench.records.begin(FIRST)
        bench.read(LAST, seen("pbx1/1795329455.0"))
        bench.now = LAST + 3600
        assert await bench.follow() == [""]
        bench.write(*lines[died:])
        assert await bench.follow() == ALL[1:]


def seen(leg: str) -> e.LegSeen:
    """A leg in a reading of the PBX."""
    return e.LegSeen(
        leg=LegId(leg),
        conversation=LegId(leg),
        channel="PJSIP/x-1",
        tech="PJSIP",
        endpoint="x",
        number="",
        name="",
        dialled="",
        is_up=True,
        is_ringing=False,
        started_at=FIRST,
        bridge=None,
        bridge_kind=None,
        is_waiting=False,
    )


async def test_a_daemon_that_stood_still_does_not_trust_what_it_heard_afterwards(tmp_path: Path) -> None:
    async with Bench(tmp_path) as bench:
        bench.now = FIRST
        bench.records.begin(FIRST - 10_000)
        bench.read(FIRST - 9_900)
        bench.records.start()
        bench.write(*cel(22))
        # Each time that it looks, the clock is far ahead: the process was stopped in between.
        async with asyncio.timeout(15):
            while {call.ani for call in bench.posted} != set(ALL):
                await asyncio.sleep(0.1)
                bench.now += 10
