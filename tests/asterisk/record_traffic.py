"""Record real AMI traffic, call by call, for replay: ``python -m tests.asterisk.record_traffic ROOT OUT [NAME…]``.

``ROOT`` is an unpacked Asterisk (Debian's packages in one folder), ``OUT`` the folder for ``<name>.ami.gz``. Each
recording is all that one AMI session received from the greeting on, logged in as the daemon logs in (the same read
classes and filters). A second session steers the calls. Phones are those of ``sip_phone``; there is no media.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.asterisk.sip_phone import Phone

MANAGER = """[general]
enabled = yes
port = {ami}
bindaddr = 127.0.0.1
displayconnects = no
timestampevents = no

[callfloor]
secret = {secret}
deny = 0.0.0.0/0.0.0.0
permit = 127.0.0.1/255.255.255.255
read = system,call,user,agent,reporting
write = call,originate,agent,reporting
writetimeout = 5000
{filters}

[steer]
secret = {secret}
read = call,user,agent,reporting,system
write = call,originate,agent,reporting
writetimeout = 5000
"""

FILTERS = (
    "eventfilter = !^Event: (RTCP|VarSet|Newexten|TestEvent|HangupRequest|SoftHangupRequest|MusicOnHold"
    "|NewConnectedLine|BridgeCreate|BridgeDestroy|DialState|PeerStatus|QueueMemberStatus|ExtensionStatus|PresenceStatus|MessageWaiting)"
)
"""What the daemon never reads, dropped at the source. The anchor matters: the expression is matched against the whole
event, and without it a caller called "Event: RTCP" would make every event of the call vanish."""

PJSIP = """[global]
type = global
endpoint_identifier_order = username,ip,anonymous

[udp]
type = transport
protocol = udp
bind = 127.0.0.1:{sip}

[trunk]
type = endpoint
transport = udp
context = from-trunk
disallow = all
allow = ulaw
direct_media = no
aors = trunk

[trunk]
type = aor
contact = sip:carrier@127.0.0.1:{carrier}

[trunk]
type = identify
endpoint = trunk
match = 127.0.0.1
"""

PHONE = """
[{name}]
type = endpoint
transport = udp
context = callfloor-agents
disallow = all
allow = ulaw
direct_media = no
aors = {name}
callerid = {title} <{number}>
call_group = 1
pickup_group = 1

[{name}]
type = aor
max_contacts = 1
"""

OFFER = (
    "Channelid: ${UNIQUEID},Ani: ${FILTER(+0-9,${CALLERID(num)})}"
    ",Aniname: ${URIENCODE(${CALLERID(name)})},Withheld: 0,Dnis: ${CF_DNIS}"
    ",Account: ,Choice: ,Callerlanguage: ,Waited: 0,Target: ${CF_TARGET}"
)

EXTENSIONS = """[globals]
CALLFLOOR_BEAT = none

[from-trunk]
exten => 100,1,Dial(PJSIP/alice,20)
 same => n,Hangup()
exten => 110,1,Dial(PJSIP/alice&PJSIP/bob,20)
 same => n,Hangup()
exten => 200,1,Answer()
 same => n,Queue(support,,,,20)
 same => n,Hangup()
exten => _X!,1,Set(CF_DNIS=${{FILTER(+0-9,${{EXTEN}})}})
 same => n,Goto(callfloor-inbound,s,1)

[callfloor-inbound]
exten => s,1,Answer()
 same => n,Goto(callfloor-hold,s,1)

[callfloor-hold]
exten => s,1,UserEvent(CallfloorOffer,{offer})
 same => n,StartMusicOnHold()
 same => n(turn),Wait(1)
 same => n,GotoIf($["${{CF_GIVE_UP}}"="1"]?callfloor-fallback,s,1)
 same => n,Goto(turn)

[callfloor-fallback]
exten => s,1,UserEvent(CallfloorFallback,Channelid: ${{UNIQUEID}})
 same => n,Queue(support,,,,20)
 same => n,Hangup()

