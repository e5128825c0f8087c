"""The browser's path: the daemon's pages, the gate, its certificate, SIP through it, and servers for media."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

import aiohttp
from cryptography import x509

from cti.doctor.findings import Finding, error, good, unseen, warning
from cti.errors import SettingsError
from cti.gate import certificates
from cti.gate.certificates import CA_CERTIFICATE
from cti.phone_pass import COOKIE, PATH, PassKey, PhonePass
from cti.settings import GateSettings, IceServerSettings, Settings, is_loopback

ANSWER_S = 5.0
SOON_DAYS = 14
STUN_PORTS = {"stun": 3478, "turn": 3478, "stuns": 5349, "turns": 5349}
STUN_COOKIE = bytes.fromhex("2112a442")


async def daemon_runs(settings: Settings) -> Finding:
    """Whether the daemon of these settings serves its pages."""
    address = f"http://{settings.web.host}:{settings.web.port}/health"
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_S)) as http,
            http.get(address) as answer,
        ):
            said = await answer.json()
            return good("daemon", f"runs: database {said['database']}, {said['pbx_up']} of {said['pbx_total']} PBXs")
    except (aiohttp.ClientError, OSError, ValueError, KeyError, TimeoutError):
        return warning(
            "daemon",
            f"nothing answers at {address}",
            "Without it callers reach agents through the fall-back queue only, and nobody sees who calls.",
            "systemctl status callfloor; journalctl -u callfloor",
        )


async def gate_is_right(settings: Settings, *, now: datetime) -> AsyncIterator[Finding]:
    """The one port to the outside."""
    gate = settings.gate
    if not gate.origin:
        yield unseen(
            "gate",
            "gate.origin is empty: the pages are for this machine only",
            "for browsers elsewhere: a [gate] section with origin, certificate and key (docs/install.md)",
        )
        return
    for finding in _certificate(gate, now):
        yield finding
    name = urlsplit(gate.origin).hostname or ""
    connector = aiohttp.TCPConnector(resolver=_Here(gate.host), ssl=_trust(gate))
    timeout = aiohttp.ClientTimeout(total=ANSWER_S)
    base = f"{urlsplit(gate.origin).scheme if gate.certificate else 'http'}://{name}:{gate.port}"
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http:
        try:
            async with http.get(f"{base}/health") as answer:
                status = answer.status
        except aiohttp.ClientConnectorCertificateError as problem:
            yield error(
                "gate",
                f"no browser trusts the certificate at {gate.origin}: {problem.certificate_error}",
                "Browsers refuse the microphone on a page whose certificate they don't trust.",
                "a certificate for this name with its whole chain in gate.certificate",
            )
            return
        except (aiohttp.ClientError, OSError, TimeoutError) as problem:
            yield error(
                "gate",
                f"nothing answers for {gate.origin} at {gate.host}:{gate.port} ({type(problem).__name__})",
                "No browser reaches the pages or its phone.",
                "systemctl status callfloor-gate; journalctl -u callfloor-gate",
            )
            return
        if status != 200:
            yield warning(
                "gate",
                f"the gate answers, and says {status} for the daemon's pages",
                "Browsers see no pages; phones that are registered keep working.",
                "systemctl status callfloor",
            )
        else:
            yield good("gate", f"{gate.origin} leads to the daemon, with a certificate that is trusted")
        for pbx in settings.pbx:
            async for finding in _phone_path(http, base, gate, pbx.id, now.timestamp()):
                yield finding


def _certificate(gate: GateSettings, now: datetime) -> list[Finding]:
    if gate.certificate is None:
        return [unseen("certificate", "another server holds it", f"look at {gate.origin} with a browser")]
    try:
        found = certificates.read(gate.certificate)
    except SettingsError as problem:
        return [error("certificate", str(problem), "The gate can't start without it.", "gate.certificate in [gate]")]
    name = urlsplit(gate.origin).hostname or ""
    days = certificates.days_left(found, now=now)
    until = f"{found.not_valid_after_utc:%Y-%m-%d}"
    renew = "renew it: your ACME client, or `callfloor certificate office` for an office's own authority"
    if days < 0:
        return [error("certificate", f"ran out on {until}", "Browsers refuse the site and its microphone.", renew)]
    findings = []
    if not _is_for(found, name):
        seen = f"{gate.certificate} is not for {name}"
        findings.append(error("certificate", seen, "Browsers refuse the site.", f"a certificate for {name}"))
    if days < SOON_DAYS:
        why = "Browsers refuse the site and its microphone from then on."
        findings.append(warning("certificate", f"runs out on {until}, in {days:.0f} days", why, renew))
    return findings or [good("certificate", f"is for {name}, until {until}")]


def _is_for(certificate: x509.Certificate, name: str) -> bool:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    hosts = names.get_values_for_type(x509.DNSName)
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    return name in (*hosts, *addresses) or f"*.{name.partition('.')[2]}" in hosts


def _trust(gate: GateSettings) -> ssl.SSLContext:
    """The machine's authorities, and the office's own if it lies beside the certificate."""
    context = ssl.create_default_context()
    if gate.certificate is not None:
        office = gate.certificate.parent / CA_CERTIFICATE
        if office.is_file():
            context.load_verify_locations(cafile=office)
    return context


class _Here(aiohttp.abc.AbstractResolver):
    """The gate is asked where it listens, whatever the site's name leads to on this machine."""

    def __init__(self, host: str) -> None:
        self._host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[aiohttp.abc.ResolveResult]:
        """The same address for every name."""
        kind = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        flags = socket.AI_NUMERICHOST
        return [aiohttp.abc.ResolveResult(hostname=host, host=self._host, port=port, family=kind, proto=0, flags=flags)]

    async def close(self) -> None:
        """Nothing is open."""


