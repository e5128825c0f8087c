"""Asterisk's REST interface, for the one thing that AMI can't do: make browser phones and replace their passwords.

What is made here lives in the PBX's own database and outlives its restarts. What stands in ``pjsip.conf`` can't be
changed here: a browser phone may have its endpoint there, but not its password.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import aiohttp
from yarl import URL

from cti.errors import ActionFailed, ActionTimeout, BadInput, LinkDown, LoginRefused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

OBJECTS: Final = "asterisk/config/dynamic/res_pjsip"
MOST_ROUNDS: Final = 3
"""A phone that registers again while its contacts are taken away had been let in before its password went."""

BROWSER_AOR: Final = {
    "max_contacts": "1",
    "remove_existing": "yes",
    "minimum_expiration": "30",
    "default_expiration": "120",
    "maximum_expiration": "300",
}
BROWSER_ENDPOINT: Final = {
    "context": "callfloor-agents",
    "webrtc": "yes",
    "dtls_auto_generate_cert": "yes",
    "disallow": "all",
    "allow": "alaw,ulaw",
    "direct_media": "no",
    "allow_subscribe": "no",
    "trust_id_inbound": "no",
    "send_pai": "no",
    "send_rpid": "no",
    "rtp_timeout": "5",
    "dtmf_mode": "rfc4733",
}
"""As ``config/asterisk/pjsip.conf.j2`` has them."""

_ENDPOINT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


@dataclass(frozen=True, slots=True)
class AriAddress:
    """Where a PBX's REST interface is (``http://127.0.0.1:8088/ari``) and how to log in."""

    url: str
    username: str
    secret: str = field(repr=False)
    timeout_s: float = 3.0


class Ari:
    """One PBX's REST interface. ``contacts_of``: endpoint → the ids of its registered contacts (only AMI tells).

    Everything raises ``LinkDown``, ``ActionTimeout``, ``LoginRefused``, ``ActionFailed`` or ``BadInput``.
    """

    def __init__(self, address: AriAddress, *, contacts_of: Callable[[str], Awaitable[Sequence[str]]]) -> None:
        self._address = address
        self._contacts_of = contacts_of
        self._session: aiohttp.ClientSession | None = None

    async def set_password(self, endpoint: str, password: str) -> None:
        """From now on this password, and no other, lets the phone in. Calls and registrations that stand go on."""
        await self._put("auth", endpoint, {"auth_type": "userpass", "username": endpoint, "password": password})

    async def make_phone(self, endpoint: str) -> None:
        """There is a browser phone of this name from now on; one that stands in ``pjsip.conf`` stays as it is there."""
        own = {"aors": endpoint, "auth": endpoint, "callerid": f"<{endpoint}>"}
        for kind, fields in (("aor", BROWSER_AOR), ("endpoint", BROWSER_ENDPOINT | own)):
            await self._put(kind, endpoint, fields, good=(200, 403))

    async def remove_contacts(self, endpoint: str) -> None:
        """Nobody is rung under this name until somebody registers again."""
        for _ in range(MOST_ROUNDS):
            contacts = await self._contacts_of(endpoint)
            if not contacts:
                return
            for contact in contacts:
                await self._ask("DELETE", f"contact/{quote(contact, safe='')}", good=(204, 404))
        raise ActionFailed(f"{endpoint} registers again and again")

    async def close(self) -> None:
        """End the connections."""
        if self._session is not None:
            await self._session.close()

    async def _put(self, kind: str, name: str, fields: Mapping[str, str], good: tuple[int, ...] = (200,)) -> None:
        body = {"fields": [{"attribute": attribute, "value": value} for attribute, value in fields.items()]}
        if _ENDPOINT.fullmatch(name) is None:
            raise BadInput("endpoint", "malformed")
        await self._ask("PUT", f"{kind}/{name}", good=good, body=body)

    async def _ask(self, method: str, path: str, *, good: tuple[int, ...], body: object = None) -> None:
        address = self._address
        if self._session is None:
            credentials = aiohttp.encode_basic_auth(address.username, address.secret)
            self._session = aiohttp.ClientSession(
                headers={"Authorization": credentials},
                timeout=aiohttp.ClientTimeout(total=address.timeout_s),
                trust_env=False,
            )
        url = f"{address.url.rstrip('/')}/{OBJECTS}/{path}"
        try:
            # Encoded already: a contact's id holds a semicolon.
            async with self._session.request(
                method, URL(url, encoded=True), json=body, allow_redirects=False
            ) as answer:
                status = answer.status
                await answer.read()
        except TimeoutError:
            raise ActionTimeout(f"ARI: no answer in {address.timeout_s:g} s") from None
        except aiohttp.ClientError as problem:
            raise LinkDown(f"ARI: {type(problem).__name__}") from None
        if status in (401, 403) and status not in good:
            raise LoginRefused(f"ARI refuses user {address.username!r}, or {path} stands in pjsip.conf ({status})")
        if status not in good:
            raise ActionFailed(f"ARI answers {status}")