[callfloor-ring]
exten => s,1,Set(CF_FILE=${{UNIQUEID}}.wav)
 same => n,ExecIf($["${{CF_RECORD}}"="1"]?MixMonitor(${{CALLFLOOR_RECORDINGS}}/${{CF_FILE}},b))
 same => n,ExecIf($["${{CF_RECORD}}"="1"]?UserEvent(CallfloorRecording,Channelid: ${{UNIQUEID}},File: ${{CF_FILE}}))
 same => n,Dial(PJSIP/${{CF_ENDPOINT}},${{CF_RING_S}},i)
 same => n,GotoIf($["${{DIALSTATUS}}"!="ANSWER"]?callfloor-hold,s,1)
 same => n,Hangup()

[callfloor-park]
exten => s,1,MusicOnHold()

[callfloor-consult]
exten => s,1,Dial(PJSIP/${{CF_ENDPOINT}},${{CF_RING_S}},ig)
 same => n,Goto(callfloor-join,s,1)

[callfloor-join]
exten => s,1,Bridge(${{CF_WITH}})
 same => n,Hangup()

[callfloor-end]
exten => s,1,Hangup()

[callfloor-agents]
exten => 100,1,Dial(PJSIP/alice,20)
exten => 101,1,Dial(PJSIP/bob,20)
exten => 102,1,Dial(PJSIP/carol,20)
exten => 300,1,ConfBridge(room)
exten => 400,1,Set(CF_TARGET=queue:support)
 same => n,Goto(callfloor-hold,s,1)
exten => 500,1,Dial(Local/101@callfloor-agents,20)
exten => *8,1,Pickup()
exten => _0X!,1,Dial(PJSIP/${{EXTEN:1}}@trunk,20)
exten => h,1,NoOp()
"""

QUEUES = """[general]
persistentmembers = no

