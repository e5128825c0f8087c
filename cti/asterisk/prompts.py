"""What callers are told and asked about recording, spoken by espeak-ng: ``python -m cti.asterisk.prompts FOLDER``.

One WAV file (8 kHz, one channel) per language and sentence, in a folder per language, and the English ones beside them
for every other language. Each ends with silence: the time in which the caller can still press a key. A site may put
recordings of a human voice in their place; ``CALLFLOOR_PROMPTS`` of the dialplan names the folder.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import wave
from array import array
from io import BytesIO
from pathlib import Path

RATE = 8000
SENTENCES = {
    "en": (
        "en-gb",
        "This call will be recorded. If you do not agree, please press nine.",
        "May we record this call? Press one for yes. Without it, nothing is recorded.",
    ),
    "de": (
        "de",
        "Dieses Gespräch wird aufgezeichnet. Wenn Sie das nicht möchten, drücken Sie bitte die Neun.",
        "Dürfen wir dieses Gespräch aufzeichnen? Für Ja drücken Sie die Eins. Sonst wird nichts aufgezeichnet.",
    ),
    "es": (
        "es",
        "Esta llamada será grabada. Si no está de acuerdo, pulse nueve.",
        "¿Podemos grabar esta llamada? Pulse uno para sí. De lo contrario no se graba nada.",
    ),
    "fr": (
        "fr-fr",
        "Cet appel sera enregistré. Si vous n'êtes pas d'accord, appuyez sur le neuf.",
        "Pouvons-nous enregistrer cet appel ? Appuyez sur un pour oui. Sinon, rien n'est enregistré.",
    ),
    "zh": (
        "cmn+f2",
        "本次通话将被录音。如果您不同意，请按九。",
        "我们可以对本次通话录音吗？同意请按一。否则不会录音。",
    ),
}
"""Language → voice, what is told, what is asked."""
FILES = ("recording-announced", "recording-consent")
PAUSES_S = (1.5, 5.0)


def make_prompts(folder: Path) -> tuple[Path, ...]:
    """Speak all sentences into ``folder``; gives the files. Raises ``FileNotFoundError`` without espeak-ng and
    ``subprocess.CalledProcessError`` when it fails. Blocks for about a second."""
    made: list[Path] = []
    for language, (voice, *sentences) in SENTENCES.items():
        home = folder / language
        home.mkdir(parents=True, exist_ok=True)
        for name, sentence, pause_s in zip(FILES, sentences, PAUSES_S, strict=True):
            words = ["espeak-ng", "-v", voice, "-s", "220" if language == "zh" else "145", "--stdout", sentence]
            spoken = subprocess.run(words, capture_output=True, check=True).stdout  # noqa: S603  words of ours
            target = home / f"{name}.wav"
            _write(target, _at_8_khz(spoken), pause_s)
            made.append(target)
            if language == "en":
                made.append(Path(shutil.copy(target, folder / f"{name}.wav")))
    return tuple(made)


def _at_8_khz(spoken: bytes) -> array[int]:
    """The samples of a WAV (16 bits, one channel), each the mean over its time: that keeps aliasing out."""
    with wave.open(BytesIO(spoken)) as source:
        step = source.getframerate() / RATE
        samples = array("h", source.readframes(source.getnframes()))
    sums = [0]
    for sample in samples:
        sums.append(sums[-1] + sample)
    fresh = array("h")
    for index in range(int(len(samples) / step) - 1):
        first, last = int(index * step), int(index * step + step) + 1
        fresh.append((sums[last] - sums[first]) // (last - first))
    return fresh


def _write(path: Path, samples: array[int], pause_s: float) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(samples.tobytes() + bytes(2 * int(RATE * pause_s)))


if __name__ == "__main__":
    make_prompts(Path(sys.argv[1]))
