"""A small SIP phone for recordings and tests: one UDP socket, calls steered step by step, no media.

It does what a desk phone does and what a test wants to decide itself: ring, answer, refuse, forward (302), hold, blind
and attended transfer (REFER, REFER with Replaces), register and call (digest). It speaks to one PBX on loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import re
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import quote

_SERIAL = itertools.count(1)
_TAG = re.compile(r";tag=([^;>\s]+)")
_URI = re.compile(r"<([^>]+)>|^\s*([^\s;]+)")
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')
WAIT_S = 5.0


@dataclass
class Packet:
    """One SIP message: start line, headers in order, body."""

    start: str
    headers: list[tuple[str, str]]
    body: str = ""

    @classmethod
    def parse(cls, data: bytes) -> Packet:
        head, _, body = data.decode("utf-8", "replace").partition("\r\n\r\n")
        start, *lines = head.split("\r\n")
        headers = [(name.strip().lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        return cls(start, headers, body)

    def get(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name), "")

    @property
    def method(self) -> str:
        return self.start.partition(" ")[0]

    @property
    def status(self) -> int:
        return int(self.start.split(" ")[1]) if self.start.startswith("SIP/2.0") else 0

    @property
    def cseq(self) -> tuple[int, str]:
        number, _, method = self.get("cseq").partition(" ")
        return int(number), method.strip()


def _uri(value: str) -> str:
    match = _URI.search(value)
    return (match.group(1) or match.group(2)) if match else ""


@dataclass
class Call:
    """One dialog of a phone. ``state``: ``new``, ``ringing``, ``up``, ``ended``; ``status``: the last final answer."""

    phone: Phone
    call_id: str
    local: str
    remote: str
    target: str
    cseq: int = 1
    is_ours: bool = True
    is_authorized: bool = False
    state: str = "new"
    status: int = 0
    invite: Packet | None = None
    branch: str = ""
    notified: list[str] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def until(self, state: str) -> None:
        """Wait until the call is in ``state`` (or beyond: an ended call ends every wait for ``ended``)."""
        async with asyncio.timeout(WAIT_S):
            while self.state != state:
                if self.state == "ended":
                    raise AssertionError(f"call ended ({self.status}) while waiting for {state}")
                async with self.changed:
                    await self.changed.wait()

    async def is_over(self, *, within_s: float = 15.0) -> None:
        """Wait for the end of the call, however it comes."""
        async with asyncio.timeout(within_s):
            while self.state != "ended":
                async with self.changed:
                    await self.changed.wait()

    async def until_notified(self, status: str) -> None:
        """Wait until a NOTIFY of a transfer carried ``status`` (``"200"``)."""
        async with asyncio.timeout(WAIT_S):
            while not any(f"SIP/2.0 {status}" in body for body in self.notified):
                async with self.changed:
                    await self.changed.wait()

    def become(self, state: str) -> None:
        self.state = state
        task = asyncio.ensure_future(self._tell())
        self.phone.tasks.add(task)
        task.add_done_callback(self.phone.tasks.discard)

    async def _tell(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    # as the called side

    def ring(self) -> None:
        self._reply(180, "Ringing")
        self.become("ringing")

    def answer(self) -> None:
        self._reply(200, "OK", self.phone.sdp())
        self.become("up")

    def refuse(self, status: int = 486, reason: str = "Busy Here") -> None:
        self._reply(status, reason)
        self.become("ended")

    def forward(self, to: str) -> None:
        self._reply(302, "Moved Temporarily", contact=f"<sip:{to}@{self.phone.pbx}>")
        self.become("ended")

    def _reply(self, status: int, reason: str, body: str = "", contact: str = "") -> None:
        assert self.invite is not None
        self.phone.reply(self.invite, status, reason, body, to=self.local, contact=contact)

    # on both sides

    def request(self, method: str, body: str = "", extra: tuple[tuple[str, str], ...] = ()) -> None:
        """Send a request within the dialog."""
        if method != "ACK":
            self.cseq += 1
        self.phone.request(
            method, self.target, self.local, self.remote, self.call_id, self.cseq, body=body, extra=extra
        )

    async def hang_up(self) -> None:
        """End the call, in whatever state it is, and wait for its end."""
        if self.state == "up":
            self.request("BYE")
        elif self.is_ours:
            self.phone.request(
                "CANCEL", self.target, self.local, _strip_tag(self.remote), self.call_id, self.cseq, branch=self.branch
            )
        else:
            self.refuse(603, "Decline")
        with contextlib.suppress(AssertionError):
            await self.until("ended")

    async def hold(self) -> None:
        """Put the other side on hold (re-INVITE, sendonly)."""
        await self._reinvite("sendonly")

    async def resume(self) -> None:
        """Take the other side back."""
        await self._reinvite("sendrecv")

    async def _reinvite(self, direction: str) -> None:
        answer = self.phone.expect(self.call_id, "INVITE")
        self.request("INVITE", self.phone.sdp(direction))
        async with asyncio.timeout(WAIT_S):
            assert (await answer).status == 200

    def transfer(self, to: str, replaces: Call | None = None) -> None:
        """Ask the PBX to connect the other side with extension ``to``, or with the other side of ``replaces``."""
        refer = f"<sip:{to}@{self.phone.pbx}>"
        if replaces is not None:
            tags = (_tag(replaces.remote), _tag(replaces.local))
            value = quote(f"{replaces.call_id};to-tag={tags[0]};from-tag={tags[1]}", safe="")
            refer = f"<sip:{to}@{self.phone.pbx}?Replaces={value}>"
        self.request("REFER", extra=(("Refer-To", refer), ("Referred-By", f"<sip:{self.phone.user}@{self.phone.pbx}>")))


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def _tag(value: str) -> str:
    match = _TAG.search(value)
    return match.group(1) if match else ""


def _strip_tag(value: str) -> str:
    return _TAG.sub("", value)


class Phone(asyncio.DatagramProtocol):
    """A phone called ``user`` that knows the PBX at ``pbx`` (``"127.0.0.1:port"``)."""

    def __init__(self, user: str, pbx: str, display: str = "") -> None:
        self.user = user
        self.pbx = pbx
        self.display = display
        self.password = ""
        self.received: list[bytes] = []
        self.calls: dict[str, Call] = {}
        self.tasks: set[asyncio.Future[None]] = set()
        self._ringing: asyncio.Queue[Call] = asyncio.Queue()
        self._answers: dict[tuple[str, str], asyncio.Future[Packet]] = {}
        self._register_id = f"reg{next(_SERIAL)}-{user}"
        self._register_cseq = 0

    @classmethod
    async def open(cls, user: str, pbx: str, display: str = "", port: int = 0) -> Phone:
        """A phone with a socket of its own, on a free port unless told which."""
        phone = cls(user, pbx, display)
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: phone, local_addr=("127.0.0.1", port))
        return phone

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)
        self.host = f"127.0.0.1:{transport.get_extra_info('sockname')[1]}"

    def close(self) -> None:
        self._transport.close()

    def sdp(self, direction: str = "sendrecv") -> str:
        return (
            f"v=0\r\no=- 1 {next(_SERIAL)} IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
            f"m=audio 40000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na={direction}\r\n"
        )

    # what a person does

    async def register(self, expires_s: int = 300, password: str = "") -> None:
        """Register at the PBX, or (0) leave it; ``password`` if it asks for one, then for calls too."""
        self.password = password or self.password
        answer = await self._register(expires_s)
        if answer.status == 401:
            challenge = answer.get("www-authenticate")
            answer = await self._register(
                expires_s, self._authorization(challenge, self.password, "REGISTER", f"sip:{self.pbx}")
            )
        assert answer.status == 200, answer.start

    async def _register(self, expires_s: int, *more: tuple[str, str]) -> Packet:
        self._register_cseq += 1
        me = f"<sip:{self.user}@{self.pbx}>"
        answer = self.expect(self._register_id, "REGISTER")
        self.request(
            "REGISTER",
            f"sip:{self.pbx}",
            f"{me};tag=r{self._register_cseq}",
            me,
            self._register_id,
            self._register_cseq,
            extra=(("Expires", str(expires_s)), *more),
        )
        async with asyncio.timeout(WAIT_S):
            return await answer

    def _authorization(self, challenge: str, password: str, method: str, uri: str) -> tuple[str, str]:
        asked = dict(_PARAMETER.findall(challenge))
        nonce = asked["nonce"]
        who, what = _md5(f"{self.user}:{asked['realm']}:{password}"), _md5(f"{method}:{uri}")
        response = _md5(f"{who}:{nonce}:00000001:0a4f113b:auth:{what}")
        fields = {"username": self.user, "realm": asked["realm"], "nonce": nonce, "uri": uri, "response": response}
        quoted = ", ".join(f'{name}="{value}"' for name, value in fields.items())
        opaque = f', opaque="{asked["opaque"]}"' if "opaque" in asked else ""
        return "Authorization", f'Digest {quoted}{opaque}, algorithm=MD5, qop=auth, nc=00000001, cnonce="0a4f113b"'

    def expect(self, call_id: str, method: str) -> asyncio.Future[Packet]:
        """The final answer to the request of this dialog that is about to be sent."""
        answer: asyncio.Future[Packet] = asyncio.get_running_loop().create_future()
        self._answers[call_id, method] = answer
        return answer

    def dial(self, extension: str, extra: tuple[tuple[str, str], ...] = ()) -> Call:
        """Call an extension of the PBX, with more headers if they are given."""
        serial = next(_SERIAL)
        display = f'"{self.display}" ' if self.display else ""
        call = Call(
            phone=self,
            call_id=f"c{serial}-{self.user}",
            local=f"{display}<sip:{self.user}@{self.pbx}>;tag=t{serial}",
            remote=f"<sip:{extension}@{self.pbx}>",
            target=f"sip:{extension}@{self.pbx}",
            cseq=2,
        )
        self.calls[call.call_id] = call
        call.branch = self.request(
            "INVITE", call.target, call.local, call.remote, call.call_id, call.cseq, body=self.sdp(), extra=extra
        )
        return call

    async def rung(self) -> Call:
        """Wait for the next incoming call."""
        async with asyncio.timeout(WAIT_S):
            return await self._ringing.get()

    # wire

    def request(
        self,
        method: str,
        target: str,
        local: str,
        remote: str,
        call_id: str,
        cseq: int,
        *,
        body: str = "",
        branch: str = "",
        extra: tuple[tuple[str, str], ...] = (),
    ) -> str:
        branch = branch or f"z9hG4bK{next(_SERIAL)}"
        lines = [
            f"{method} {target} SIP/2.0",
            f"Via: SIP/2.0/UDP {self.host};branch={branch};rport",
            "Max-Forwards: 70",
            f"From: {local}",
            f"To: {remote}",
            f"Call-ID: {call_id}",
            f"CSeq: {cseq} {method}",
            f"Contact: <sip:{self.user.lstrip('+')}@{self.host}>",
            "Allow: INVITE, ACK, CANCEL, BYE, NOTIFY, REFER, OPTIONS",
            *(f"{name}: {value}" for name, value in extra),
        ]
        self._send(lines, body)
        return branch

    def reply(
        self, to_request: Packet, status: int, reason: str, body: str = "", *, to: str = "", contact: str = ""
    ) -> None:
        lines = [f"SIP/2.0 {status} {reason}"]
        lines += [f"Via: {value}" for name, value in to_request.headers if name == "via"]
        lines += [
            f"From: {to_request.get('from')}",
            f"To: {to or to_request.get('to')}",
            f"Call-ID: {to_request.get('call-id')}",
            f"CSeq: {to_request.get('cseq')}",
            f"Contact: {contact or f'<sip:{self.user}@{self.host}>'}",
        ]
        self._send(lines, body)

    def _send(self, lines: list[str], body: str) -> None:
        if body:
            lines.append("Content-Type: application/sdp")
        lines += [f"Content-Length: {len(body)}", "", body]
        host, _, port = self.pbx.partition(":")
        self._transport.sendto("\r\n".join(lines).encode("utf-8", "surrogateescape"), (host, int(port)))

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        self.received.append(data)
        packet = Packet.parse(data)
        if packet.status:
            self._answered(packet)
        else:
            self._asked(packet)

    def _answered(self, packet: Packet) -> None:
        number, method = packet.cseq
        waiting = self._answers.pop((packet.get("call-id"), method), None) if packet.status >= 200 else None
        if waiting is not None and not waiting.done():
            waiting.set_result(packet)
        call = self.calls.get(packet.get("call-id"))
        if call is not None and method == "BYE":
            call.become("ended")
        if call is None or method != "INVITE":
            return
        if packet.status >= 200:
            self.request(
                "ACK",
                _uri(packet.get("contact")) or call.target if packet.status < 300 else call.target,
                call.local,
                packet.get("to"),
                call.call_id,
                number,
                branch="" if packet.status < 300 else call.branch,
            )
        if call.state == "up":
            return
        if packet.status == 401 and self.password and not call.is_authorized:
            call.is_authorized = True
            call.cseq += 1
            challenge = packet.get("www-authenticate")
            call.branch = self.request(
                "INVITE",
                call.target,
                call.local,
                _strip_tag(call.remote),
                call.call_id,
                call.cseq,
                body=self.sdp(),
                extra=(self._authorization(challenge, self.password, "INVITE", call.target),),
            )
            return
        if 100 < packet.status < 200:
            call.remote = packet.get("to") or call.remote
            call.become("ringing")
        elif 200 <= packet.status < 300:
            call.remote = packet.get("to")
            call.target = _uri(packet.get("contact")) or call.target
            call.become("up")
        elif packet.status >= 300:
            call.status = packet.status
            call.become("ended")

    def _asked(self, packet: Packet) -> None:
        call = self.calls.get(packet.get("call-id"))
        method = packet.method
        if method == "INVITE" and call is None:
            serial = next(_SERIAL)
            call = Call(
                phone=self,
                call_id=packet.get("call-id"),
                local=f"{packet.get('to')};tag=t{serial}",
                remote=packet.get("from"),
                target=_uri(packet.get("contact")),
                is_ours=False,
                invite=packet,
            )
            self.calls[call.call_id] = call
            self.reply(packet, 100, "Trying")
            self._ringing.put_nowait(call)
        elif method == "INVITE" and call is not None:
            if call.state == "up":
                self.reply(packet, 200, "OK", self.sdp())
        elif method == "CANCEL" and call is not None:
            self.reply(packet, 200, "OK")
            if call.state != "up":
                call.refuse(487, "Request Terminated")
        elif method == "BYE":
            self.reply(packet, 200, "OK")
            if call is not None:
                call.become("ended")
        elif method == "NOTIFY":
            self.reply(packet, 200, "OK")
            if call is not None:
                call.notified.append(packet.body)
                call.become(call.state)
        elif method != "ACK":
            self.reply(packet, 200, "OK")