[support]
strategy = ringall
timeout = 3
retry = 1
ringinuse = no
member => PJSIP/alice
"""


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port of loopback that was free a moment ago."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Session:
    """A bare AMI session: no library, so that what it records is what the PBX sent."""

    def __init__(self) -> None:
        self.raw = bytearray()
        self.messages: list[dict[str, str]] = []
        self.changed = asyncio.Condition()
        self._serial = 0

    async def open(self, port: int, user: str, secret: str) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", port)
        self._pump_task = asyncio.create_task(self._pump())
        await self.act("Login", Username=user, Secret=secret)

    async def close(self) -> None:
        self._writer.close()
        await self._pump_task

    async def _pump(self) -> None:
        done = 0
        with contextlib.suppress(ConnectionError):
            while data := await self._reader.read(65536):
                self.raw += data
                while (end := self.raw.find(b"\r\n\r\n", done)) >= 0:
                    lines = self.raw[done:end].decode("utf-8", "replace").split("\r\n")
                    self.messages.append({k: v.strip() for k, _, v in (line.partition(":") for line in lines)})
                    done = end + 4
                async with self.changed:
                    self.changed.notify_all()

    async def until(
        self, wanted: Callable[[dict[str, str]], bool], since: int = 0, wait_s: float = 5
    ) -> dict[str, str]:
        """The first message from position ``since`` on that ``wanted`` accepts."""
        async with asyncio.timeout(wait_s):
            while True:
                for message in self.messages[since:]:
                    if wanted(message):
                        return message
                since = len(self.messages)
                async with self.changed:
                    await self.changed.wait()

    async def act(self, action: str, **headers: str) -> dict[str, str]:
        """Send an action, wait for its answer."""
        self._serial += 1
        mark = f"a{self._serial}"
        since = len(self.messages)
        lines = [f"Action: {action}", f"ActionID: {mark}", *(f"{name}: {value}" for name, value in headers.items())]
        self._writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        return await self.until(lambda m: m.get("ActionID") == mark and "Response" in m, since)


@dataclass
class Pbx:
    """A running Asterisk with a steering session and its phones."""

    folder: Path
    sip: str
    ami_port: int
    secret: str
    steer: Session
    phones: dict[str, Phone] = field(default_factory=dict)

    async def channels(self) -> int:
        since = len(self.steer.messages)
        await self.steer.act("CoreShowChannels")
        done = await self.steer.until(lambda m: m.get("Event") == "CoreShowChannelsComplete", since)
        return int(done["ListItems"])


def asterisk_command(root: Path) -> tuple[list[str], Path]:
    """How to start the Asterisk unpacked under ``root``, and where its modules lie."""
    new = root / "usr/lib64/ld-linux-x86-64.so.2"
    lib = "usr/lib/x86_64-linux-gnu"
    if new.exists():
        return [
            str(new),
            "--library-path",
            str(root / lib),
            str(root / "usr/sbin/asterisk"),
        ], root / lib / "asterisk/modules"
    loader = root / "lib/x86_64-linux-gnu/ld-2.31.so"
    libraries = f"{root / 'lib/x86_64-linux-gnu'}:{root / lib}:{root / 'usr/lib'}"
    return [
        str(loader),
        "--library-path",
        libraries,
        str(root / "usr/sbin/asterisk"),
    ], root / "usr/lib/asterisk/modules"


def write_configuration(root: Path, folder: Path, modules: Path, sip: int, carrier: int, ami: int, secret: str) -> None:
    """Everything Asterisk reads, into ``folder``/etc."""
    etc = folder / "etc"
    for name in ("etc", "lib", "spool/recordings", "run", "log", "keys"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    data = root / "usr/share/asterisk"
    (etc / "asterisk.conf").write_text(
        f"[directories]\nastetcdir = {etc}\nastvarlibdir = {folder}/lib\nastdbdir = {folder}/lib\n"
        f"astkeydir = {folder}/keys\n"
        f"astspooldir = {folder}/spool\nastrundir = {folder}/run\nastlogdir = {folder}/log\nastmoddir = {modules}\n"
        f"astdatadir = {data}\n[options]\n"
    )
    unused = (
        "chan_sip",
        "chan_iax2",
        "pbx_dundi",
        "cdr_csv",
        "cdr_sqlite3_custom",
        "res_hep",
        "chan_skinny",
        "chan_mgcp",
    )
    (etc / "modules.conf").write_text(
        "[modules]\nautoload = yes\n" + "".join(f"noload = {name}.so\n" for name in unused)
    )
    (etc / "logger.conf").write_text("[general]\n[logfiles]\nmessages = notice,warning,error\n")
    (etc / "musiconhold.conf").write_text(f"[default]\nmode = files\ndirectory = {data}/moh\n")
    (etc / "rtp.conf").write_text("[general]\nrtpstart = 30000\nrtpend = 39999\n")
    (etc / "features.conf").write_text("[general]\npickupexten = *8\n")
    (etc / "confbridge.conf").write_text("[general]\n[default_bridge]\ntype = bridge\n[default_user]\ntype = user\n")
    (etc / "queues.conf").write_text(QUEUES)
    (etc / "manager.conf").write_text(MANAGER.format(ami=ami, secret=secret, filters=FILTERS))
    phones = "".join(
        PHONE.format(name=name, title=name.title(), number=number)
        for name, number in (("alice", "100"), ("bob", "101"), ("carol", "102"))
    )
    (etc / "pjsip.conf").write_text(PJSIP.format(sip=sip, carrier=carrier) + phones)
    extensions = EXTENSIONS.format(offer=OFFER).replace(
        "[globals]", f"[globals]\nCALLFLOOR_RECORDINGS = {folder}/spool/recordings"
    )
    (etc / "extensions.conf").write_text(extensions)


@contextlib.asynccontextmanager
async def running_pbx(root: Path, folder: Path) -> AsyncIterator[Pbx]:
    """Start an Asterisk with three phones (alice, bob, carol), a trunk caller and a carrier; stop it at the end."""
    command, modules = asterisk_command(root)
    sip, ami, secret = free_port(socket.SOCK_DGRAM), free_port(), os.urandom(12).hex()
    carrier = await Phone.open("carrier", f"127.0.0.1:{sip}")
    carrier_port = int(carrier.host.rpartition(":")[2])
    write_configuration(root, folder, modules, sip, carrier_port, ami, secret)
    with (folder / "log" / "console").open("wb") as console:
        process = await asyncio.create_subprocess_exec(
            *command,
            "-C",
            str(folder / "etc/asterisk.conf"),
            "-f",
            stdout=console,
            stderr=console,
            stdin=asyncio.subprocess.DEVNULL,
        )
    try:
        steer = Session()
        async with asyncio.timeout(60):
            while True:
                try:
                    await steer.open(ami, "steer", secret)
                    break
                except OSError:
                    await asyncio.sleep(0.1)
        await steer.until(lambda m: m.get("Event") == "FullyBooted", wait_s=60)
        pbx = Pbx(folder, f"127.0.0.1:{sip}", ami, secret, steer, {"carrier": carrier})
        for name in ("alice", "bob", "carol"):
            pbx.phones[name] = await Phone.open(name, pbx.sip)
            await pbx.phones[name].register()
        pbx.phones["caller"] = await Phone.open("+4930901820", pbx.sip, "José Müller, 李")
        yield pbx
        await steer.close()
    finally:
        for phone in pbx.phones.values() if "pbx" in locals() else ():
            phone.close()
        process.terminate()
        await process.wait()


# ── the scenarios ─────────────────────────────────────────────────────────────────────────────────────────


class Scene:
    """What a scenario needs: the phones, and the steering of one waiting caller as the daemon does it."""

    def __init__(self, pbx: Pbx) -> None:
        self.pbx = pbx
        self.steer = pbx.steer
        self.since = len(pbx.steer.messages)
        self.alice, self.bob, self.carol = (pbx.phones[name] for name in ("alice", "bob", "carol"))
        self.caller, self.carrier = pbx.phones["caller"], pbx.phones["carrier"]

    async def seen(self, event: str, **headers: str) -> dict[str, str]:
        """Wait until the PBX reported ``event`` with these headers, in this scenario."""
        return await self.steer.until(
            lambda m: m.get("Event") == event and all(m.get(name) == value for name, value in headers.items()),
            self.since,
        )

    def from_now(self) -> None:
        """What was reported before counts no longer."""
        self.since = len(self.steer.messages)

    async def set(self, channel: str, **variables: str) -> None:
        for name, value in variables.items():
            await self.steer.act("Setvar", Channel=channel, Variable=name, Value=value)

    async def redirect(self, channel: str, context: str, extra: str = "", extra_context: str = "") -> None:
        headers = {"Channel": channel, "Context": context, "Exten": "s", "Priority": "1"}
        if extra:
            headers |= {"ExtraChannel": extra, "ExtraContext": extra_context, "ExtraExten": "s", "ExtraPriority": "1"}
        answer = await self.steer.act("Redirect", **headers)
        assert answer["Response"] == "Success", answer

    async def offered(self, dnis: str = "4930555") -> tuple[object, str]:
        """The trunk caller calls a routed number and waits: (call, channel name)."""
        call = self.caller.dial(dnis)
        offer = await self.seen("UserEvent", UserEvent="CallfloorOffer")
        await self.set(offer["Channel"], CF_ACK="boot1")
        return call, offer["Channel"]

    async def ring(self, channel: str, endpoint: str, seconds: int = 15, is_recorded: bool = False) -> None:
        await self.set(channel, CF_ENDPOINT=endpoint, CF_RING_S=str(seconds), CF_RECORD="1" if is_recorded else "0")
        await self.redirect(channel, "callfloor-ring")

    async def talking(self, is_recorded: bool = False):
        """Caller and alice speak: (caller's call, alice's call, caller's channel, alice's channel)."""
        call, channel = await self.offered()
        await self.ring(channel, "alice", is_recorded=is_recorded)
        ringing = await self.alice.rung()
        ringing.ring()
        await self.seen("DialBegin")
        ringing.answer()
        entered = await self.seen("BridgeEnter", BridgeNumChannels="2")
        dialled = await self.seen("DialEnd", DialStatus="ANSWER")
        del entered
        return call, ringing, channel, dialled["DestChannel"]


async def inbound_answered(s: Scene) -> None:
    """caller → hold loop → alice rings, answers, is recorded (paused and resumed), hangs up."""
    call, alice, channel, _ = await s.talking(is_recorded=True)
    await s.steer.act("MixMonitorMute", Channel=channel, Direction="both", State="1")
    await s.steer.act("MixMonitorMute", Channel=channel, Direction="both", State="0")
    await alice.hang_up()
    await call.until("ended")


async def inbound_caller_hangs_up(s: Scene) -> None:
    """caller → hold loop → alice answers; the caller hangs up."""
    call, alice, _, _ = await s.talking()
    await call.hang_up()
    await alice.until("ended")


async def inbound_abandoned_waiting(s: Scene) -> None:
    """caller gives up in the hold loop."""
    call, _ = await s.offered()
    await call.until("up")
    await call.hang_up()


async def inbound_abandoned_ringing(s: Scene) -> None:
    """caller gives up while alice rings."""
    call, channel = await s.offered()
    await s.ring(channel, "alice")
    ringing = await s.alice.rung()
    ringing.ring()
    await s.seen("Newstate", ChannelStateDesc="Ringing")
    await call.hang_up()
    await ringing.until("ended")


async def inbound_busy(s: Scene) -> None:
    """alice refuses (486), the caller is back in the hold loop, bob is rung and answers."""
    call, channel = await s.offered()
    await s.ring(channel, "alice")
    s.from_now()
    (await s.alice.rung()).refuse(486)
    await s.seen("UserEvent", UserEvent="CallfloorOffer")
    await s.ring(channel, "bob")
    bob = await s.bob.rung()
    bob.ring()
    bob.answer()
    await s.seen("BridgeEnter", BridgeNumChannels="2")
    await bob.hang_up()
    await call.until("ended")


async def inbound_no_answer(s: Scene) -> None:
    """alice rings for 1 s and does not answer, the caller is back in the hold loop and gives up there."""
    call, channel = await s.offered()
    await s.ring(channel, "alice", seconds=1)
    ringing = await s.alice.rung()
    ringing.ring()
    s.from_now()
    await s.seen("UserEvent", UserEvent="CallfloorOffer")
    await call.hang_up()


async def inbound_moved_blind(s: Scene) -> None:
    """alice sends the caller on to bob by the page: both legs are redirected by us, alice's ends, bob answers."""
    call, alice, channel, agent = await s.talking()
    await s.set(channel, CF_TARGET="agent:bob")
    s.from_now()
    await s.redirect(channel, "callfloor-hold", agent, "callfloor-end")
    await s.seen("UserEvent", UserEvent="CallfloorOffer")
    await s.ring(channel, "bob")
    bob = await s.bob.rung()
    bob.ring()
    bob.answer()
    await s.seen("DialEnd", DialStatus="ANSWER")
    await alice.until("ended")
    await call.hang_up()
    await bob.until("ended")