async def _phone_path(
    http: aiohttp.ClientSession, base: str, gate: GateSettings, pbx: str, now: float
) -> AsyncIterator[Finding]:
    """SIP through the gate: shut without a pass, open with one."""
    check = f"{pbx}.phone-path"
    address = f"{base}{PATH}/{pbx}"
    if await _upgrades(http, address, gate.origin, "") == "open":
        yield error(
            check, f"{PATH}/{pbx} is open without a pass", "Everybody may try passwords at the PBX.", "report it"
        )
        return
    try:
        key = PassKey.open(gate.pass_folder)
    except SettingsError as problem:
        yield unseen(check, f"the gate's key can't be read here ({problem}): ask as its owner or as root")
        return
    # A name that no phone has, for a minute: it opens the socket and registers nothing.
    given = PhonePass(pbx=pbx, user="callfloor-doctor", username="callfloor-doctor", session="doctor", until=now + 60)
    said = await _upgrades(http, address, gate.origin, key.sign(given))
    if said == "open":
        yield good(check, "SIP over WebSocket is shut without a pass and open with one")
        return
    yield error(
        check,
        f"SIP over WebSocket can't be reached through the gate: {said}",
        "Browser phones can't register: no agent rings.",
        f"sip_ws_url of {pbx} in the start-up file; http.conf of the PBX: enabled = yes; res_pjsip_transport_websocket",
    )


async def _upgrades(http: aiohttp.ClientSession, address: str, origin: str, given: str) -> str:
    headers = {"Origin": origin} | ({"Cookie": f"{COOKIE}={given}"} if given else {})
    try:
        async with http.ws_connect(address, protocols=("sip",), headers=headers):
            return "open"
    except aiohttp.WSServerHandshakeError as refused:
        return f"it answers {refused.status}"
    except (aiohttp.ClientError, OSError, TimeoutError) as problem:
        return type(problem).__name__


# ── servers that help media through ───────────────────────────────────────────────────────────────────────


async def media_servers(settings: Settings) -> AsyncIterator[Finding]:
    """Whether every STUN and TURN server answers from here."""
    servers: tuple[IceServerSettings, ...] = settings.webrtc.ice_servers
    origin = urlsplit(settings.gate.origin).hostname
    if not servers and origin and not is_loopback(origin):
        yield unseen(
            "media",
            "no STUN or TURN server is set",
            "agents in the office need none; for agents at home: [[webrtc.ice_servers]] in the start-up file",
        )
    for server in servers:
        for url in server.urls:
            yield await _media_server(url)


async def _media_server(url: str) -> Finding:
    scheme, _colon, rest = url.partition(":")
    address, _question, query = rest.partition("?")
    host, _colon, port_text = address.rpartition(":") if ":" in address else (address, "", "")
    port = int(port_text) if port_text.isdigit() else STUN_PORTS[scheme]
    is_stream = scheme.endswith("s") or "transport=tcp" in query
    try:
        async with asyncio.timeout(ANSWER_S):
            await (_connects(host, port) if is_stream else _answers(host, port))
    except (OSError, TimeoutError):
        return error(
            "media",
            f"{url} does not answer",
            "Agents behind a home router would see the call and hear nothing.",
            "is the address right? is UDP open for it? [[webrtc.ice_servers]] in the start-up file",
        )
    return good("media", f"{url} answers")


async def _connects(host: str, port: int) -> None:
    _reader, writer = await asyncio.open_connection(host, port)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def _answers(host: str, port: int) -> None:
    """One STUN Binding request, sent again each second. Raises ``OSError``; waits for ever for a silent server."""
    loop = asyncio.get_running_loop()
    mark = secrets.token_bytes(12)
    answered: asyncio.Future[None] = loop.create_future()

    class Asking(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: object) -> None:
            if data[:2] in (b"\x01\x01", b"\x01\x11") and data[8:20] == mark and not answered.done():
                answered.set_result(None)

        def error_received(self, exc: Exception) -> None:
            if not answered.done():
                answered.set_exception(exc)

    transport, _ = await loop.create_datagram_endpoint(Asking, remote_addr=(host, port))
    try:
        while not answered.done():
            transport.sendto(b"\x00\x01\x00\x00" + STUN_COOKIE + mark)
            await asyncio.wait([answered], timeout=1.0)
        answered.result()
    finally:
        transport.close()


def utc(now: float) -> datetime:
    """Unix seconds as a point in time."""
    return datetime.fromtimestamp(now, UTC)
