"""The other end of a call's audio: sends a tone as G.711 A-law and measures the tones it receives."""

from __future__ import annotations

import asyncio
import math
import random
import struct
import wave
from collections import deque
from pathlib import Path
from typing import Self

RATE = 8000
SAMPLES_PER_PACKET = 160
PACKET_S = SAMPLES_PER_PACKET / RATE
LOUD = 100.0
"""Root mean square (of 16 bits) from which somebody would say that there is a sound."""


def alaw_encode(sample: int) -> int:
    """One 16-bit sample as a byte of A-law (G.711)."""
    sign = 0x80
    sample >>= 3
    if sample < 0:
        sample = -sample - 1
        sign = 0
    sample = min(sample, 0xFFF)
    exponent = max(sample.bit_length() - 5, 0)
    mantissa = (sample >> max(exponent, 1)) & 0x0F
    return (sign | (exponent << 4) | mantissa) ^ 0x55


def alaw_decode(byte: int) -> int:
    """One byte of A-law as a 16-bit sample."""
    byte ^= 0x55
    exponent, mantissa = (byte >> 4) & 7, byte & 15
    value = (mantissa << 4) + 8 if exponent == 0 else ((mantissa << 4) + 0x108) << (exponent - 1)
    return value if byte & 0x80 else -value


def ulaw_decode(byte: int) -> int:
    """One byte of µ-law as a 16-bit sample."""
    byte = ~byte & 0xFF
    value = (((byte & 15) << 3) + 0x84) << ((byte & 0x70) >> 4)
    return 0x84 - value if byte & 0x80 else value - 0x84


ALAW = tuple(alaw_decode(byte) for byte in range(256))
ULAW = tuple(ulaw_decode(byte) for byte in range(256))


def tone(hz: float, seconds: float, level: float = 8000.0) -> bytes:
    """A sine as raw A-law."""
    return bytes(
        alaw_encode(round(level * math.sin(2 * math.pi * hz * index / RATE))) for index in range(int(seconds * RATE))
    )


def write_prompt(path: Path, hz: float, seconds: float, pause_s: float) -> None:
    """A WAV file with a tone and a pause, to be played by the dialplan."""
    samples = [ALAW[byte] for byte in tone(hz, seconds)] + [0] * int(RATE * pause_s)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(struct.pack(f"<{len(samples)}h", *samples))


def root_mean_square(samples: list[int]) -> float:
    """How loud."""
    return math.sqrt(sum(sample * sample for sample in samples) / len(samples)) if samples else 0.0


WINDOW = RATE // 10
"""So many samples are looked at together: a gap in the sound shifts the phase, which hides a tone from whoever looks at
both sides of it at once."""


def share_of(hz: float, samples: list[int]) -> float:
    """How much of the sound's energy lies at ``hz``, 0 to 1 (Goertzel's filter)."""
    energy = float(sum(sample * sample for sample in samples))
    if energy == 0.0:
        return 0.0
    factor = 2 * math.cos(2 * math.pi * hz / RATE)
    at_hz = 0.0
    for start in range(0, len(samples), WINDOW):
        window = samples[start : start + WINDOW]
        one = two = 0.0
        for sample in window:
            one, two = sample + factor * one - two, one
        at_hz += 2 * (one * one + two * two - factor * one * two) / len(window)
    return min(1.0, at_hz / energy)