async def inbound_consult(s: Scene) -> None:
    """alice consults bob while the caller has music (both legs redirected by us), then caller and bob are joined."""
    call, alice, channel, agent = await s.talking()
    await s.set(channel, CF_WITH=agent)
    await s.set(agent, CF_WITH=channel, CF_ENDPOINT="bob", CF_RING_S="15")
    s.from_now()
    await s.redirect(channel, "callfloor-park", agent, "callfloor-consult")
    bob = await s.bob.rung()
    bob.ring()
    bob.answer()
    dialled = await s.seen("DialEnd", DialStatus="ANSWER")
    await s.seen("BridgeEnter", Channel=dialled["DestChannel"])
    await s.set(channel, CF_WITH=dialled["DestChannel"])
    s.from_now()
    await s.redirect(channel, "callfloor-join")
    await s.seen("BridgeEnter", Channel=channel)
    await alice.hang_up()
    await call.hang_up()
    await bob.until("ended")


async def inbound_fallback(s: Scene) -> None:
    """the hold loop gives up on the daemon: CallfloorFallback, app_queue rings alice, who answers."""
    call, channel = await s.offered()
    await s.set(channel, CF_GIVE_UP="1")
    alice = await s.alice.rung()
    alice.ring()
    alice.answer()
    await s.seen("AgentConnect")
    await call.hang_up()
    await alice.until("ended")


