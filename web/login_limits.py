"""How often one may try to log in. Pure: the clock is passed in.

Three counts, each with its own patience: an account from one address (guessing one password), an address (guessing
many accounts), and an account from everywhere (a distributed guess). The first two wait longer and longer, up to 15
minutes; the third never more than a minute, so that nobody can lock somebody else out for good. A count is forgotten
after an hour of quiet, and the number of counts kept is bounded.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass

FORGET_AFTER_S = 3600.0
MAX_COUNTS = 20_000


@dataclass(frozen=True, slots=True)
class Patience:
    """``free`` failures cost nothing, the next waits ``first_wait_s``, each further one twice as long up to
    ``longest_wait_s``."""

    free: int
    first_wait_s: float
    longest_wait_s: float

    def wait_s(self, failures: int) -> float:
        """How long to wait after so many failures in a row."""
        if failures < self.free:
            return 0.0
        return min(self.first_wait_s * 2.0 ** min(failures - self.free, 16), self.longest_wait_s)


PAIR = Patience(free=5, first_wait_s=15.0, longest_wait_s=900.0)
ADDRESS = Patience(free=20, first_wait_s=15.0, longest_wait_s=900.0)
ACCOUNT = Patience(free=30, first_wait_s=5.0, longest_wait_s=60.0)


@dataclass(slots=True)
class _Count:
    failures: int
    last_at: float


class LoginLimits:
    """Counts failed logins in memory."""

    def __init__(self) -> None:
        self._counts: OrderedDict[tuple[str, str], _Count] = OrderedDict()

    def wait_s(self, account: str, address: str, *, now: float) -> float:
        """Seconds until this account may be tried from this address; 0 when it may be tried now."""
        return max(self._wait_of(key, patience, now) for key, patience in _keys(account, address))

    def attempted(self, account: str, address: str, *, now: float) -> None:
        """An attempt begins: it counts as failed until ``succeeded`` says otherwise, so that many at once count as
        many."""
        for key, _patience in _keys(account, address):
            count = self._counts.get(key)
            if count is None or now - count.last_at > FORGET_AFTER_S:
                count = self._counts[key] = _Count(0, now)
            count.failures += 1
            count.last_at = now
            self._counts.move_to_end(key)
        while len(self._counts) > MAX_COUNTS:
            self._counts.popitem(last=False)

    def succeeded(self, account: str, address: str) -> None:
        """The attempt that began last was right: the account's counts are cleared, the address's loses this one
        attempt."""
        for key, patience in _keys(account, address):
            count = self._counts.get(key)
            if count is None:
                continue
            if patience is ADDRESS:
                count.failures -= 1
            else:
                del self._counts[key]

    def _wait_of(self, key: tuple[str, str], patience: Patience, now: float) -> float:
        count = self._counts.get(key)
        if count is None or now - count.last_at > FORGET_AFTER_S:
            return 0.0
        return max(0.0, count.last_at + patience.wait_s(count.failures) - now)


def _keys(account: str, address: str) -> tuple[tuple[tuple[str, str], Patience], ...]:
    account = account.strip().casefold()
    network = network_of(address)
    return (((account, network), PAIR), (("", network), ADDRESS), ((account, ""), ACCOUNT))


def network_of(address: str) -> str:
    """What counts as one address: an IPv4 address, or the /64 that one IPv6 subscriber owns."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))
    return str(parsed)
