"""What people upload as announcements, made into what every Asterisk plays: WAV, 8 kHz, one channel, 16 bits.

The bytes come from outside: sizes are bounded, and everything that is not plain PCM is refused.
"""

from __future__ import annotations

import wave
from array import array
from io import BytesIO
from itertools import accumulate
from operator import add, floordiv, sub
from sys import byteorder

from crm_core.errors import BadInput

RATE = 8000
LONGEST_S = 300
SHORTEST_S = 0.1
LONGEST_BYTES = 60_000_000
_EXTENSIBLE, _PCM = b"\xfe\xff", b"\x01\x00"


def at_8_khz(given: bytes) -> bytes:
    """The same sound as a file of 8 kHz, one channel, 16 bits. Blocks for up to a second. Raises ``BadInput`` (field
    ``file``): ``not_a_wav``, ``too_short``, ``too_long``."""
    try:
        with wave.open(BytesIO(_plain(given))) as source:
            channels, width, rate, frames = source.getparams()[:4]
            if not (1 <= channels <= 2 and 1 <= width <= 4 and 4_000 <= rate <= 192_000):
                raise BadInput("file", "not_a_wav")
            if frames > LONGEST_S * rate:
                raise BadInput("file", "too_long")
            raw = source.readframes(frames)
    except (wave.Error, EOFError):
        raise BadInput("file", "not_a_wav") from None
    raw = raw[: len(raw) // (width * channels) * width * channels]
    samples = _resampled(_mono(_at_16_bits(raw, width), channels), rate)
    if len(samples) < SHORTEST_S * RATE:
        raise BadInput("file", "too_short")
    if byteorder == "big":
        samples.byteswap()
    made = BytesIO()
    with wave.open(made, "wb") as target:
        target.setparams((1, 2, RATE, 0, "NONE", ""))
        target.writeframes(samples.tobytes())
    return made.getvalue()


def _plain(given: bytes) -> bytes:
    """Editors like to write PCM as an "extensible" format, which means the same."""
    at = given.find(b"fmt ", 12, 200)
    if at > 0 and given[at + 8 : at + 10] == _EXTENSIBLE and given[at + 32 : at + 34] == _PCM:
        return given[: at + 8] + _PCM + given[at + 10 :]
    return given


def _at_16_bits(raw: bytes, width: int) -> array[int]:
    if width == 1:
        return array("h", [(sample - 128) << 8 for sample in raw])
    kept = raw
    if width > 2:
        both = bytearray(len(raw) // width * 2)
        both[0::2], both[1::2] = raw[width - 2 :: width], raw[width - 1 :: width]
        kept = bytes(both)
    samples = array("h", kept)
    if byteorder == "big":
        samples.byteswap()
    return samples


def _mono(samples: array[int], channels: int) -> array[int]:
    if channels == 1:
        return samples
    return array("h", (both >> 1 for both in map(add, samples[0::2], samples[1::2])))


def _resampled(samples: array[int], rate: int) -> array[int]:
    """Each new sample is the mean over its time, which keeps aliasing out; between old samples it lies on the line."""
    if rate == RATE or not samples:
        return samples
    count = len(samples) * RATE // rate
    if rate < RATE:
        last = len(samples) - 1
        return array("h", (_between(samples, place * rate / RATE, last) for place in range(count)))
    sums = array("q", accumulate(samples, initial=0))
    starts = [place * rate // RATE for place in range(count + 1)]
    totals = [sums[one] for one in starts]
    return array("h", map(floordiv, map(sub, totals[1:], totals), map(sub, starts[1:], starts)))


def _between(samples: array[int], at: float, last: int) -> int:
    before = min(int(at), last)
    after = min(before + 1, last)
    return round(samples[before] + (samples[after] - samples[before]) * (at - before))