async def direct_dial(s: Scene) -> None:
    """caller dials 100: the trunk's dialplan rings alice without us; she answers and hangs up."""
    call = s.caller.dial("100")
    alice = await s.alice.rung()
    alice.ring()
    await call.until("ringing")
    alice.answer()
    await s.seen("BridgeEnter", BridgeNumChannels="2")
    await alice.hang_up()
    await call.until("ended")


async def direct_busy(s: Scene) -> None:
    """caller dials 100, alice is busy (486)."""
    call = s.caller.dial("100")
    (await s.alice.rung()).refuse(486)
    await call.until("ended")


async def parallel_ring(s: Scene) -> None:
    """caller dials 110: alice and bob ring, bob answers, alice's leg is cancelled."""
    call = s.caller.dial("110")
    alice, bob = await s.alice.rung(), await s.bob.rung()
    alice.ring()
    bob.ring()
    bob.answer()
    await alice.until("ended")
    await s.seen("BridgeEnter", BridgeNumChannels="2")
    await call.hang_up()
    await bob.until("ended")


async def internal_call(s: Scene) -> None:
    """alice calls bob (101), bob answers and hangs up."""
    call = s.alice.dial("101")
    bob = await s.bob.rung()
    bob.ring()
    bob.answer()
    await s.seen("BridgeEnter", BridgeNumChannels="2")
    await bob.hang_up()
    await call.until("ended")


