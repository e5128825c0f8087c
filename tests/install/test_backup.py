"""A backup brings everything back into an empty place, on both databases; what is damaged is refused."""

from __future__ import annotations

import json
import shutil
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from crm_core import users
from crm_core.database import Database, known_schema
from cti import journal, settings
from cti.backup import BackupError, back_up, check, restore
from cti.events import LinkUp
from cti.ids import PbxId

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cti.settings import Settings

AT = datetime(2026, 11, 22, 6, 0, tzinfo=UTC)


def _config(folder: Path, url: str) -> Path:
    for name in ("journal", "recordings/2026"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    config = folder / "callfloor.toml"
    config.write_text(f"""
[database]
url = "{url}"
[journal]
folder = "{folder / "journal"}"
[recordings]
folder = "{folder / "recordings"}"
[[pbx]]
secret = "hunter2-hunter2"
phones_file = "{folder / "phones.toml"}"
""")
    (folder / "phones.toml").write_text('"ann" = "secret"\n')
    return config


async def _fill(url: str, given: Settings) -> None:
    database = Database(url)
    async with database.begin() as connection:
        await users.create_user(
            connection, username="root", name="Root", password_hash="-", role="administrator", now=time.time()
        )
    await database.close()
    written = journal.Journal(given.journal.folder)
    written.open()
    written.append([LinkUp(at=1.0, pbx=PbxId("pbx1"), version="22")])
    written.close()
    (given.recordings.folder / "2026" / "1.wav").write_bytes(b"RIFF")


async def _names(url: str) -> Sequence[str]:
    database = Database(url)
    try:
        assert await database.stored_schema() == known_schema()
        async with database.read() as connection:
            return [one.username for one in await users.all_users(connection)]
    finally:
        await database.close()


async def test_a_backup_made_while_somebody_writes_comes_back_whole(
    tmp_path: Path, blank_url: str, request: pytest.FixtureRequest
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    config = _config(here, blank_url)
    given = settings.load(config, {})
    await _fill(blank_url, given)
    database = Database(blank_url)
    async with database.begin() as connection:
        await users.create_user(
            connection, username="late", name="Late", password_hash="-", role="agent", now=time.time()
        )
        # Not committed yet: the backup holds what is.
        made = back_up(given, config, tmp_path / "backups", at=AT, with_recordings=True)
    await database.close()
    assert made.name.startswith("callfloor-20261122T060000")
    assert (made.stat().st_mode & 0o077) == 0
    assert "2026/1.wav" in (made / "recordings.txt").read_text()
    assert (made / "config" / "callfloor.toml").read_text() == config.read_text()
    assert (made / "config" / "phones.toml").is_file()

    is_sqlite = blank_url.startswith("sqlite")
    new_url = f"sqlite+aiosqlite:///{there / 'crm.db'}" if is_sqlite else request.getfixturevalue("postgres_url")
    elsewhere = settings.load(_config(there, new_url), {})
    done = restore(elsewhere, made)
    assert (done.journal_segments, done.recordings, done.kept) == (1, 1, None)
    assert "hunter2" not in done.database
    assert await _names(new_url) == ["root"]
    assert [fact for _, fact in journal.read(elsewhere.journal.folder)] == [
        LinkUp(at=1.0, pbx=PbxId("pbx1"), version="22")
    ]
    assert (elsewhere.recordings.folder / "2026" / "1.wav").read_bytes() == b"RIFF"

    # A second time there is something to lose: it is refused, or kept.
    with pytest.raises(BackupError, match="--replace"):
        restore(elsewhere, made)
    again = restore(elsewhere, made, may_replace=True, is_database_only=True)
    assert again.kept is not None
    assert again.kept.is_file()
    assert await _names(new_url) == ["root"]
    assert await _names(blank_url) == ["late", "root"]


async def test_a_damaged_backup_is_refused_before_anything_is_touched(tmp_path: Path, sqlite_template: Path) -> None:
    shutil.copy(sqlite_template, tmp_path / "crm.db")
    blank_url = f"sqlite+aiosqlite:///{tmp_path / 'crm.db'}"
    config = _config(tmp_path / "here", blank_url)
    given = settings.load(config, {})
    await _fill(blank_url, given)
    made = back_up(given, config, tmp_path / "backups", at=AT)
    (made / "journal" / "00000001.journal").write_bytes(b"")
    elsewhere = settings.load(_config(tmp_path / "there", f"sqlite+aiosqlite:///{tmp_path}/there/crm.db"), {})
    with pytest.raises(BackupError, match=r"damaged: journal/00000001\.journal"):
        restore(elsewhere, made)
    assert not (tmp_path / "there" / "crm.db").exists()
    manifest = json.loads((made / "manifest.json").read_text())
    manifest["files"] = {"../here/callfloor.toml": "0"}
    (made / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BackupError, match="not complete"):
        check(made)
    with pytest.raises(BackupError, match="is no backup"):
        restore(elsewhere, tmp_path)
    with pytest.raises(BackupError, match="there is no database"):
        back_up(elsewhere, None, tmp_path / "backups", at=AT)
    assert [path.name for path in (tmp_path / "backups").iterdir()] == [made.name]
