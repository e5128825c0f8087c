"""Backups: one folder with the database, the journal, the settings and a list of the recordings; and the way back.

::

    callfloor-20261122T061500Z/
        manifest.json          what it is, and the SHA-256 of every file
        database.sqlite        or database.pgdump (pg_dump's custom format)
        journal/00000001.journal …
        config/callfloor.toml, config/… (files that it names)
        recordings.txt         size, time and name of each recording; recordings/… where they were asked for

The daemon may run meanwhile: SQLite's own online backup and pg_dump see one moment. The journal is copied after it, so
that together they hold at least that moment: what the database lacks comes again from the journal.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import URL, make_url

from cti.errors import CallfloorError
from cti.gate.certificates import CA_CERTIFICATE, CA_KEY
from cti.settings import Settings

MANIFEST = "manifest.json"
SQLITE, POSTGRESQL = "database.sqlite", "database.pgdump"
RECORDINGS = "recordings.txt"
PAGES_AT_ONCE = 2000
"""So many pages of SQLite are copied before a writer gets a turn."""
CHUNK_BYTES = 1 << 20


class BackupError(CallfloorError):
    """A backup could not be made, or what was found is none; the text says why."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did. ``kept``: where the database that was there before is now, None if there was none."""

    database: str
    journal_segments: int
    recordings: int
    kept: Path | None


def back_up(settings: Settings, config: Path | None, to: Path, *, at: datetime, with_recordings: bool = False) -> Path:
    """Make a backup in a new folder inside ``to`` and return that folder. Raises ``BackupError``.

    A folder without the leading dot is complete. It holds secrets and customers: only its owner may read it.
    """
    name = at.astimezone(UTC).strftime("callfloor-%Y%m%dT%H%M%S.%fZ")
    to.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=to))
    try:
        url = make_url(settings.database.url)
        if url.get_backend_name() == "sqlite":
            _copy_sqlite(Path(str(url.database)), folder / SQLITE)
        else:
            _dump_postgresql(url, folder / POSTGRESQL)
        _copy_files(sorted(settings.journal.folder.glob("*.journal")), folder / "journal")
        _copy_files([path for path in _config_files(settings, config) if path.is_file()], folder / "config")
        _list_recordings(settings.recordings.folder, folder, is_copied=with_recordings)
        _write_manifest(folder, at)
        target = to / name
        folder.rename(target)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise BackupError(f"the backup in {to} can't be written: {error}") from error
    except BackupError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return target


def restore(settings: Settings, folder: Path, *, may_replace: bool = False, is_database_only: bool = False) -> Restored:
    """Bring back the database, and the journal and recordings that are not there any more, to where ``settings`` say.

    Nothing is written before every file of the backup was compared with its SHA-256. A database that is there already
    is refused, or with ``may_replace`` kept beside: the file as ``….before-restore-…``, PostgreSQL as another backup
    folder. The daemon must not run. Raises ``BackupError``.
    """
    check(folder)
    url = make_url(settings.database.url)
    wanted = SQLITE if url.get_backend_name() == "sqlite" else POSTGRESQL
    if not (folder / wanted).is_file():
        raise BackupError(f"{folder} is not a backup of the kind of database that database.url names")
    try:
        if wanted == SQLITE:
            kept = _put_sqlite(folder / SQLITE, Path(str(url.database)), may_replace=may_replace)
        else:
            kept = _put_postgresql(url, folder, may_replace=may_replace)
        segments = recordings = 0
        if not is_database_only:
            segments = _bring_back(folder / "journal", settings.journal.folder)
            recordings = _bring_back(folder / "recordings", settings.recordings.folder)
    except OSError as error:
        raise BackupError(f"{folder} can't be restored: {error}") from error
    return Restored(url.render_as_string(hide_password=True), segments, recordings, kept)


