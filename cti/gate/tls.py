"""The certificate that the gate shows, kept up to date while connections live on.

Whoever renews it (certbot, lego, the office's own authority) writes the files; new connections get the new certificate,
old ones keep what they agreed on.
"""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from cti.errors import SettingsError

log = logging.getLogger(__name__)


@dataclass
class TlsFiles:
    """A certificate (with its chain) and its key, both PEM."""

    certificate: Path
    key: Path
    _context: ssl.SSLContext | None = field(default=None, init=False)
    _seen: tuple[int, ...] = field(default=(), init=False)
    _refused: tuple[int, ...] = field(default=(), init=False)

    @property
    def context(self) -> ssl.SSLContext:
        """For the next connection. Raises ``SettingsError`` when the files can't be used and never could."""
        if self._context is None:
            self._load()
        assert self._context is not None
        return self._context

    def refresh(self) -> bool:
        """Take up changed files; whether there were any. A pair that does not fit yet leaves the last one in use."""
        try:
            seen = self._look()
            if seen in (self._seen, self._refused):
                return False
            self._load()
        except (SettingsError, OSError) as error:
            log.warning("! the changed certificate is not taken: %s", error)
            self._refused = seen if isinstance(error, SettingsError) else ()
            return False
        log.info("= the certificate was renewed")
        return True

    def _look(self) -> tuple[int, ...]:
        return tuple(number for path in (self.certificate, self.key) for number in _mark(path))

    def _load(self) -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            seen = self._look()
            # A key with a passphrase would ask for it on the terminal; an empty one is refused instead.
            context.load_cert_chain(self.certificate, self.key, password=lambda: b"")
        except ssl.SSLError as error:
            raise SettingsError("gate.certificate", f"{self.certificate} and {self.key}: {error.reason}") from None
        except OSError as error:
            raise SettingsError("gate.certificate", f"{error.filename or self.key}: {error.strerror}") from None
        self._context, self._seen, self._refused = context, seen, ()


def _mark(path: Path) -> tuple[int, int, int]:
    stat = path.stat()
    return stat.st_ino, stat.st_mtime_ns, stat.st_size
