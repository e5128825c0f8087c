"""``callfloor pbx-agent``: on a PBX that shares no disk with the daemon, brings its records and recordings there.

A small loop: send what the records of calls have grown by, send recordings that are finished, say how full the disk is.
Each part goes with its offset and the daemon answers with the one it wants, so that after any break nothing is missing
and nothing is there twice. While the daemon is away everything stays where Asterisk put it; at most one part is in
memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import random
import shutil
import ssl
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

import aiohttp
from pydantic import Field, SecretStr, ValidationError

from cti.asterisk.cel import at_of_cel, at_of_queue_log
from cti.errors import CallfloorError, SettingsError
from cti.record_files import CEL, QUEUE_LOG, listing, open_records
from cti.settings import PbxSlug, Section

log = logging.getLogger(__name__)

PART_BYTES = 1_048_576
LOOK_S = 1.0
RECORDINGS_EVERY_S = 5.0
DISK_EVERY_S = 60.0
QUIET_S = 10.0
"""A recording that has not grown for that long, and that nobody has open, is finished."""
FIRST_RETRY_S, LAST_RETRY_S = 1.0, 60.0
ANSWER_S = 60.0
LOCAL_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})


class AgentSettings(Section):
    """``url``: of the site, ``https://…``. ``token_file``: holds the ``agent_token`` of this PBX, readable by this
    program alone. ``records_folder``: Asterisk's log folder. ``recordings_folder``: where Asterisk writes recordings.
    ``state_file``: what was uploaded. ``ca_file``: the site's own certificate authority, if it has one.
    ``removes_uploaded``: a recording that is safe there goes here. ``low_free_mb``: less than that is told as low."""

    url: str
    pbx: PbxSlug = "pbx1"
    token_file: Path
    records_folder: Path = Path("/var/log/asterisk")
    recordings_folder: Path | None = None
    state_file: Path = Path("/var/lib/callfloor-agent/state.json")
    ca_file: Path | None = None
    removes_uploaded: bool = False
    low_free_mb: Annotated[int, Field(ge=0)] = 1000

    @property
    def base(self) -> str:
        """The address that everything is sent below."""
        return f"{self.url.rstrip('/')}/api/pbx/{self.pbx}"

    def token(self) -> SecretStr:
        """The secret. Raises ``SettingsError``."""
        try:
            return SecretStr(self.token_file.read_text(encoding="utf-8").strip())
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError("token_file", f"{self.token_file} can't be read: {type(error).__name__}") from None


def load(path: Path) -> AgentSettings:
    """The settings in a TOML file. Raises ``SettingsError`` naming the key."""
    try:
        settings = AgentSettings.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise SettingsError(str(path), "there is no such file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(str(path), f"is not valid TOML: {error}") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise SettingsError(".".join(str(part) for part in first["loc"]), first["msg"]) from None
    parts = urlsplit(settings.url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOCAL_HOSTS):
        raise SettingsError("url", "must begin with https://: a token goes along")
    return settings


class DaemonAway(CallfloorError):
    """The daemon did not take what was sent; it is sent again later."""


@dataclass(slots=True)
class _State:
    """What outlives a restart: how far records were sent (by mark), and recordings that are safe (size, changed at)."""

    path: Path
    offsets: dict[str, int]
    uploaded: dict[str, tuple[int, float]]

    @classmethod
    def load(cls, path: Path) -> _State:
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            offsets = {str(mark): int(offset) for mark, offset in kept["offsets"].items()}
            uploaded = {str(file): (int(size), float(at)) for file, (size, at) in kept["uploaded"].items()}
        except FileNotFoundError:
            return cls(path, {}, {})
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            log.warning("! %s can't be read; the daemon says what it has", path)
            return cls(path, {}, {})
        return cls(path, offsets, uploaded)

    def save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps({"offsets": self.offsets, "uploaded": self.uploaded}), encoding="utf-8")
        new.replace(self.path)


class PbxAgent:
    """The loop. ``jitter``: spreads the tries of many agents; ``clock``: Unix seconds."""

    def __init__(
        self,
        settings: AgentSettings,
        *,
        jitter: random.Random,
        clock: Callable[[], float] = time.time,
        quiet_s: float = QUIET_S,
    ) -> None:
        self._settings = settings
        self._jitter = jitter
        self._clock = clock
        self._quiet_s = quiet_s
        self._token = settings.token()
        self._state = _State.load(settings.state_file)
        self._marks: dict[str, set[str]] = {}
        self._backlog = 0
        self._recordings_at = 0.0
        self._disk_at = 0.0

    async def run(self) -> None:
        """Bring everything, again and again, until cancelled. Raises ``SettingsError``."""
        async with self.session() as session:
            retry_s = FIRST_RETRY_S
            while True:
                try:
                    await self.bring(session)
                except (DaemonAway, aiohttp.ClientError, OSError, TimeoutError) as error:
                    if retry_s == FIRST_RETRY_S:
                        log.warning("! nothing can be brought now (%s); it stays here meanwhile", _said(error))
                    await asyncio.sleep(retry_s * (0.5 + self._jitter.random()))
                    retry_s = min(retry_s * 2, LAST_RETRY_S)
                else:
                    if retry_s > FIRST_RETRY_S:
                        log.warning("= the daemon takes again what is brought")
                    retry_s = FIRST_RETRY_S
                    await asyncio.sleep(LOOK_S)

    async def bring(self, session: aiohttp.ClientSession) -> None:
        """One round. Raises ``DaemonAway``, ``aiohttp.ClientError``, ``OSError`` and ``TimeoutError``."""
        # The queues' own book first: it explains rings of calls that the records then end.
        await self._records(session, self._settings.records_folder, QUEUE_LOG, at_of_queue_log)
        await self._records(session, self._settings.records_folder / "cel-custom", CEL, at_of_cel)
        now = self._clock()
        if self._settings.recordings_folder is not None and now - self._recordings_at >= RECORDINGS_EVERY_S:
            await self._recordings(session, self._settings.recordings_folder)
            self._recordings_at = now
        if now - self._disk_at >= DISK_EVERY_S:
            await self._disk(session)
            self._disk_at = now

    def session(self) -> aiohttp.ClientSession:
        """What ``bring`` sends with; whoever asks for it closes it. Raises ``SettingsError``."""
        context: ssl.SSLContext | bool = True
        if self._settings.ca_file is not None:
            try:
                context = ssl.create_default_context(cafile=str(self._settings.ca_file))
            except (OSError, ssl.SSLError) as error:
                raise SettingsError("ca_file", f"can't be used: {type(error).__name__}") from None
        return aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {self._token.get_secret_value()}"},
            timeout=aiohttp.ClientTimeout(total=ANSWER_S),
            connector=aiohttp.TCPConnector(ssl=context, limit=1),
        )

    # ── records ───────────────────────────────────────────────────────────────────────────────────────────

    async def _records(
        self, session: aiohttp.ClientSession, folder: Path, name: str, at_of: Callable[[bytes], float | None]
    ) -> None:
        files = await asyncio.to_thread(listing, folder, name, at_of)
        for file in files:
            offset = self._state.offsets.get(file.mark, 0)
            while True:
                if not file.is_packed and file.size <= offset:
                    break
                data = await asyncio.to_thread(_read, file.path, offset)
                if not data:
                    break
                url = f"{self._settings.base}/records/{name}.{file.mark}"
                offset = await self._send(session, url, offset, data)
                self._state.offsets[file.mark] = offset
                self._state.save()
        self._forget(name, {file.mark for file in files})

    def _forget(self, name: str, marks: set[str]) -> None:
        """Files that the rotation has removed are not kept in mind for ever."""
        known = self._marks.setdefault(name, set())
        for mark in known - marks:
            self._state.offsets.pop(mark, None)
        self._marks[name] = marks

    async def _send(self, session: aiohttp.ClientSession, url: str, offset: int, data: bytes) -> int:
        """Where the file there ends now. Raises ``DaemonAway``."""
        async with session.post(
            url, params={"offset": str(offset)}, data=data, headers={"Content-Type": "application/octet-stream"}
        ) as answer:
            if answer.status in (200, 409):
                return _offset(await answer.json())
            raise DaemonAway(f"status {answer.status}")

    # ── recordings ────────────────────────────────────────────────────────────────────────────────────────

    async def _recordings(self, session: aiohttp.ClientSession, folder: Path) -> None:
        uploaded = self._state.uploaded
        waiting = await asyncio.to_thread(self._finished, folder)
        self._backlog = sum(size for _, size, _ in waiting)
        for path, size, changed_at in waiting:
            is_there = await self._recording(session, path)
            uploaded[path.name] = (size, changed_at)
            self._backlog -= size
            if is_there and self._settings.removes_uploaded:
                path.unlink(missing_ok=True)
                del uploaded[path.name]
            self._state.save()
        gone = [file for file in uploaded if not (folder / file).exists()]
        for file in gone:
            del uploaded[file]
        if gone:
            self._state.save()

    def _finished(self, folder: Path) -> list[tuple[Path, int, float]]:
        """Recordings that are not there yet and grow no more, oldest first: (file, size, changed at)."""
        found = []
        now = self._clock()
        for path in folder.glob("*.wav"):
            try:
                state = path.stat()
            except FileNotFoundError:
                continue
            key = (state.st_size, state.st_mtime)
            is_new = state.st_size > 0 and self._state.uploaded.get(path.name) != key
            if is_new and now - state.st_mtime >= self._quiet_s:
                found.append((path, *key))
        open_now = _open_files() if found else set()
        return sorted((one for one in found if str(one[0].resolve()) not in open_now), key=lambda one: one[2])

    async def _recording(self, session: aiohttp.ClientSession, path: Path) -> bool:
        """Whether it is there; False for one that the daemon will never take. Raises ``DaemonAway``."""
        url = f"{self._settings.base}/recordings/{quote(path.name)}"
        size, digest = await asyncio.to_thread(_measure, path)
        # Asked before anything is sent: it may be there, whole or in part, from a time that the state does not know.
        for _ in range(3):
            async with session.post(f"{url}/finished", json={"size": size, "sha256": digest}) as answer:
                if answer.status == 200:
                    return True
                if answer.status in (404, 422):
                    log.warning("! the daemon does not want %s (status %d)", path.name, answer.status)
                    return False
                if answer.status != 409:
                    raise DaemonAway(f"status {answer.status}")
                offset = _offset(await answer.json())
            while offset < size:
                data = await asyncio.to_thread(_read, path, offset)
                if not data:
                    break
                offset = await self._send(session, url, offset, data)
        raise DaemonAway("a recording does not arrive whole")

    # ── the disk ──────────────────────────────────────────────────────────────────────────────────────────

    async def _disk(self, session: aiohttp.ClientSession) -> None:
        folders = [self._settings.records_folder, self._settings.recordings_folder or self._settings.records_folder]
        free_mb = min(shutil.disk_usage(folder).free for folder in folders) // 1_000_000
        is_low = free_mb < self._settings.low_free_mb
        if is_low:
            log.warning("! the disk is nearly full: %d MB are free", free_mb)
        report = {"free_mb": free_mb, "is_low": is_low, "backlog_mb": self._backlog // 1_000_000}
        async with session.post(f"{self._settings.base}/disk", json=report) as answer:
            if answer.status != 200:
                raise DaemonAway(f"status {answer.status}")


def _read(path: Path, offset: int) -> bytes:
    with open_records(path) as opened:
        opened.seek(offset)
        return opened.read(PART_BYTES)


def _offset(answer: Any) -> int:
    """The offset in an answer. Raises ``DaemonAway`` for an answer that has none."""
    offset = answer.get("offset") if isinstance(answer, dict) else None
    if not isinstance(offset, int) or offset < 0:
        raise DaemonAway("not an answer of the daemon")
    return offset


def _measure(path: Path) -> tuple[int, str]:
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as opened:
        while chunk := opened.read(PART_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return size, digest.hexdigest()


def _open_files() -> set[str]:
    """Files that programs of this machine have open, as far as we may see."""
    found: set[str] = set()
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            # One that ends meanwhile, or that belongs to somebody else.
            for link in (process / "fd").iterdir():
                found.add(str(link.readlink()))
    return found


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, DaemonAway) else type(error).__name__
