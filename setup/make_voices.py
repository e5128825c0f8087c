"""Speak the demo's sentences with espeak-ng and keep them as raw G.711 A-law: ``make_voices.py FOLDER``.

``caller-*.alaw`` are callers, ``agent-*.alaw`` automatic agents; 8,000 bytes are one second.
"""

from __future__ import annotations

import array
import subprocess
import sys
import wave
from io import BytesIO
from pathlib import Path

RATE = 8000
PAUSE_S = 1.2

CALLERS = {
    "en-1": ("en-gb", 1.0, "Hello, this is about my last order. It arrived yesterday, but one part is missing."),
    "en-2": ("en-us", 1.15, "Hi there. I would like to change the address on my account, please. I moved last month."),
    "en-3": (
        "en-gb+f3",
        0.95,
        "Good morning. My invoice shows an amount that I don't understand. Could you look at it?",
    ),
    "en-4": ("en-us+f4", 1.05, "Hello. The device stopped working after the update. What can I do about it?"),
    "en-5": ("en-gb-scotland", 1.0, "Hello, I am calling to ask when the technician will come. I have waited all day."),
    "zh-1": ("cmn", 1.0, "你好，我想查询一下我的订单，为什么还没有发货？"),
    "zh-2": ("cmn+f3", 0.95, "您好，我的账单好像有问题，请帮我看一下。"),
    "zh-3": ("cmn+f4", 1.05, "喂，你好。设备更新以后就不能用了，应该怎么办？"),
}
AGENTS = {
    "en-1": (
        "en-us+f2",
        1.0,
        "Thank you for calling. I am happy to help. One moment please while I look that up for you.",
    ),
    "en-2": ("en-gb", 1.0, "Good day, you are speaking with customer service. Let me check this in our system."),
    "zh-1": ("cmn+f2", 1.0, "您好，这里是客户服务，请稍等，我马上帮您查一下。"),
}


def alaw_table() -> bytes:
    """A-law of every 13-bit sample, indexed by ``sample + 4096``."""
    codes = bytearray()
    for sample in range(-4096, 4096):
        sign, size = (0x80, sample) if sample >= 0 else (0, -sample - 1)
        exponent = max(size.bit_length() - 5, 0)
        codes.append((sign | (exponent << 4) | ((size >> max(exponent, 1)) & 0x0F)) ^ 0x55)
    return bytes(codes)


def to_alaw(recording: bytes, table: bytes) -> bytes:
    """A WAV (16 bits, one channel) at 8 kHz in A-law. Averages over the width of one new sample against aliasing."""
    with wave.open(BytesIO(recording)) as source:
        rate = source.getframerate()
        samples = array.array("h", source.readframes(source.getnframes()))
    sums = [0]
    for sample in samples:
        sums.append(sums[-1] + sample)
    step = rate / RATE
    spoken = bytearray()
    for index in range(int(len(samples) / step) - 1):
        first, last = int(index * step), int(index * step + step) + 1
        spoken.append(table[((sums[last] - sums[first]) // (last - first) >> 3) + 4096])
    return bytes(spoken) + bytes([table[4096]]) * int(PAUSE_S * RATE)


def main() -> int:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    table = alaw_table()
    for kind, sentences in (("caller", CALLERS), ("agent", AGENTS)):
        for name, (voice, tempo, text) in sentences.items():
            words = ["espeak-ng", "-v", voice, "-s", str(int(160 * tempo)), "--stdout", text]
            spoken = subprocess.run(words, capture_output=True, check=True).stdout
            (folder / f"{kind}-{name}.alaw").write_bytes(to_alaw(spoken, table))
    (folder / "complete").write_text("")
    return 0


if __name__ == "__main__":
    sys.exit(main())