async def internal_through_local(s: Scene) -> None:
    """alice dials 500: Dial(Local/101@callfloor-agents) rings bob through a Local channel; he answers."""
    call = s.alice.dial("500")
    bob = await s.bob.rung()
    bob.ring()
    bob.answer()
    await call.until("up")
    await s.seen("BridgeEnter", BridgeNumChannels="2")
    await bob.hang_up()
    await call.until("ended")


async def outbound_call(s: Scene) -> None:
    """alice calls the outside number 4930777 through the trunk; the carrier answers, alice hangs up."""
    call = s.alice.dial("04930777")
    outside = await s.carrier.rung()
    outside.ring()
    outside.answer()
    await s.seen("BridgeEnter", BridgeNumChannels="2")
    await call.hang_up()
    await outside.until("ended")


async def outbound_unallocated(s: Scene) -> None:
    """alice calls an outside number; the carrier answers 404."""
    call = s.alice.dial("04930778")
    (await s.carrier.rung()).refuse(404, "Not Found")
    await call.until("ended")


async def outbound_congestion(s: Scene) -> None:
    """alice calls an outside number; the carrier answers 503."""
    call = s.alice.dial("04930779")
    (await s.carrier.rung()).refuse(503, "Service Unavailable")
    await call.until("ended")


async def hold_and_resume(s: Scene) -> None:
    """caller dials 100, alice answers, puts the caller on hold, takes her back, the caller hangs up."""
    call = s.caller.dial("100")
    alice = await s.alice.rung()
    alice.answer()
    await s.seen("BridgeEnter", BridgeNumChannels="2")
    await alice.hold()
    await s.seen("Hold")
    await alice.resume()
    await s.seen("Unhold")
    await call.hang_up()
    await alice.until("ended")


async def refer_blind(s: Scene) -> None:
    """caller dials 100, alice answers and sends the caller to bob (101) by her phone's REFER; bob answers."""
    call = s.caller.dial("100")
    alice = await s.alice.rung()
    alice.answer()
    await s.seen("BridgeEnter", BridgeNumChannels="2")
    alice.transfer("101")
    bob = await s.bob.rung()
    bob.ring()
    bob.answer()
    await alice.until_notified("200")
    await alice.hang_up()
    await call.hang_up()
    await bob.until("ended")


async def refer_blind_to_queue(s: Scene) -> None:
    """as refer_blind, to 400: the caller lands in our hold loop with target queue:support, and gives up there."""
    call = s.caller.dial("100")
    alice = await s.alice.rung()
    alice.answer()
    await s.seen("BridgeEnter", BridgeNumChannels="2")
    alice.transfer("400")
    await s.seen("UserEvent", UserEvent="CallfloorOffer")
    await alice.until_notified("200")
    await alice.hang_up()
    await call.hang_up()