def check(folder: Path) -> dict[str, Any]:
    """The manifest of a backup whose files are all as they were written. Raises ``BackupError``."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        files: dict[str, str] = manifest["files"]
    except (OSError, ValueError, KeyError):
        raise BackupError(f"{folder} is no backup: {MANIFEST} is missing or unreadable") from None
    for name, digest in files.items():
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
            raise BackupError(f"{folder} is not complete: {name} is missing")
        if _digest(path) != digest:
            raise BackupError(f"{folder} is damaged: {name} is not what was written")
    return manifest


# ── the database ──────────────────────────────────────────────────────────────────────────────────────────


def _copy_sqlite(source: Path, target: Path) -> None:
    if not source.is_file():
        raise BackupError(f"there is no database {source}")
    try:
        with (
            contextlib.closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)) as live,
            contextlib.closing(sqlite3.connect(target)) as copy,
        ):
            live.backup(copy, pages=PAGES_AT_ONCE)
            # One file that is whole by itself.
            copy.execute("PRAGMA journal_mode=DELETE")
            if copy.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                raise BackupError(f"{source} is damaged: its copy does not pass SQLite's own check")
    except sqlite3.Error as error:
        raise BackupError(f"{source} can't be copied: {error}") from error
    target.chmod(0o600)


def _put_sqlite(source: Path, target: Path, *, may_replace: bool) -> Path | None:
    kept = None
    if target.exists() and target.stat().st_size:
        if not may_replace:
            raise BackupError(f"there is a database {target} already: move it away, or say --replace")
        kept = target.with_name(f"{target.name}.before-restore-{_stamp()}")
        # With what its write-ahead log still holds.
        _copy_sqlite(target, kept)
    target.parent.mkdir(parents=True, exist_ok=True)
    owner = target.stat() if target.exists() else target.parent.stat()
    beside = target.with_name(f".{target.name}.restoring")
    shutil.copyfile(source, beside)
    beside.chmod(0o600)
    if os.geteuid() == 0:
        os.chown(beside, owner.st_uid, owner.st_gid)
    for rest in ("-wal", "-shm"):
        target.with_name(target.name + rest).unlink(missing_ok=True)
    beside.rename(target)
    return kept


def _dump_postgresql(url: URL, target: Path) -> None:
    target.touch(mode=0o600)
    _postgresql(url, "pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={target}")


def _put_postgresql(url: URL, folder: Path, *, may_replace: bool) -> Path | None:
    kept = None
    tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
    if _postgresql(url, "psql", "-qXAt", "-c", tables).strip() != "0":
        if not may_replace:
            raise BackupError("the database is not empty: make a new one, or say --replace")
        kept = folder.parent / f"before-restore-{_stamp()}.pgdump"
        _dump_postgresql(url, kept)
        _postgresql(url, "psql", "-qX", "-v", "ON_ERROR_STOP=1", "-c", _EMPTY)
    words = ("--no-owner", "--no-privileges", "--single-transaction", "--exit-on-error")
    _postgresql(url, "pg_restore", *words, f"--dbname={url.database}", str(folder / POSTGRESQL))
    return kept


_EMPTY = "DROP SCHEMA public CASCADE; CREATE SCHEMA public"


def _postgresql(url: URL, program: str, *words: str) -> str:
    query = {name: value if isinstance(value, str) else value[0] for name, value in url.query.items()}
    known = {
        "PGHOST": url.host or query.get("host"),
        "PGPORT": str(url.port) if url.port else query.get("port"),
        "PGUSER": url.username,
        # In the environment of the child: an argument can be read by everybody on the machine.
        "PGPASSWORD": url.password,
        "PGDATABASE": url.database,
    }
    environment = {**os.environ, **{name: value for name, value in known.items() if value}}
    found = shutil.which(program)
    if found is None:
        raise BackupError(f"{program} is not installed: apt-get install postgresql-client")
    done = subprocess.run([found, *words], env=environment, capture_output=True, check=False)  # noqa: S603
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise BackupError(f"{program} failed: {said[-1] if said else done.returncode}")
    return done.stdout.decode(errors="replace")


# ── files ─────────────────────────────────────────────────────────────────────────────────────────────────


def _config_files(settings: Settings, config: Path | None) -> Iterator[Path]:
    """The start-up file and what kind of PBX there is, the phones' passwords, and the site's certificate with the
    office's authority beside it."""
    if config is not None:
        yield from (config, config.with_name("pbx.toml"))
    for pbx in settings.pbx:
        if pbx.phones_file is not None:
            yield pbx.phones_file
    gate = settings.gate
    if gate.certificate is not None and gate.key is not None:
        yield from (gate.certificate, gate.key)
        yield from (gate.certificate.parent / name for name in (CA_CERTIFICATE, CA_KEY))


def _copy_files(files: list[Path], target: Path) -> None:
    target.mkdir(mode=0o700)
    for path in files:
        shutil.copy2(path, target / path.name)
        (target / path.name).chmod(0o600)


def _list_recordings(source: Path, folder: Path, *, is_copied: bool) -> None:
    lines = []
    for path in sorted(source.rglob("*")) if source.is_dir() else ():
        if path.is_file() and not path.is_symlink():
            name, facts = path.relative_to(source), path.stat()
            lines.append(f"{facts.st_size} {facts.st_mtime:.0f} {name}\n")
            if is_copied:
                (folder / "recordings" / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, folder / "recordings" / name)
    (folder / RECORDINGS).write_text("".join(lines), encoding="utf-8")


def _bring_back(source: Path, target: Path) -> int:
    """Copy the files that are not there; what is there stays as it is."""
    count = 0
    for path in sorted(source.rglob("*")) if source.is_dir() else ():
        place = target / path.relative_to(source)
        if path.is_file() and not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, place)
            if os.geteuid() == 0:
                owner = place.parent.stat()
                os.chown(place, owner.st_uid, owner.st_gid)
            count += 1
    return count


def _write_manifest(folder: Path, at: datetime) -> None:
    files = {str(path.relative_to(folder)): _digest(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    manifest = {"made_at": at.astimezone(UTC).isoformat(timespec="seconds"), "files": files}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    (folder / MANIFEST).chmod(0o600)


def _digest(path: Path) -> str:
    total = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            total.update(chunk)
    return total.hexdigest()


def _stamp() -> str:
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
