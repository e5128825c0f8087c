"""``make bench-ami``: our AMI link, from bytes to typed facts, against stock panoramisk on the same recorded traffic.

Both get the same chunks in the same process, in turn, for several rounds; CPU time of the process is what counts,
medians are reported. *Ours*: protocol, client and translator as the daemon runs them; every fact is built and handed
to an inbox that counts it. *Stock*: panoramisk's protocol and Manager with one plain handler for each event type
that we use; a handler only reads the headers that the fact needs. Facts are compared with those of a plain full
parser first. Then one message of 4 MB, as an event and as an answer.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import platform
import random
import re
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

from panoramisk.ami_protocol import AMIProtocol
from panoramisk.manager import Manager

from bench.ami_reference import Reference, split_stream
from cti.asterisk.ami_client import AmiClient
from cti.asterisk.ami_protocol import AmiProtocol
from cti.asterisk.translator import Translator
from cti.ids import PbxId

if TYPE_CHECKING:
    from collections.abc import Callable

    from cti.events import Event

TRAFFIC = Path(__file__).parent.parent / "tests" / "asterisk" / "traffic"
RESULTS = Path(__file__).parent / "results" / "ami.json"
MESSAGES = 50_000
ROUNDS = 7
GREETING = b"Asterisk Call Manager/11.0.0\r\n"
BIG_BYTES = 4 << 20

CHANNEL = ("Uniqueid", "Linkedid")
BOTH = (*CHANNEL, "DestUniqueid", "DestLinkedid")
READ_BY_HANDLERS: dict[str, tuple[str, ...]] = {
    "Newchannel": (*CHANNEL, "Channel", "CallerIDNum", "CallerIDName", "Exten", "ChannelState"),
    "Newstate": (*CHANNEL, "ChannelState"),
    "NewCallerid": (*CHANNEL, "CallerIDNum", "CallerIDName"),
    "Rename": (*CHANNEL, "Newname"),
    "LocalBridge": ("LocalOneUniqueid", "LocalOneLinkedid", "LocalTwoUniqueid", "LocalTwoLinkedid"),
    "DialBegin": BOTH,
    "DialEnd": (*BOTH, "DialStatus", "Forward"),
    "BridgeEnter": (*CHANNEL, "BridgeUniqueid", "BridgeTechnology"),
    "BridgeLeave": (*CHANNEL, "BridgeUniqueid"),
    "Hold": CHANNEL,
    "Unhold": CHANNEL,
    "Hangup": (*CHANNEL, "Cause"),
    "BlindTransfer": ("TransfererUniqueid", "TransfereeUniqueid", "Extension", "Result"),
    "AttendedTransfer": (
        "OrigTransfererUniqueid",
        "SecondTransfererUniqueid",
        "TransfereeUniqueid",
        "TransferTargetUniqueid",
        "Result",
    ),
    "Pickup": (*CHANNEL, "TargetUniqueid", "TargetLinkedid"),
    "QueueCallerJoin": (*CHANNEL, "Queue", "Position"),
    "QueueCallerAbandon": CHANNEL,
    "QueueCallerLeave": (*CHANNEL, "Queue"),
    "UserEvent": (
        *CHANNEL,
        "UserEvent",
        "Channelid",
        "Ani",
        "Aniname",
        "Withheld",
        "Dnis",
        "Account",
        "Choice",
        "Callerlanguage",
        "Waited",
        "Target",
        "File",
    ),
    "MixMonitorMute": (*CHANNEL, "State"),
    "ContactStatus": ("EndpointName", "AOR", "ContactStatus", "URI"),
    "DeviceStateChange": ("Device", "State"),
}


class NoTransport(asyncio.Transport):
    """Where nothing goes."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Nobody is there."""

    def abort(self) -> None:
        """Nothing to end."""

    def close(self) -> None:
        """Nothing to end."""

    def get_write_buffer_size(self) -> int:
        """Always empty."""
        return 0


