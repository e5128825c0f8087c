"""The gate itself: pages and desk sockets to the daemon, SIP to the PBXs, and what it answers alone.

It knows no session, no database and no call. A phone is let through by its pass (``cti.phone_pass``), which needs
nobody else; so phones keep their line, and get a new one, while the daemon is dead.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import itertools
import logging
import re
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from urllib.parse import urlsplit

from aiohttp import (
    ClientConnectionError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    ClientWebSocketResponse,
    ClientWSTimeout,
    DummyCookieJar,
    TCPConnector,
    WSServerHandshakeError,
    web,
)
from multidict import CIMultiDict
from yarl import URL

from cti.errors import BadInput, SettingsError
from cti.gate import away, certificates, sip
from cti.gate.listener import Listener, plain_address
from cti.gate.relay import AGAIN, Pace, relay
from cti.gate.tls import TlsFiles
from cti.phone_pass import COOKIE, PATH, PassKey, PhonePass, Revocations
from cti.settings import Settings, is_loopback

DESK_SOCKET = "/desk/socket"
HEALTH = "/gate/health"
LANGUAGE_COOKIE = "callfloor_language"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "expect",
    }
)
FORWARDED = frozenset(
    {
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-proto",
        "x-forwarded-server",
        "x-real-ip",
    }
)

LONGEST_BODY = 64 * 1024 * 1024
LONGEST_DESK_FRAME = 64 * 1024
LONGEST_FRAME_FROM_BEHIND = 4 * 1024 * 1024
ANSWER_S = 15.0
"""How long the daemon may take to begin its answer, after the last byte of what it was sent."""
UPLOAD_S = 600.0
CHUNK_S = 60.0
CONNECT_S = 3.0
UPGRADE_S = 5.0
PAGE_PING_S = 20.0
DESK_PING_S = 10.0
PBX_PING_S = 20.0
"""Pings; an answer is awaited half as long."""
PROBE_EVERY_S = 2.0
PROBE_S = 3.0
SILENT_PROBES = 2
PHONES_PER_LOGIN = 4
SIP_PER_S, SIP_AT_ONCE = 20.0, 200.0
DESK_PER_S, DESK_AT_ONCE = 20.0, 100.0
LOOK_EVERY_S = 2.0
CERTIFICATE_EVERY_S = 3600.0
SOURCES = 1 << 20
LAST_WORDS_S = 3.0
TELL_EVERY_S = 60.0
"""How often refused phones are told of."""

_SIP_PATH = re.compile(re.escape(PATH) + r"/([a-z0-9]{1,20})")
_ACME = re.compile(r"/\.well-known/acme-challenge/([A-Za-z0-9_-]{1,128})")
_TOKEN = re.compile(r"[A-Za-z0-9.!#$%&'*+^_`|~-]{1,40}")

log = logging.getLogger(__name__)


class Gate:
    """One gate. ``clock`` is Unix seconds. Raises ``SettingsError`` for what it can't start with."""

    def __init__(self, settings: Settings, *, clock: Callable[[], float]) -> None:
        gate = settings.gate
        if not gate.origin:
            raise SettingsError("gate.origin", "is needed: the site as browsers see it, https://floor.example")
        self._settings = gate
        self._clock = clock
        self._origins = frozenset({gate.origin, *settings.web.origins})
        self._hosts = frozenset(_host_of(origin) for origin in self._origins)
        self._proxies = frozenset(gate.trusted_proxies)
        self._pages = f"http://{_reachable(settings.web.host)}:{settings.web.port}"
        desk = settings.desk_socket
        self._desk = f"http://{_reachable(desk.host)}:{desk.port}{DESK_SOCKET}"
        self._pbxs: Mapping[str, str] = {pbx.id: pbx.sip_ws_url for pbx in settings.pbx if pbx.sip_ws_url}
        self._tls = TlsFiles(gate.certificate, gate.key) if gate.certificate and gate.key else None
        self._key = PassKey.open(gate.pass_folder)
        self._revoked = Revocations(gate.pass_folder, keep_s=gate.pass_life_s, clock=clock)
        self._phones: defaultdict[str, set[web.WebSocketResponse]] = defaultdict(set)
        self._desks: set[web.WebSocketResponse] = set()
        self._unanswered_probes = 0
        self._refused_phones = 0
        self._sources = itertools.count(1)
        self._told_at = 0.0
        self._tasks: list[asyncio.Task[None]] = []
        self._listeners: list[Listener] = []
        self.port = gate.port
        self.redirect_port = gate.redirect_port

    # ── life ──────────────────────────────────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """Listen. ``port`` and ``redirect_port`` then name the ports taken. Raises ``SettingsError``, ``OSError``."""
        gate = self._settings
        self._renew()
        if self._tls is not None:
            self._tls.context  # noqa: B018  what can't be used is said before anybody connects
        self._client = _client(TCPConnector(limit=0, keepalive_timeout=10.0))
        front = Listener(
            self._answer,
            context=self._context if self._tls is not None else None,
            per_address=gate.connections_per_address,
            at_most=gate.connections,
            unlimited=self._proxies,
        )
        self._listeners.append(front)
        self.port = await front.listen(gate.host, gate.port)
        if gate.redirect_port is not None:
            plain = Listener(self._redirect, context=None, per_address=20, at_most=500, unlimited=self._proxies)
            self._listeners.append(plain)
            self.redirect_port = await plain.listen(gate.host, gate.redirect_port)
        self._tasks = [asyncio.create_task(work()) for work in (self._probe, self._look, self._watch_certificate)]

    async def close(self) -> None:
        """Stop listening, send every page to its next attempt (1012: restart), end what is under way."""
        for listener in self._listeners:
            listener.stop_listening()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        sockets = [*self._desks, *(one for phones in self._phones.values() for one in phones)]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                await asyncio.gather(*(one.close(code=AGAIN) for one in sockets), return_exceptions=True)
        for listener in self._listeners:
            await listener.close(LAST_WORDS_S)
        await self._client.close()

    def reload(self) -> None:
        """Look at the certificate and the ended log-ins now (SIGHUP)."""
        if self._tls is not None:
            self._tls.refresh()
        self._read_revocations()

    def _context(self) -> ssl.SSLContext:
        assert self._tls is not None
        return self._tls.context

    # ── what runs beside ──────────────────────────────────────────────────────────────────────────────────

    async def _probe(self) -> None:
        """A daemon that takes connections and answers none (stopped, or stuck) must not make every page wait."""
        while True:
            try:
                async with asyncio.timeout(PROBE_S), self._client.head(f"{self._pages}/static/icon.svg"):
                    self._unanswered_probes = 0
            except TimeoutError:
                self._unanswered_probes += 1
                if self._unanswered_probes == SILENT_PROBES:
                    log.warning("! the daemon does not answer")
            except ClientError:
                # Nobody there: each request learns that by itself and at once.
                self._unanswered_probes = 0
            await asyncio.sleep(PROBE_EVERY_S)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            self.reload()

    def _read_revocations(self) -> None:
        if not self._revoked.refresh():
            return
        for session, phones in self._phones.items():
            if self._revoked.is_revoked(session):
                for phone in phones:
                    self._end(phone)

    def _end(self, phone: web.WebSocketResponse) -> None:
        task = asyncio.create_task(_close(phone, 4401))
        self._tasks.append(task)
        task.add_done_callback(self._tasks.remove)

    async def _watch_certificate(self) -> None:
        while True:
            await asyncio.sleep(CERTIFICATE_EVERY_S)
            await asyncio.to_thread(self._renew)

    def _renew(self) -> None:
        gate = self._settings
        if gate.certificate is None or gate.key is None:
            return
        now = datetime.fromtimestamp(self._clock(), UTC)
        try:
            if certificates.renew_if_due(gate.certificate, gate.key, now=now):
                log.info("= the office's authority renewed the certificate")
        except (SettingsError, OSError) as error:
            log.error("! the certificate could not be renewed: %s", error)  # noqa: TRY400

    # ── one request ───────────────────────────────────────────────────────────────────────────────────────

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return self._marked(await self._choose(request))
        except web.HTTPException as ended:
            self._marked(ended)
            raise

    def _marked(self, answer: web.StreamResponse) -> web.StreamResponse:
        if not answer.prepared:
            answer.headers["Server"] = "callfloor"
            if self._settings.origin.startswith("https://"):
                answer.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
        return answer

    async def _choose(self, request: web.BaseRequest) -> web.StreamResponse:
        path, _mark, _query = request.raw_path.partition("?")
        if path == HEALTH and request.method in ("GET", "HEAD"):
            return self._health(request)
        hosts = request.headers.getall("Host", [])
        if len(hosts) != 1 or not path.startswith("/"):
            return _plain(HTTPStatus.BAD_REQUEST)
        if hosts[0].lower() not in self._hosts:
            return self._elsewhere(request)
        if request.method not in METHODS:
            return _plain(HTTPStatus.METHOD_NOT_ALLOWED)
        is_phone = path == PATH or path.startswith(f"{PATH}/")
        if path != DESK_SOCKET and not is_phone:
            return await self._page(request)
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return _plain(HTTPStatus.UPGRADE_REQUIRED)
        return await self._sip_socket(request, path) if is_phone else await self._desk_socket(request)

    def _health(self, request: web.BaseRequest) -> web.Response:
        told: dict[str, object] = {"status": "ok"}
        if is_loopback(self._address(request)):
            now = datetime.fromtimestamp(self._clock(), UTC)
            certificate = self._settings.certificate
            left = certificates.days_left(certificates.read(certificate), now=now) if certificate is not None else None
            told |= {
                "phones": sum(len(phones) for phones in self._phones.values()),
                "desks": len(self._desks),
                "refused_phones": self._refused_phones,
                "connections": sum(listener.open_connections for listener in self._listeners),
                "is_daemon_silent": self._is_silent,
                "certificate_days_left": None if left is None else round(left, 1),
            }
        return web.json_response(told, headers={"Cache-Control": "no-store"})

    def _elsewhere(self, request: web.BaseRequest) -> web.Response:
        """Another name for the site: cookies and sockets would not follow, and a rebound name is an attack."""
        if request.method not in ("GET", "HEAD") or "Upgrade" in request.headers:
            return _plain(HTTPStatus.MISDIRECTED_REQUEST)
        return _redirect(HTTPStatus.TEMPORARY_REDIRECT, self._settings.origin + request.raw_path)

    async def _redirect(self, request: web.BaseRequest) -> web.StreamResponse:
        """Plain HTTP: to the site proper, but for what an ACME client put there for its authority."""
        path = request.raw_path.partition("?")[0]
        token = _ACME.fullmatch(path)
        if token is not None and self._settings.acme_folder is not None:
            try:
                content = (self._settings.acme_folder / ".well-known/acme-challenge" / token[1]).read_bytes()
            except OSError:
                return _plain(HTTPStatus.NOT_FOUND)
            return web.Response(body=content[:4096], content_type="application/octet-stream")
        if request.method not in ("GET", "HEAD") or not path.startswith("/"):
            return _plain(HTTPStatus.FORBIDDEN)
        return _redirect(HTTPStatus.PERMANENT_REDIRECT, self._settings.origin + request.raw_path)

    # ── pages ─────────────────────────────────────────────────────────────────────────────────────────────

    async def _page(self, request: web.BaseRequest) -> web.StreamResponse:
        if (request.content_length or 0) > LONGEST_BODY:
            return _plain(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        if self._is_silent:
            return self._away(request)
        upload = _Upload(request)
        try:
            async with asyncio.timeout(ANSWER_S) as upload.deadline:
                found = await self._client.request(
                    request.method,
                    URL(self._pages + request.raw_path, encoded=True),
                    headers=self._onwards(request),
                    data=upload.chunks() if request.body_exists else None,
                    allow_redirects=False,
                )
        except (ClientError, OSError, TimeoutError) as error:
            if upload.is_too_long:
                return _plain(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            if not isinstance(error, ClientConnectionError):
                log.warning("! no answer from the daemon: %s", type(error).__name__)
            return self._away(request)
        async with found:
            return await self._pass_back(request, found)

    async def _pass_back(self, request: web.BaseRequest, found: ClientResponse) -> web.StreamResponse:
        answer = web.StreamResponse(status=found.status, reason=found.reason, headers=_end_to_end(found.headers))
        self._marked(answer)
        await answer.prepare(request)
        try:
            async for chunk in found.content.iter_any():
                async with asyncio.timeout(CHUNK_S):
                    await answer.write(chunk)
            await answer.write_eof()
        except (ClientError, OSError, TimeoutError):
            # The head is out: what is cut must look cut.
            if request.transport is not None:
                request.transport.abort()
        return answer

    def _away(self, request: web.BaseRequest) -> web.Response:
        tag = away.language(request.cookies.get(LANGUAGE_COOKIE), request.headers.get("Accept-Language", ""))
        is_for_people = "text/html" in request.headers.get("Accept", "")
        return web.Response(
            status=HTTPStatus.SERVICE_UNAVAILABLE,
            text=away.page(tag) if is_for_people else away.answer(tag),
            content_type="text/html" if is_for_people else "application/json",
            headers={**away.HEADERS, "Retry-After": str(away.RETRY_S)},
        )

    @property
    def _is_silent(self) -> bool:
        return self._unanswered_probes >= SILENT_PROBES

    # ── sockets ───────────────────────────────────────────────────────────────────────────────────────────

    async def _desk_socket(self, request: web.BaseRequest) -> web.StreamResponse:
        if self._is_silent:
            return self._away(request)
        headers = {
            name: value
            for name, value in self._onwards(request).items()
            if name.lower() in ("cookie", "origin", "user-agent", "host") or name.lower() in FORWARDED
        }
        protocols = _offered(request)
        behind = await self._connect(self._desk, protocols, DESK_PING_S, headers)
        if isinstance(behind, web.Response):
            return behind
        pace = Pace(per_s=DESK_PER_S, at_once=DESK_AT_ONCE, clock=asyncio.get_running_loop().time)
        browser = _browser_socket(behind.protocol, LONGEST_DESK_FRAME)
        self._desks.add(browser)
        try:
            return await _join(request, browser, behind, lambda _frame: pace.count())
        finally:
            self._desks.discard(browser)

    async def _sip_socket(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        named = _SIP_PATH.fullmatch(path)
        address = self._pbxs.get(named[1]) if named is not None else None
        if named is None or address is None:
            return _plain(HTTPStatus.NOT_FOUND)
        given = self._pass(request)
        if request.headers.get("Origin") not in self._origins or given is None or given.pbx != named[1]:
            self._note_refusal(self._address(request))
            return _plain(HTTPStatus.FORBIDDEN)
        if "sip" not in _offered(request):
            return _plain(HTTPStatus.BAD_REQUEST)
        phones = self._phones[given.session]
        if len(phones) >= PHONES_PER_LOGIN:
            return _plain(HTTPStatus.TOO_MANY_REQUESTS)
        browser = _browser_socket("sip", sip.LONGEST_MESSAGE)
        phones.add(browser)
        try:
            async with _client(TCPConnector(local_addr=self._source_for(address))) as client:
                behind = await self._connect(address, ["sip"], PBX_PING_S, {}, client=client)
                if isinstance(behind, web.Response):
                    return behind
                pace = Pace(per_s=SIP_PER_S, at_once=SIP_AT_ONCE, clock=asyncio.get_running_loop().time)
                return await _join(request, browser, behind, lambda frame: self._admit(frame, given, pace))
        finally:
            phones.discard(browser)
            if not phones:
                self._phones.pop(given.session, None)

    def _source_for(self, address: str) -> tuple[str, int] | None:
        """From where a phone's connection comes: from an address of its own where the PBX is on this machine. Before
        16.30, 18.16 and 20.1 Asterisk tells browser phones apart by their address alone, and one page that closes takes
        away the registrations of all."""
        host = urlsplit(address).hostname or ""
        if host != "localhost" and not host.startswith("127."):
            return None
        return str(ipaddress.IPv4Address("127.1.0.0") + next(self._sources) % SOURCES), 0

    def _note_refusal(self, address: str) -> None:
        """A page that was left open overnight is refused, and so is an attacker; neither shall fill the log."""
        self._refused_phones += 1
        now = self._clock()
        if now - self._told_at >= TELL_EVERY_S:
            self._told_at = now
            log.warning("! refused without a valid pass: %d phones so far, last from %s", self._refused_phones, address)

    def _pass(self, request: web.BaseRequest) -> PhonePass | None:
        self._read_revocations()
        value = request.cookies.get(COOKIE)
        given = self._key.read(value, now=self._clock()) if value else None
        return None if given is None or self._revoked.is_revoked(given.session) else given

    def _admit(self, frame: bytes, given: PhonePass, pace: Pace) -> None:
        try:
            pace.count()
            sip.check(frame, given)
        except BadInput as bad:
            log.warning("! the phone of %s was cut off: %s", given.user, bad)
            raise

    async def _connect(
        self,
        address: str,
        protocols: list[str],
        ping_s: float,
        headers: Mapping[str, str],
        *,
        client: ClientSession | None = None,
    ) -> ClientWebSocketResponse[bool] | web.Response:
        try:
            async with asyncio.timeout(UPGRADE_S):
                return await (client or self._client).ws_connect(
                    address,
                    protocols=protocols,
                    headers=headers,
                    heartbeat=ping_s,
                    timeout=ClientWSTimeout(ws_close=2.0),
                    max_msg_size=LONGEST_FRAME_FROM_BEHIND,
                )
        except WSServerHandshakeError as refused:
            return _plain(HTTPStatus(refused.status) if 400 <= refused.status < 500 else HTTPStatus.BAD_GATEWAY)
        except (ClientError, OSError, TimeoutError):
            return _plain(HTTPStatus.SERVICE_UNAVAILABLE)

    # ── who asks ──────────────────────────────────────────────────────────────────────────────────────────

    def _address(self, request: web.BaseRequest) -> str:
        peer = plain_address(request.remote or "")
        if peer in self._proxies:
            said = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
            return plain_address(said) or peer
        return peer

    def _onwards(self, request: web.BaseRequest) -> CIMultiDict[str]:
        headers = _end_to_end(request.headers)
        for name in FORWARDED:
            headers.popall(name, None)
        headers["X-Forwarded-For"] = self._address(request)
        headers["X-Forwarded-Proto"] = urlsplit(self._settings.origin).scheme
        return headers


class _Upload:
    """What a browser sends, as it comes: bounded in length, and in the time between two pieces."""

    def __init__(self, request: web.BaseRequest) -> None:
        self._request = request
        self.deadline: asyncio.Timeout | None = None
        self.is_too_long = False

    async def chunks(self) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        latest = loop.time() + UPLOAD_S
        length = 0
        async for chunk in self._request.content.iter_any():
            length += len(chunk)
            if length > LONGEST_BODY:
                self.is_too_long = True
                raise BadInput("body", "too_long")
            if self.deadline is not None:
                self.deadline.reschedule(min(loop.time() + ANSWER_S, latest))
            yield chunk


def _client(connector: TCPConnector) -> ClientSession:
    return ClientSession(
        connector=connector,
        cookie_jar=DummyCookieJar(),
        auto_decompress=False,
        timeout=ClientTimeout(total=None, sock_connect=CONNECT_S),
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
    )


def _browser_socket(protocol: str | None, longest: int) -> web.WebSocketResponse:
    return web.WebSocketResponse(
        protocols=[protocol] if protocol else [],
        heartbeat=PAGE_PING_S,
        compress=False,
        max_msg_size=longest,
        timeout=2.0,
    )


async def _join(
    request: web.BaseRequest,
    browser: web.WebSocketResponse,
    behind: ClientWebSocketResponse[bool],
    admit: Callable[[bytes], None],
) -> web.WebSocketResponse:
    try:
        await browser.prepare(request)
    except web.HTTPException:
        await behind.close()
        raise
    await relay(browser, behind, admit)
    return browser


async def _close(socket: web.WebSocketResponse, code: int) -> None:
    with contextlib.suppress(OSError, RuntimeError):
        await socket.close(code=code)


def _end_to_end(headers: Mapping[str, str]) -> CIMultiDict[str]:
    """What is meant for the other end, without what was for this connection only."""
    kept = CIMultiDict(headers)
    named = {name.strip().lower() for value in kept.getall("Connection", []) for name in value.split(",")}
    for name in HOP_BY_HOP | named:
        kept.popall(name, None)
    return kept


def _offered(request: web.BaseRequest) -> list[str]:
    said = ",".join(request.headers.getall("Sec-WebSocket-Protocol", []))
    return [name.strip() for name in said.split(",")[:4] if _TOKEN.fullmatch(name.strip())]


def _plain(status: HTTPStatus) -> web.Response:
    return web.Response(status=status, text=f"{status.phrase}\n", headers={"Cache-Control": "no-store"})


def _redirect(status: HTTPStatus, target: str) -> web.Response:
    return web.Response(status=status, headers={"Location": target, "Cache-Control": "no-store"})


def _host_of(origin: str) -> str:
    return urlsplit(origin).netloc.lower()


def _reachable(host: str) -> str:
    """The address at which this machine reaches what listens on ``host``."""
    if host == "0.0.0.0":  # noqa: S104
        return "127.0.0.1"
    if host == "::":
        return "[::1]"
    return f"[{host}]" if ":" in host else host
