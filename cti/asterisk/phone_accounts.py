"""With what the browsers' phones register: a password made at each log-in and worth nothing after it.

Passwords are kept here, in memory, and in the PBX's own database; never in ours. A page that is loaded again within
its session gets the same one; another session of the same agent, or another start of the daemon, gets a new one, and
a page whose phone is refused asks again. When the last session has ended the password is replaced by one that nobody
was told, and whatever is registered under that name is removed: a copied secret lets nobody register, call or be
called. A PBX without a REST interface keeps the passwords of its ``phones_file``.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from cti.errors import LinkError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from cti.ids import PbxId
    from cti.routing.plan import Phone

SWEEP_S: Final = 30.0
"""How often sessions that ended by themselves, or in another process, are looked for."""
RETRY_S: Final = 2.0

log = logging.getLogger(__name__)


class PasswordMaker(Protocol):
    """What ``cti.asterisk.ari.Ari`` does. Raises ``LinkError``."""

    async def set_password(self, endpoint: str, password: str) -> None:
        """This password, and no other, lets the phone in."""
        ...

    async def make_phone(self, endpoint: str) -> None:
        """There is a browser phone of this name."""
        ...

    async def remove_contacts(self, endpoint: str) -> None:
        """Nobody is registered under this name any more."""
        ...


@dataclass(slots=True)
class _Held:
    """One phone's password, and the sessions that were told it."""

    password: str = field(repr=False)
    sessions: set[str]


class PhoneAccounts:
    """``makers``: PBX → its REST interface; ``files``: PBX → endpoint → password, where there is none.

    ``living_sessions`` gives the ids of all sessions that are good now, or None while nobody can tell.
    """

    def __init__(
        self,
        makers: Mapping[PbxId, PasswordMaker],
        files: Mapping[PbxId, Mapping[str, str]],
        *,
        living_sessions: Callable[[], Awaitable[frozenset[str] | None]],
    ) -> None:
        self._makers = makers
        self._files = files
        self._living_sessions = living_sessions
        self._held: dict[Phone, _Held] = {}
        self._locks: defaultdict[Phone, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._to_shut: dict[Phone, None] = {}
        """Phones that nobody may use any more, and whose PBX does not know it yet."""
        self._has_work = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, unused: Iterable[Phone]) -> None:
        """Begin. ``unused``: browser phones of agents without a session; what an earlier run gave out ends here."""
        self._shut(phone for phone in unused if phone.pbx in self._makers)
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._shut_phones()), loop.create_task(self._sweep())]

    async def close(self) -> None:
        """End. Passwords stay good: phones live on while the daemon is away."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def password(self, phone: Phone, session: str) -> str | None:
        """With what the phone of this session registers; None if there is no such account.

        A PBX that can't be reached now gets the password when the page asks again; until then the phone is refused.
        """
        maker = self._makers.get(phone.pbx)
        if maker is None:
            return self._files.get(phone.pbx, {}).get(phone.endpoint)
        async with self._locks[phone]:
            held = self._held.get(phone)
            is_new = held is None or session not in held.sessions
            if held is None or is_new:
                held = _Held(_new_password(), {session} if held is None else {session, *held.sessions})
                self._held[phone] = held
            self._to_shut.pop(phone, None)
            try:
                await maker.set_password(phone.endpoint, held.password)
                if is_new:
                    await maker.make_phone(phone.endpoint)
                    await maker.remove_contacts(phone.endpoint)
            except LinkError as problem:
                log.warning("! %s could not be given its password: %s", phone.endpoint, problem)
            return held.password

    def session_ended(self, session: str) -> None:
        """Whatever this session was told is worth nothing from now on."""
        for phone, held in list(self._held.items()):
            if session not in held.sessions:
                continue
            held.sessions.discard(session)
            # Another session of the same agent finds its phone refused, asks, and is told the new one.
            held.password = _new_password()
            if not held.sessions:
                del self._held[phone]
            self._shut([phone])

    def _shut(self, phones: Iterable[Phone]) -> None:
        self._to_shut.update(dict.fromkeys(phones))
        self._has_work.set()

    async def _shut_phones(self) -> None:
        while True:
            await self._has_work.wait()
            self._has_work.clear()
            for phone in list(self._to_shut):
                await self._shut_one(phone)
            if self._to_shut:
                await asyncio.sleep(RETRY_S)
                self._has_work.set()

    async def _shut_one(self, phone: Phone) -> None:
        maker = self._makers[phone.pbx]
        async with self._locks[phone]:
            if phone not in self._to_shut:
                return  # somebody has logged in meanwhile
            held = self._held.get(phone)
            try:
                await maker.set_password(phone.endpoint, _new_password() if held is None else held.password)
                await maker.remove_contacts(phone.endpoint)
            except LinkError as problem:
                log.info("= %s keeps its password for now: %s", phone.endpoint, problem)
                return
            self._to_shut.pop(phone, None)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            told = {session for held in self._held.values() for session in held.sessions}
            if not told:
                continue
            living = await self._living_sessions()
            for session in told - living if living is not None else ():
                self.session_ended(session)


def _new_password() -> str:
    return secrets.token_hex(20)