def recorded_stream(messages: int) -> bytes:
    """All recordings one after the other, again and again with other ids, until there are ``messages``."""
    recordings = [split_stream(gzip.decompress(path.read_bytes())) for path in sorted(TRAFFIC.glob("*/*.ami.gz"))]
    once = [message for recording in recordings for message in recording if not message.startswith(b"Response: ")]
    stream: list[bytes] = []
    for turn in range(-(-messages // len(once))):
        clock = b"%010d." % (1_800_000_000 + turn * 1000)
        stream += [re.sub(rb"\b17953\d{5}\.", clock, message) for message in once]
    return b"".join(message + b"\r\n\r\n" for message in stream[:messages])


def cut(stream: bytes, seed: int) -> list[bytes]:
    """The stream as a socket hands it over under load: reads of a few hundred bytes to a few packets, cut anywhere."""
    chance = random.Random(seed)
    chunks: list[bytes] = []
    at = 0
    while at < len(stream):
        size = chance.choice((chance.randint(300, 1500), 1448, 2896, chance.randint(1500, 16384)))
        chunks.append(stream[at : at + size])
        at += size
    return chunks


def our_link(inbox: Callable[[Event], None]) -> AmiProtocol:
    """Our link as ``AsteriskSwitch`` composes it, without a socket."""
    translator = Translator(PbxId("pbx"))

    def take(events: list[bytes]) -> None:
        for fact in translator.translate(events, time.time()):
            inbox(fact)

    client = AmiClient(host="", port=0, username="", secret="", jitter=random.Random(1), on_events=take)
    protocol = AmiProtocol(client, action_timeout_s=5, max_message_bytes=8 << 20, max_list_bytes=64 << 20)
    protocol.connection_made(NoTransport())
    protocol.data_received(GREETING)
    protocol.send({"Action": "Status", "ActionID": "big"}, as_list=False)
    return protocol


def stock_link(counts: dict[str, int]) -> AMIProtocol:
    """Stock panoramisk with one handler per event type, without a socket."""
    manager = Manager(loop=asyncio.get_running_loop())
    for event, headers in READ_BY_HANDLERS.items():

        def handle(_: Manager, message: dict[str, str], event: str = event, headers: tuple[str, ...] = headers) -> None:
            counts[event] = counts.get(event, 0) + 1
            for name in headers:
                message.get(name)

        manager.register_event(event, handle)
    protocol = AMIProtocol()
    protocol.connection_made(NoTransport())
    protocol.factory = manager
    protocol.encoding = "utf8"
    protocol.data_received(GREETING)
    return protocol


def cpu_s(protocol: asyncio.Protocol, chunks: list[bytes]) -> float:
    """CPU seconds that the process needs to take all chunks."""
    receive = protocol.data_received
    began = time.process_time()
    for chunk in chunks:
        receive(chunk)
    return time.process_time() - began


def longest_and_total_ms(protocol: asyncio.Protocol, message: bytes) -> tuple[float, float]:
    """How long one message in reads of 64 KiB blocks the loop: the longest read and all together, in milliseconds."""
    spans: list[float] = []
    for at in range(0, len(message), 65536):
        began = time.perf_counter()
        protocol.data_received(message[at : at + 65536])
        spans.append((time.perf_counter() - began) * 1000)
    return max(spans), sum(spans)


def big_messages() -> dict[str, bytes]:
    """4 MB as an event that we want, with one long and with many headers, and as an answer."""
    head = b"Event: Newstate\r\nPrivilege: call,all\r\nChannel: PJSIP/a-1\r\nChannelState: 6\r\n"
    tail = b"Uniqueid: 1.1\r\nLinkedid: 1.1\r\n\r\n"
    header = b"X-Filler: " + b"v" * 50 + b"\r\n"
    return {
        "event, one header": head + b"X-Filler: " + b"v" * BIG_BYTES + b"\r\n" + tail,
        "event, many headers": head + header * (BIG_BYTES // len(header)) + tail,
        "answer, many headers": b"Response: Success\r\nActionID: big\r\n"
        + header * (BIG_BYTES // len(header))
        + b"\r\n",
    }


def check_facts(stream: bytes, chunks: list[bytes]) -> int:
    """Compare our facts with the plain parser's; the number of facts. Raises ``SystemExit`` if one differs."""
    inbox: list[Event] = []
    translator = Translator(PbxId("pbx"))
    client = AmiClient(
        host="",
        port=0,
        username="",
        secret="",
        jitter=random.Random(1),
        on_events=lambda events: inbox.extend(translator.translate(events, 1.0)),
    )
    protocol = AmiProtocol(client, action_timeout_s=5, max_message_bytes=8 << 20, max_list_bytes=64 << 20)
    protocol.connection_made(NoTransport())
    protocol.data_received(GREETING)
    for chunk in chunks:
        protocol.data_received(chunk)
    reference = Reference(PbxId("pbx"))
    plain = [fact for message in split_stream(stream) for fact in reference.facts(message, 1.0)]
    if inbox != plain:
        raise SystemExit("facts differ from the plain parser's")
    return len(plain)


async def measure() -> dict[str, object]:
    """All figures."""
    stream = recorded_stream(MESSAGES)
    chunks = cut(stream, seed=7)
    facts = check_facts(stream, chunks)
    ours: list[float] = []
    stock: list[float] = []
    for _ in range(ROUNDS):
        counted: dict[str, int] = {}

        def count(fact: Event, counted: dict[str, int] = counted) -> None:
            kind = type(fact).__name__
            counted[kind] = counted.get(kind, 0) + 1

        ours.append(MESSAGES / cpu_s(our_link(count), chunks))
        counts: dict[str, int] = {}
        stock.append(MESSAGES / cpu_s(stock_link(counts), chunks))
        if sum(counted.values()) != facts or not counts:
            raise SystemExit("a side lost messages")
    stalls = {name: longest_and_total_ms(our_link(lambda _: None), message) for name, message in big_messages().items()}
    stock_stall = longest_and_total_ms(stock_link({}), big_messages()["event, many headers"])
    return {
        "ratio_vs_panoramisk": round(statistics.median(a / b for a, b in zip(ours, stock, strict=True)), 2),
        "stall_4mb_ms": round(max(total for _, total in stalls.values()), 1),
        "messages": MESSAGES,
        "bytes": len(stream),
        "chunks": len(chunks),
        "facts": facts,
        "facts_equal_plain_parser": True,
        "rounds": ROUNDS,
        "ours_messages_per_cpu_s": round(statistics.median(ours)),
        "panoramisk_messages_per_cpu_s": round(statistics.median(stock)),
        "ours_all": [round(value) for value in ours],
        "panoramisk_all": [round(value) for value in stock],
        "stall_4mb_longest_and_total_ms": {name: [round(value, 1) for value in pair] for name, pair in stalls.items()},
        "panoramisk_stall_4mb_longest_and_total_ms": [round(value, 1) for value in stock_stall],
        "python": platform.python_version(),
    }


def main() -> None:
    """Measure, print, write ``bench/results/ami.json``."""
    figures = asyncio.run(measure())
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(figures, indent=2) + "\n")
    for name, value in figures.items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