async def refer_attended(s: Scene) -> None:
    """caller dials 100, alice answers, holds, calls bob (101), then joins both by REFER with Replaces."""
    call = s.caller.dial("100")
    alice = await s.alice.rung()
    alice.answer()
    await s.seen("BridgeEnter", BridgeNumChannels="2")
    await alice.hold()
    second = s.alice.dial("101")
    bob = await s.bob.rung()
    bob.ring()
    bob.answer()
    await second.until("up")
    alice.transfer("101", replaces=second)
    await alice.until_notified("200")
    await second.until("ended")
    await alice.hang_up()
    await call.hang_up()
    await bob.until("ended")


async def refer_blonde(s: Scene) -> None:
    """as refer_attended, but alice completes while bob still rings; bob answers the caller."""
    call = s.caller.dial("100")
    alice = await s.alice.rung()
    alice.answer()
    await s.seen("BridgeEnter", BridgeNumChannels="2")
    await alice.hold()
    second = s.alice.dial("101")
    bob = await s.bob.rung()
    bob.ring()
    await second.until("ringing")
    alice.transfer("101", replaces=second)
    await alice.until_notified("200")
    bob.answer()
    await s.seen("DialEnd", DialStatus="ANSWER", DestCallerIDNum="101")
    await alice.hang_up()
    await call.hang_up()
    await bob.until("ended")


async def pickup(s: Scene) -> None:
    """caller dials 100, alice rings, bob picks the call up with *8; the caller hangs up."""
    call = s.caller.dial("100")
    alice = await s.alice.rung()
    alice.ring()
    await call.until("ringing")
    bob = s.bob.dial("*8")
    await bob.until("up")
    await alice.until("ended")
    await s.seen("BridgeEnter", BridgeNumChannels="2")
    await call.hang_up()
    await bob.until("ended")


async def conference(s: Scene) -> None:
    """alice, bob and carol meet in a ConfBridge (300) and leave one after the other."""
    calls = []
    for phone in (s.alice, s.bob, s.carol):
        calls.append(phone.dial("300"))
        await calls[-1].until("up")
    await s.seen("BridgeEnter", BridgeNumChannels="3")
    for call in calls:
        await call.hang_up()


async def queue_answered(s: Scene) -> None:
    """caller dials 200: app_queue "support" rings alice, she answers, she hangs up."""
    call = s.caller.dial("200")
    alice = await s.alice.rung()
    alice.ring()
    alice.answer()
    await s.seen("AgentConnect")
    await alice.hang_up()
    await call.until("ended")


async def queue_abandoned(s: Scene) -> None:
    """caller dials 200 and gives up while alice rings."""
    call = s.caller.dial("200")
    alice = await s.alice.rung()
    alice.ring()
    await s.seen("QueueCallerJoin")
    await call.hang_up()
    await alice.until("ended")


async def forwarded(s: Scene) -> None:
    """alice calls bob (101), bob's phone forwards to carol (302 to 102), carol answers."""
    call = s.alice.dial("101")
    (await s.bob.rung()).forward("102")
    carol = await s.carol.rung()
    carol.ring()
    carol.answer()
    await call.until("up")
    await s.seen("BridgeEnter", BridgeNumChannels="2")
    await call.hang_up()
    await carol.until("ended")


async def forward_refused(s: Scene) -> None:
    """our ring (Dial option i) of alice is answered by a 302 to 102: refused, the caller is back in the loop."""
    call, channel = await s.offered()
    await s.ring(channel, "alice")
    s.from_now()
    (await s.alice.rung()).forward("102")
    await s.seen("UserEvent", UserEvent="CallfloorOffer")
    await call.hang_up()


