"""The pass with which a browser's phone gets through the gate: signed by the daemon, checked by the gate alone.

The gate must let phones in while the daemon is dead, so a pass speaks for itself: whose phone it is, at which PBX, from
which log-in and until when, with an HMAC whose key both processes read from one folder. A log-out is written into a
small list beside the key, which the gate reads again whenever it changes.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import json
import logging
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cti.errors import SettingsError

COOKIE = "callfloor_phone"
PATH = "/sip"
"""The cookie goes to the gate's SIP paths only."""

KEY_FILE = "pass.key"
REVOKED_FILE = "revoked.json"
KEY_BYTES = 32
LONGEST_PASS = 2000
_DOMAIN = b"callfloor phone pass 1\0"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PhonePass:
    """``user``: the SIP user that the phone speaks for; ``username``: what it authenticates as. ``session`` names the
    log-in and cannot open it. ``until``: Unix seconds."""

    pbx: str
    user: str
    username: str
    session: str
    until: float


class PassKey:
    """Signs passes and reads them."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    @classmethod
    def open(cls, folder: Path, *, setting: str = "gate.pass_folder") -> Self:
        """The key in ``folder``, made if there is none yet, readable by its owner only. Raises ``SettingsError``."""
        path = folder / KEY_FILE
        try:
            if not path.exists():
                _make_key(path)
            secret = bytes.fromhex(path.read_text(encoding="ascii").strip())
            is_open_to_all = path.stat().st_mode & 0o007 != 0
        except OSError as error:
            raise SettingsError(setting, f"{path} can't be read or made: {error.strerror}") from None
        except ValueError:
            raise SettingsError(setting, f"{path} holds no key; remove it and a new one is made") from None
        if len(secret) < KEY_BYTES:
            raise SettingsError(setting, f"{path} holds no key; remove it and a new one is made")
        if is_open_to_all:
            raise SettingsError(setting, f"{path} can be read by everybody: chmod 600 it")
        return cls(secret)

    def sign(self, given: PhonePass) -> str:
        """The pass as the cookie's value."""
        fields = [given.pbx, given.user, given.username, given.session, given.until]
        body = _encode(json.dumps(fields, separators=(",", ":")).encode())
        return f"{body}.{_encode(self._mark(body))}"

    def read(self, text: str, *, now: float) -> PhonePass | None:
        """The pass in a cookie's value; None for one that we did not sign or that has run out."""
        if len(text) > LONGEST_PASS:
            return None
        body, _dot, mark = text.partition(".")
        if not hmac.compare_digest(_encode(self._mark(body)).encode(), mark.encode("utf-8", "replace")):
            return None
        try:
            pbx, user, username, session, until = json.loads(_decode(body))
        except (ValueError, TypeError, binascii.Error):
            return None
        return PhonePass(pbx, user, username, session, until) if until > now else None

    def _mark(self, body: str) -> bytes:
        return hmac.new(self._secret, _DOMAIN + body.encode("utf-8", "replace"), hashlib.sha256).digest()


class Revocations:
    """The log-ins that ended before their passes did. The daemon writes the list, the gate reads it.

    ``keep_s``: no pass lives longer, so no entry has to. ``clock``: Unix seconds.
    """

    def __init__(self, folder: Path, *, keep_s: float, clock: Callable[[], float]) -> None:
        self._path = folder / REVOKED_FILE
        self._keep_s = keep_s
        self._clock = clock
        self._until: dict[str, float] = {}
        self._seen: tuple[int, int, int] | None = None
        self.refresh()

    def revoke(self, session: str) -> None:
        """This log-in's passes open nothing from now on. What can't be written is logged: log-outs go on."""
        now = self._clock()
        self._until = {one: until for one, until in self._until.items() if until > now} | {session: now + self._keep_s}
        new = self._path.with_suffix(".new")
        try:
            new.write_text(json.dumps(self._until), encoding="ascii")
            new.replace(self._path)
        except OSError as error:
            log.error("! a log-out could not be told to the gate, its pass lives on until it ends: %s", error.strerror)  # noqa: TRY400

    def refresh(self) -> bool:
        """Read the list again if it changed; whether it did. A list that can't be read leaves the last one."""
        try:
            stat = self._path.stat()
            seen = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if seen == self._seen:
                return False
            found = json.loads(self._path.read_text(encoding="ascii"))
            self._until = {str(session): float(until) for session, until in found.items()}
        except FileNotFoundError:
            return False
        except (OSError, ValueError, AttributeError, TypeError) as error:
            log.warning("! %s can't be read: %s", self._path, type(error).__name__)
            return False
        self._seen = seen
        return True

    def is_revoked(self, session: str) -> bool:
        """Did this log-in end?"""
        return session in self._until


def _make_key(path: Path) -> None:
    """Whole or not at all, and the first of two who make one wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(secrets.token_hex(KEY_BYTES) + "\n")
    with contextlib.suppress(FileExistsError):
        path.hardlink_to(new)
    new.unlink()


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