class TonePhone(asyncio.DatagramProtocol):
    """Holds one UDP port, which a SIP party names in its SDP as its own.

    It learns where to send from the first packet that it receives (or from ``call_to``), and sends ``hz`` from then on.
    With ``hz`` None it only listens.
    """

    def __init__(self, hz: float | None, *, keep_s: float = 1.0) -> None:
        self.port = 0
        self.packets = 0
        sound = tone(hz, PACKET_S * 50) if hz else b""
        self._packets_of_tone = [sound[i : i + SAMPLES_PER_PACKET] for i in range(0, len(sound), SAMPLES_PER_PACKET)]
        self._heard: deque[int] = deque(maxlen=int(keep_s * RATE))
        self._pressed: deque[bytes] = deque()
        self._last_packet_at = 0.0
        self._last_loud_at: float | None = None
        self._longest_silence_s = 0.0
        self._remote: tuple[str, int] | None = None
        self._transport: asyncio.DatagramTransport | None = None
        self._sending: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        self.port = self._transport.get_extra_info("sockname")[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.fall_silent()
        if self._transport is not None:
            self._transport.close()

    def call_to(self, host: str, port: int) -> None:
        """Send there from now on."""
        self._remote = (host, port)
        if self._packets_of_tone and self._sending is None:
            self._sending = asyncio.get_running_loop().create_task(self._send())

    def press(self, key: str) -> None:
        """Press a key (0–9, ``*``, ``#``) for 100 ms, told in the audio's own stream (RFC 4733)."""
        event = "0123456789*#".index(key)
        self._pressed.extend(
            struct.pack("!BBH", event, 0x8A if turn >= 5 else 0x0A, SAMPLES_PER_PACKET * min(turn, 5))
            for turn in range(1, 8)
        )
        self._pressed.extend([b""] * 5)  # nobody presses two keys at once

    def fall_silent(self) -> None:
        """Send no more packets: the phone is dead, its socket isn't."""
        if self._sending is not None:
            self._sending.cancel()
        self._packets_of_tone = []

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        if len(data) < 12 or data[0] >> 6 != 2 or data[1] & 0x7F not in (0, 8):
            return
        if self._remote is None or self._remote != addr:
            self.call_to(str(addr[0]), addr[1])
        table = ALAW if data[1] & 0x7F == 8 else ULAW
        samples = [table[byte] for byte in data[12:]]
        now = asyncio.get_running_loop().time()
        self.packets += 1
        self._last_packet_at = now
        self._heard.extend(samples)
        if self._last_loud_at is None:
            self._last_loud_at = now
        if root_mean_square(samples) >= LOUD:
            self._longest_silence_s = max(self._longest_silence_s, now - self._last_loud_at)
            self._last_loud_at = now

    @property
    def longest_silence_s(self) -> float:
        """The longest time in which nothing could be heard since the first packet (or ``forget_silence``)."""
        if self._last_loud_at is None:
            return 0.0
        return max(self._longest_silence_s, asyncio.get_running_loop().time() - self._last_loud_at)

    def forget_silence(self) -> None:
        """Begin to measure silence anew."""
        self._longest_silence_s = 0.0
        self._last_loud_at = asyncio.get_running_loop().time()

    def share_of(self, hz: float) -> float:
        """How much of the last 0.4 s is ``hz``; 0 when it was silent or nothing came."""
        now = asyncio.get_running_loop().time()
        recent = list(self._heard)[-int(0.4 * RATE) :]
        if now - self._last_packet_at > 0.2 or len(recent) < 0.4 * RATE or root_mean_square(recent) < LOUD:
            return 0.0
        return share_of(hz, recent)

    async def hears(self, hz: float, *, within_s: float = 15.0) -> None:
        """Wait until ``hz`` is what is heard. Raises ``AssertionError`` when it isn't in time."""
        async with asyncio.timeout(within_s) as deadline:
            try:
                while self.share_of(hz) < 0.7:
                    await asyncio.sleep(0.05)
            except asyncio.CancelledError:
                if deadline.expired():
                    raise AssertionError(
                        f"{hz} Hz not heard within {within_s} s: share {self.share_of(hz):.2f}, {self.packets} packets"
                    ) from None
                raise

    async def never_hears(self, hz: float, *, for_s: float) -> None:
        """Make sure that ``hz`` is no part of what is heard, for so long. Raises ``AssertionError``."""
        until = asyncio.get_running_loop().time() + for_s
        while asyncio.get_running_loop().time() < until:
            share = self.share_of(hz)
            assert share < 0.01, f"{hz} Hz heard: share {share:.3f}"
            await asyncio.sleep(0.1)

    async def hears_both(self, one_hz: float, other_hz: float, *, within_s: float = 15.0) -> None:
        """Wait until both tones make up what is heard. Raises ``AssertionError`` when they don't in time."""
        async with asyncio.timeout(within_s) as deadline:
            try:
                while min(self.share_of(one_hz), self.share_of(other_hz)) < 0.2:
                    await asyncio.sleep(0.05)
            except asyncio.CancelledError:
                if deadline.expired():
                    shares = f"{self.share_of(one_hz):.2f} and {self.share_of(other_hz):.2f}"
                    raise AssertionError(f"{one_hz} and {other_hz} Hz not heard in time: {shares}") from None
                raise

    async def hears_sound(self, *, within_s: float = 15.0) -> None:
        """Wait until anything can be heard from now on. Raises ``AssertionError`` when nothing is in time."""
        since = asyncio.get_running_loop().time()
        async with asyncio.timeout(within_s) as deadline:
            try:
                while self._last_loud_at is None or self._last_loud_at <= since:
                    await asyncio.sleep(0.05)
            except asyncio.CancelledError:
                if deadline.expired():
                    raise AssertionError(f"no sound within {within_s} s, {self.packets} packets") from None
                raise

    async def _send(self) -> None:
        loop = asyncio.get_running_loop()
        number, stamp, source = random.randrange(0x8000), random.randrange(2**31), random.randrange(2**32)
        due = loop.time()
        turn = 0
        pressed_at = None
        while self._packets_of_tone and self._transport is not None and not self._transport.is_closing():
            kind, at, payload = 8, stamp, self._packets_of_tone[turn % len(self._packets_of_tone)]
            if self._pressed and not self._pressed[0]:
                self._pressed.popleft()
                pressed_at = None
            elif self._pressed:
                is_first, pressed_at = pressed_at is None, pressed_at if pressed_at is not None else stamp
                kind, at, payload = 101 | (0x80 if is_first else 0), pressed_at, self._pressed.popleft()
            else:
                pressed_at = None
            header = struct.pack("!BBHII", 0x80, kind, number & 0xFFFF, at & 0xFFFFFFFF, source)
            self._transport.sendto(header + payload, self._remote)
            number, stamp, turn = number + 1, stamp + SAMPLES_PER_PACKET, turn + 1
            due += PACKET_S
            await asyncio.sleep(max(0.0, due - loop.time()))
