"""A recording is settled when its file is complete; what cannot be heard is marked so."""

from __future__ import annotations

import math
import os
import wave
from array import array
from hashlib import sha256
from pathlib import Path

import pytest

from crm_core import centre, interactions
from crm_core.database import Database
from crm_core.interactions import InteractionRow, RecordingRow
from cti.recording_files import RecordingFiles, measure
from tests.core.test_recorder import rows_of


def tone(path: Path, *parts: tuple[float, float]) -> None:
    """A WAV file of (seconds, loudness 0–1) parts at 8 kHz."""
    samples = array("h")
    for seconds, loudness in parts:
        samples.extend(
            int(20000 * loudness * math.sin(2 * math.pi * 440 * n / 8000)) for n in range(int(8000 * seconds))
        )
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(samples.tobytes())


def test_a_pause_is_measured_as_silence_of_its_length(tmp_path: Path) -> None:
    tone(tmp_path / "a.wav", (2.0, 1.0), (1.5, 0.0), (1.0, 1.0))
    found = measure(tmp_path / "a.wav")
    assert found.audio_s == pytest.approx(4.5)
    assert found.silent_s == pytest.approx(1.5, abs=0.11)
    assert not found.is_silent
    assert found.sha256 == sha256((tmp_path / "a.wav").read_bytes()).hexdigest()


def test_a_call_without_sound_leaves_a_header_and_is_silent(tmp_path: Path) -> None:
    tone(tmp_path / "a.wav")
    assert measure(tmp_path / "a.wav").is_silent


class Shelf:
    """Recordings of the database and the folder, with the time passed in."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.now = 100.0
        self.database = database
        self.files = RecordingFiles(database, folder=folder, clock=lambda: self.now)

    async def put(self, file: str, ended_at: float | None) -> None:
        async with self.database.begin() as connection:
            await interactions.write(
                connection,
                interactions=[InteractionRow(id="pbx1-1", direction="inbound", started_at=1.0)],
                recordings=[RecordingRow(file=file, interaction="pbx1-1", started_at=1.0, ended_at=ended_at)],
            )

    async def state(self) -> str:
        (row,) = await rows_of(self.database, "recording")
        return str(row["state"])


async def test_a_file_is_settled_only_when_the_call_is_over_and_it_grows_no_more(
    database: Database, tmp_path: Path
) -> None:
    shelf = Shelf(database, tmp_path)
    tone(tmp_path / "a.wav", (1.0, 1.0))
    await shelf.put("a.wav", None)
    assert await shelf.files.settle_due() == 0
    await shelf.put("a.wav", 90.0)
    assert await shelf.files.settle_due() == 0
    tone(tmp_path / "a.wav", (2.0, 1.0))
    shelf.now += 5
    assert await shelf.files.settle_due() == 0
    shelf.now += 5
    assert await shelf.files.settle_due() == 1
    (row,) = await rows_of(database, "recording")
    assert (row["state"], row["audio_s"]) == ("complete", 2.0)


async def test_a_file_that_never_comes_is_missing_in_the_end(database: Database, tmp_path: Path) -> None:
    shelf = Shelf(database, tmp_path)
    await shelf.put("gone.wav", 90.0)
    await shelf.files.settle_due()
    assert await shelf.state() == "pending"
    shelf.now += 120
    await shelf.files.settle_due()
    assert await shelf.state() == "missing"


async def test_a_name_that_leads_out_of_the_folder_is_never_opened(database: Database, tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    tone(tmp_path / "secret.wav", (1.0, 1.0))
    shelf = Shelf(database, tmp_path / "inside")
    await shelf.put("../secret.wav", 10.0)
    shelf.now += 1000
    await shelf.files.settle_due()
    assert await shelf.state() == "missing"


@pytest.mark.parametrize("keeps", [False, True])
async def test_what_was_recorded_of_a_caller_who_objected_is_deleted_unless_the_queue_keeps_it(
    database: Database, tmp_path: Path, keeps: bool
) -> None:
    shelf = Shelf(database, tmp_path)
    tone(tmp_path / "a.wav", (1.0, 1.0))
    async with database.begin() as connection:
        await centre.put_queue(connection, centre.Queue(slug="sales", name="Sales", keeps_objected=keeps))
        await interactions.write(
            connection,
            interactions=[InteractionRow(id="pbx1-1", direction="inbound", started_at=1.0, queue="sales")],
            recordings=[
                RecordingRow(file="a.wav", interaction="pbx1-1", started_at=1.0, ended_at=90.0, objected_at=90.0)
            ],
        )
    await shelf.files.settle_due()
    shelf.now += 5
    await shelf.files.settle_due()
    assert await shelf.state() == ("complete" if keeps else "objected")
    assert (tmp_path / "a.wav").exists() is keeps
    audited = [(row["action"], row["object"], row["object_id"]) for row in await rows_of(database, "audit")]
    assert audited == ([] if keeps else [("delete", "recording", "pbx1-1")])
    assert await shelf.files.settle_due() == 0


async def test_what_rings_that_nobody_answered_left_is_removed_when_no_call_can_be_behind_it(
    database: Database, tmp_path: Path
) -> None:
    shelf = Shelf(database, tmp_path)
    for name in ("empty.wav", "known.wav", "new.wav"):
        tone(tmp_path / name)
        os.utime(tmp_path / name, (1000.0, 1000.0))
    os.utime(tmp_path / "new.wav", (20_000.0, 20_000.0))
    tone(tmp_path / "talk.wav", (0.5, 1.0))
    os.utime(tmp_path / "talk.wav", (1000.0, 1000.0))
    await shelf.put("known.wav", 90.0)
    shelf.now = 1000.0 + 7 * 3600
    assert await shelf.files.sweep() == 1
    assert sorted(path.name for path in tmp_path.glob("*.wav")) == ["known.wav", "new.wav", "talk.wav"]
