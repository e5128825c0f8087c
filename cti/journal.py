"""The journal: what happened is on the local disk before anything else is done with it.

A folder of segments ``00000001.journal``, each a text of lines ``<crc32 of the JSON, 8 hex> <JSON>``. The driver
appends what it took from its inbox in one ``write`` and only then decides; so nothing that was acted upon is lost when
the program is killed. ``fdatasync`` runs behind it in groups, off the loop, so that a power cut costs at most the last
instants (``docs/adr/0003-journal.md`` says why).

A torn last line (the machine stopped in the middle of a write) is passed over on reading; each start of the program
writes a new segment. A segment begins with the facts that the writer's ``preface`` gives (the plan, the agents'
states), so that a reader who starts there needs no older one for them.
"""

from __future__ import annotations

import os
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cti import codec
from cti.errors import CallfloorError
from cti.events import Event

SYNC_GROUP_S = 0.01
"""Appends that come within that time are synced together."""
SEGMENT_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in the journal: everything before it has been read."""

    segment: int
    offset: int


START = Position(0, 0)


class JournalBroken(CallfloorError):
    """The journal can't be written: the disk is full or gone. Nothing may be decided then."""


def encode_lines(events: Iterable[Event]) -> bytes:
    """The lines of some facts as they stand in a segment."""
    lines: list[bytes] = []
    for event in events:
        body = codec.encode(event)
        lines.append(b"%08x %s\n" % (zlib.crc32(body), body))
    return b"".join(lines)


class Journal:
    """The writing end. One process writes; readers may follow."""

    def __init__(
        self,
        folder: Path,
        *,
        preface: Callable[[], Iterable[Event]] = lambda: (),
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self.folder = folder
        self._preface = preface
        self._segment_bytes = segment_bytes
        self._file = -1
        self._segment = 0
        self._offset = 0
        self._is_dirty = False
        """Something waits for its group to reach the disk itself."""
        self._bell = threading.Lock()
        self._bell.acquire()
        self._syncer: threading.Thread | None = None
        self._is_closing = False

    @property
    def position(self) -> Position:
        """The end of what has been written."""
        return Position(self._segment, self._offset)

    def open(self) -> None:
        """Begin a new segment behind what is there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        segments = segments_of(self.folder)
        self._begin(segments[-1] + 1 if segments else 1)

    def close(self) -> None:
        """Write through to the disk and close."""
        if self._syncer is not None:
            self._is_closing = True
            self._ring()
            self._syncer.join()
            self._syncer = None
        if self._file >= 0:
            os.fdatasync(self._file)
            os.close(self._file)
            self._file = -1

    def append(self, events: Iterable[Event]) -> Position:
        """Write facts; returns the position behind them. Raises ``JournalBroken``."""
        data = encode_lines(events)
        if self._offset + len(data) > self._segment_bytes and self._offset:
            self._turn()
        self._write(data)
        return self.position

    def sync_soon(self) -> None:
        """Have what was appended reach the disk itself, in a group, in a thread of its own. One writer calls this."""
        if self._syncer is None:
            self._is_closing = False
            self._syncer = threading.Thread(target=self._sync_groups, name="journal-sync", daemon=True)
            self._syncer.start()
        self._ring()

    def _ring(self) -> None:
        # The thread alone takes this back, and only once the bell was heard: it never rings twice.
        if not self._is_dirty:
            self._is_dirty = True
            self._bell.release()

    def _sync_groups(self) -> None:
        while True:
            self._bell.acquire()
            if not self._is_closing:
                time.sleep(SYNC_GROUP_S)
            self._is_dirty = False
            _fdatasync(self._file)
            if self._is_closing:
                return

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                written = os.write(self._file, view)
                view = view[written:]
        except OSError as error:
            raise JournalBroken(f"the journal in {self.folder} can't be written: {error.strerror}") from error
        self._offset += len(data)

    def _turn(self) -> None:
        os.fdatasync(self._file)
        os.close(self._file)
        self._begin(self._segment + 1)

    def _begin(self, segment: int) -> None:
        path = path_of(self.folder, segment)
        try:
            self._file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o640)
        except OSError as error:
            raise JournalBroken(f"the journal segment {path} can't be made: {error.strerror}") from error
        self._segment = segment
        self._offset = 0
        self._write(encode_lines(self._preface()))


def _fdatasync(file: int) -> None:
    try:
        os.fdatasync(file)
    except OSError:
        # The segment was turned or closed meanwhile, which writes it through itself.
        return


def segments_of(folder: Path) -> list[int]:
    """The numbers of the segments in a folder, oldest first."""
    return sorted(int(path.stem) for path in folder.glob("*.journal") if path.stem.isdigit())


def path_of(folder: Path, segment: int) -> Path:
    """The file of a segment."""
    return folder / f"{segment:08d}.journal"


def segment_at(folder: Path, at: float) -> int:
    """The segment in which to begin to read what happened since ``at`` (Unix seconds): the last one whose first fact is
    older, or the first there is."""
    chosen = 0
    for segment in segments_of(folder):
        began_at = next((fact.at for _, fact in read(folder, Position(segment, 0))), None)
        if began_at is None or began_at > at:
            break
        chosen = segment
    return chosen


def read(folder: Path, since: Position = START) -> Iterator[tuple[Position, Event]]:
    """All facts behind ``since`` with the position behind each; passes over what is torn or of an unknown class."""
    for segment in segments_of(folder):
        if segment < since.segment:
            continue
        offset = since.offset if segment == since.segment else 0
        try:
            file = path_of(folder, segment).open("rb")
        except FileNotFoundError:
            # Removed meanwhile: the database holds what it told.
            continue
        with file:
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                offset += len(line)
                event = _parse(line)
                if event is not None:
                    yield Position(segment, offset), event


def _parse(line: bytes) -> Event | None:
    crc, _, body = line.rstrip(b"\n").partition(b" ")
    if crc != b"%08x" % zlib.crc32(body):
        return None
    try:
        return codec.decode(body)
    except codec.UnknownFact:
        return None
