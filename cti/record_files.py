"""Files of a PBX's own records, read as streams of lines.

They are known by their first line, not by name or inode, so that rotating them by renaming or by copying, packing the
old ones, and the copies that a ``pbx-agent`` uploads are all the same.
"""

from __future__ import annotations

import gzip
import hashlib
import logging
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from cti.asterisk.cel import LONGEST_LINE

log = logging.getLogger(__name__)

CEL = "callfloor.csv"
QUEUE_LOG = "queue_log"
CHUNK_BYTES = 65_536
BEFORE_S = 60.0


@dataclass(frozen=True, slots=True)
class RecordFile:
    """One file of records. ``mark``: what it is known by; ``began_at``: the time of its first line, Unix seconds."""

    path: Path
    mark: str
    began_at: float
    size: int
    changed_at: float

    @property
    def is_packed(self) -> bool:
        """Packed by the log's rotation; offsets are those of the unpacked text."""
        return self.path.suffix == ".gz"


def mark_of(line: bytes) -> str:
    """What a record file is known by, whatever it is called: a hash of its first line."""
    return hashlib.sha256(line.rstrip(b"\r\n")).hexdigest()[:16]


def listing(folder: Path, name: str, at_of: Callable[[bytes], float | None]) -> list[RecordFile]:
    """The files ``<name>``, ``<name>.…`` and ``<name>-…`` with something in them, oldest first; of two that begin
    alike, the unpacked, longer one."""
    found: dict[str, RecordFile] = {}
    for path in folder.glob(f"{name}*"):
        rest = path.name[len(name) :]
        if rest and rest[0] not in ".-":
            continue
        try:
            state = path.stat()
            with open_records(path) as opened:
                first = opened.readline(LONGEST_LINE)
        except (OSError, EOFError, zlib.error):
            continue
        at = at_of(first) if first.endswith(b"\n") else None
        if at is None:
            continue
        file = RecordFile(path, mark_of(first), at, state.st_size, state.st_mtime)
        other = found.get(file.mark)
        if other is None or (other.is_packed, file.size) > (file.is_packed, other.size):
            found[file.mark] = file
    return sorted(found.values(), key=lambda file: file.began_at)


class RecordFiles:
    """A record file and its rotations (``<name>``, ``<name>.…``, ``<name>-…``), read as one stream of lines.

    ``at_of``: when a line was written, None for what is no line of such a file.
    """

    def __init__(self, folder: Path, name: str, at_of: Callable[[bytes], float | None]) -> None:
        self._folder = folder
        self._name = name
        self._at_of = at_of
        self._since = 0.0
        self._offsets: dict[str, int] = {}
        self._finished: set[str] = set()

    def begin(self, since: float) -> None:
        """Read from here on what was written after ``since`` (Unix seconds), and a little of what was before."""
        self._since = since
        self._offsets.clear()
        self._finished.clear()

    def read(self, most: int = CHUNK_BYTES) -> list[bytes]:
        """The next whole lines, at most about ``most`` bytes; none at the end. Raises ``OSError``."""
        files = listing(self._folder, self._name, self._at_of)
        for file in files:
            if file.changed_at < self._since - BEFORE_S and file is not files[-1]:
                continue
            if file.mark not in self._offsets:
                self._offsets[file.mark] = self._beginning(file)
            lines = self._more(file, most)
            if lines:
                return lines
        return []

    def _more(self, file: RecordFile, most: int) -> list[bytes]:
        offset = self._offsets[file.mark]
        if file.mark in self._finished or (not file.is_packed and file.size <= offset):
            return []
        try:
            with open_records(file.path) as opened:
                opened.seek(offset)
                data = opened.read(most)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            log.warning("! %s is damaged and left out from byte %d on", file.path, offset)
            self._finished.add(file.mark)
            return []
        if file.is_packed and not data:
            self._finished.add(file.mark)
        end = data.rfind(b"\n") + 1
        if not end:
            if len(data) < LONGEST_LINE:
                return []
            # No record is that long: nothing of it is wanted.
            end = len(data)
        self._offsets[file.mark] = offset + end
        return data[:end].splitlines()

    def _beginning(self, file: RecordFile) -> int:
        """Where in a file, whose lines are in the order of time, the time asked for begins; earlier rather than
        later."""
        if file.began_at >= self._since or file.is_packed:
            return 0
        low, high = 0, file.size
        with file.path.open("rb") as opened:
            while high - low > CHUNK_BYTES:
                middle = (low + high) // 2
                opened.seek(middle)
                opened.readline(LONGEST_LINE)
                at = next((at for at in map(self._at_of, _lines(opened)) if at is not None), None)
                if at is not None and at < self._since:
                    low = middle
                else:
                    high = middle
            if low:
                opened.seek(low)
                low += len(opened.readline(LONGEST_LINE))
        return low


def open_records(path: Path) -> gzip.GzipFile | BufferedReader:
    """Read a file of records, packed or not. Raises ``OSError``."""
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def _lines(opened: BufferedReader, most: int = 5) -> Iterator[bytes]:
    for _ in range(most):
        yield opened.readline(LONGEST_LINE)