async def originated(s: Scene) -> None:
    """click to call: Originate Local/101@callfloor-agents, ids of ours, connected to 102 (bob, then carol answers)."""
    await s.steer.act(
        "Originate",
        Channel="Local/101@callfloor-agents",
        Context="callfloor-agents",
        Exten="102",
        Priority="1",
        Async="true",
        ChannelId="cf-attempt-1",
        OtherChannelId="cf-attempt-1-2",
        CallerID="Clinic <4930555>",
    )
    bob = await s.bob.rung()
    bob.ring()
    bob.answer()
    carol = await s.carol.rung()
    carol.ring()
    carol.answer()
    await s.seen("DialEnd", DialStatus="ANSWER", DestCallerIDNum="102")
    await bob.hang_up()
    await carol.until("ended")


async def phone_leaves_and_returns(s: Scene) -> None:
    """bob's phone unregisters and registers again."""
    await s.bob.register(expires_s=0)
    await s.seen("DeviceStateChange", Device="PJSIP/bob", State="UNAVAILABLE")
    await s.bob.register()
    await s.seen("DeviceStateChange", Device="PJSIP/bob", State="NOT_INUSE")


async def hostile_name(s: Scene) -> None:
    """a caller whose name looks like AMI headers calls a routed number and gives up."""
    intruder = await Phone.open(
        "+4930901821", s.pbx.sip, "Event: MusicOnHoldStart, Skill: vip, Uniqueid: 1%0d%0aEvent: Hangup"
    )
    call = intruder.dial("4930555")
    await s.seen("UserEvent", UserEvent="CallfloorOffer")
    await call.until("up")
    await call.hang_up()
    intruder.close()


SCENARIOS: tuple[Callable[[Scene], Awaitable[None]], ...] = (
    inbound_answered,
    inbound_caller_hangs_up,
    inbound_abandoned_waiting,
    inbound_abandoned_ringing,
    inbound_busy,
    inbound_no_answer,
    inbound_moved_blind,
    inbound_consult,
    inbound_fallback,
    direct_dial,
    direct_busy,
    parallel_ring,
    internal_call,
    internal_through_local,
    outbound_call,
    outbound_unallocated,
    outbound_congestion,
    hold_and_resume,
    refer_blind,
    refer_blind_to_queue,
    refer_attended,
    refer_blonde,
    pickup,
    conference,
    queue_answered,
    queue_abandoned,
    forwarded,
    forward_refused,
    originated,
    phone_leaves_and_returns,
    hostile_name,
)


async def quiet(pbx: Pbx, recorded: Session) -> None:
    """Wait until no channel lives and the recorded session has been told so (events precede a later answer)."""
    while await pbx.channels():
        await asyncio.sleep(0.05)
    async with asyncio.timeout(15):
        while True:
            told = [message.get("Event") for message in recorded.messages]
            if told.count("Hangup") >= told.count("Newchannel"):
                break
            async with recorded.changed:
                await recorded.changed.wait()
    await recorded.act("Ping")


async def record(root: Path, out: Path, names: list[str]) -> None:
    """Record the scenarios called ``names`` (all if empty) on the Asterisk under ``root``."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="callfloor-record-") as folder:
        async with running_pbx(root, Path(folder)) as pbx:
            for scenario in SCENARIOS:
                name = scenario.__name__
                if names and name not in names:
                    continue
                recorded = Session()
                await recorded.open(pbx.ami_port, "callfloor", pbx.secret)
                await recorded.until(lambda m: m.get("Event") == "FullyBooted")
                try:
                    await scenario(Scene(pbx))
                except (TimeoutError, AssertionError) as problem:
                    print(f"{name}: FAILED {problem!r}")
                    for call in [c for phone in pbx.phones.values() for c in phone.calls.values()]:
                        if call.state in ("up", "ringing") or (call.state == "new" and call.is_ours):
                            with contextlib.suppress(TimeoutError):
                                await call.hang_up()
                await quiet(pbx, recorded)
                await recorded.close()
                (out / f"{name}.ami.gz").write_bytes(gzip.compress(bytes(recorded.raw), 9, mtime=0))
                print(f"{name}: {len(recorded.messages)} messages, {len(recorded.raw)} bytes")


if __name__ == "__main__":
    asyncio.run(record(Path(sys.argv[1]).resolve(), Path(sys.argv[2]), sys.argv[3:]))
