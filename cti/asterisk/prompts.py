"""What callers are told, asked and read out, spoken by espeak-ng: ``python -m cti.asterisk.prompts FOLDER``.

One WAV file (8 kHz, one channel) per language and name, in a folder per language: sentences, and numbers from 0 to 99
of which positions and minutes are made. The two about recording lie beside the folders as well, in English, for every
other language. Where somebody may press a key the file ends with silence: the time to do it. A site may put recordings
of a human voice in their place; ``CALLFLOOR_PROMPTS`` of the dialplan names the folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import wave
from array import array
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

RATE = 8000
NUMBERS = range(100)
VOICES = {"en": "en-gb", "de": "de", "es": "es", "fr": "fr-fr", "zh": "cmn+f2"}
"""Language → espeak-ng's voice."""
RECORDING = ("recording-announced", "recording-consent")
"""Those that have a form for every other language."""
PAUSES_S = {
    "recording-announced": 1.5,
    "recording-consent": 5.0,
    "callback-offer": 1.0,
    "callback-confirm": 3.0,
    "callback-number": 1.0,
    "voicemail-offer": 0.05,
    "account": 1.0,
    "position-before": 0.05,
    "wait-before": 0.05,
}
"""Silence at the end of a file in seconds; ``PAUSE_S`` for every other sentence, ``NUMBER_PAUSE_S`` for a number."""
PAUSE_S = 0.3
NUMBER_PAUSE_S = 0.05

SENTENCES = {
    "recording-announced": {
        "en": "This call will be recorded. If you do not agree, please press nine.",
        "de": "Dieses Gespräch wird aufgezeichnet. Wenn Sie das nicht möchten, drücken Sie bitte die Neun.",
        "es": "Esta llamada será grabada. Si no está de acuerdo, pulse nueve.",
        "fr": "Cet appel sera enregistré. Si vous n'êtes pas d'accord, appuyez sur le neuf.",
        "zh": "本次通话将被录音。如果您不同意，请按九。",
    },
    "recording-consent": {
        "en": "May we record this call? Press one for yes. Without it, nothing is recorded.",
        "de": "Dürfen wir dieses Gespräch aufzeichnen? Für Ja drücken Sie die Eins. Sonst wird nichts aufgezeichnet.",
        "es": "¿Podemos grabar esta llamada? Pulse uno para sí. De lo contrario no se graba nada.",
        "fr": "Pouvons-nous enregistrer cet appel ? Appuyez sur un pour oui. Sinon, rien n'est enregistré.",
        "zh": "我们可以对本次通话录音吗？同意请按一。否则不会录音。",
    },
    "accept": {
        "en": "A caller is waiting for you. To take the call, please press one.",
        "de": "Ein Anrufer wartet auf Sie. Um das Gespräch anzunehmen, drücken Sie bitte die Eins.",
        "es": "Una llamada le espera. Para aceptarla, pulse uno.",
        "fr": "Un appel vous attend. Pour le prendre, appuyez sur le un.",
        "zh": "有来电在等您。接听请按一。",
    },
    "greeting": {
        "en": "Welcome. You will be connected with the next free member of our staff.",
        "de": "Willkommen. Sie werden mit dem nächsten freien Mitarbeiter verbunden.",
        "es": "Bienvenido. Le atenderá la próxima persona libre de nuestro equipo.",
        "fr": "Bienvenue. La prochaine personne disponible de notre équipe va vous répondre.",
        "zh": "您好，欢迎致电。我们将为您转接下一位空闲的客服人员。",
    },
    "comfort": {
        "en": "All our staff are still on other calls. Thank you for waiting.",
        "de": "Alle Mitarbeiter sind noch im Gespräch. Vielen Dank für Ihre Geduld.",
        "es": "Todo nuestro equipo sigue ocupado. Gracias por su paciencia.",
        "fr": "Toutes nos lignes sont encore occupées. Merci de patienter.",
        "zh": "所有客服人员仍在通话中，感谢您的耐心等待。",
    },
    "position-first": {
        "en": "You are the next in line.",
        "de": "Sie sind als Nächstes an der Reihe.",
        "es": "Usted es la siguiente persona en la cola.",
        "fr": "Vous êtes la prochaine personne de la file.",
        "zh": "下一位就是您。",
    },
    "position-before": {
        "en": "Your place in line is number",
        "de": "Sie stehen in der Warteschlange auf Platz",
        "es": "Su puesto en la cola es el número",
        "fr": "Votre place dans la file est le numéro",
        "zh": "您目前排在第",
    },
    "position-after": {"en": "", "de": "", "es": "", "fr": "", "zh": "位。"},
    "wait-minute": {
        "en": "We expect to answer within a minute.",
        "de": "Voraussichtlich sind wir in einer Minute für Sie da.",
        "es": "Esperamos atenderle en un minuto.",
        "fr": "Nous pensons vous répondre d'ici une minute.",
        "zh": "预计一分钟之内为您接通。",
    },
    "wait-before": {
        "en": "We expect to answer within about",
        "de": "Voraussichtlich sind wir für Sie da in etwa",
        "es": "Esperamos atenderle en unos",
        "fr": "Nous pensons vous répondre d'ici environ",
        "zh": "预计等待时间约",
    },
    "wait-after": {"en": "minutes.", "de": "Minuten.", "es": "minutos.", "fr": "minutes.", "zh": "分钟。"},
    "callback-offer": {
        "en": "If you would rather be called back, press one. You keep your place in line.",
        "de": "Wenn Sie lieber zurückgerufen werden möchten, drücken Sie die Eins. Ihr Platz bleibt erhalten.",
        "es": "Si prefiere que le llamemos, pulse uno. Conservará su puesto en la cola.",
        "fr": "Si vous préférez être rappelé, appuyez sur un. Vous gardez votre place dans la file.",
        "zh": "如需我们回电，请按一。您的排队位置将为您保留。",
    },
    "callback-confirm": {
        "en": "Press one and we call you back at the number you are calling from. Press two to stay on the line.",
        "de": "Für einen Rückruf unter Ihrer jetzigen Nummer drücken Sie die Eins, zum Weiterwarten die Zwei.",
        "es": "Pulse uno y le llamaremos al número desde el que llama. Pulse dos para seguir esperando.",
        "fr": "Appuyez sur un et nous vous rappelons au numéro d'où vous appelez. Pour patienter, appuyez sur deux.",
        "zh": "请按一，我们将回拨您当前使用的号码。继续等待请按二。",
    },
    "callback-number": {
        "en": "Please type the number at which we can call you back, and end with the hash key.",
        "de": "Bitte geben Sie die Nummer ein, unter der wir zurückrufen sollen, und danach die Rautetaste.",
        "es": "Marque el número al que podemos llamarle y termine con la tecla almohadilla.",
        "fr": "Composez le numéro où vous rappeler, puis appuyez sur dièse.",
        "zh": "请输入我们可以回拨的号码，并以井号键结束。",
    },
    "callback-placed": {
        "en": "Thank you. We will call you when it is your turn. Goodbye.",
        "de": "Vielen Dank. Wir rufen Sie an, sobald Sie an der Reihe sind. Auf Wiederhören.",
        "es": "Gracias. Le llamaremos cuando sea su turno. Adiós.",
        "fr": "Merci. Nous vous appellerons quand ce sera votre tour. Au revoir.",
        "zh": "谢谢。轮到您时我们会给您回电。再见。",
    },
    "callback-impossible": {
        "en": "We can't call this number. Please stay on the line.",
        "de": "Diese Nummer können wir nicht anrufen. Bitte bleiben Sie am Apparat.",
        "es": "No podemos llamar a ese número. Por favor, siga en línea.",
        "fr": "Nous ne pouvons pas appeler ce numéro. Veuillez rester en ligne.",
        "zh": "我们无法拨打该号码，请继续等待。",
    },
    "voicemail-offer": {
        "en": "To leave a message instead, press",
        "de": "Um stattdessen eine Nachricht zu hinterlassen, drücken Sie",
        "es": "Para dejar un mensaje, pulse",
        "fr": "Pour laisser plutôt un message, appuyez sur",
        "zh": "如需留言，请按",
    },
    "voicemail": {
        "en": "Please leave a message after the tone, and hang up when you are done.",
        "de": "Bitte hinterlassen Sie nach dem Ton eine Nachricht und legen Sie danach auf.",
        "es": "Deje un mensaje después de la señal y cuelgue al terminar.",
        "fr": "Laissez un message après le bip, puis raccrochez.",
        "zh": "请在提示音后留言，留言结束后挂机即可。",
    },
    "closed": {
        "en": "We are closed at the moment. Please call again during our opening hours. Goodbye.",
        "de": "Wir haben zurzeit geschlossen. Bitte rufen Sie zu unseren Öffnungszeiten wieder an. Auf Wiederhören.",
        "es": "En este momento está cerrado. Llame de nuevo en nuestro horario de atención. Adiós.",
        "fr": "Nous sommes actuellement fermés. Rappelez pendant nos heures d'ouverture. Au revoir.",
        "zh": "现在是非营业时间，请在营业时间再次来电。再见。",
    },
    "busy": {
        "en": "All our lines are busy. Please call again later. Goodbye.",
        "de": "Alle Leitungen sind belegt. Bitte rufen Sie später wieder an. Auf Wiederhören.",
        "es": "Todas nuestras líneas están ocupadas. Llame más tarde, por favor. Adiós.",
        "fr": "Toutes nos lignes sont occupées. Veuillez rappeler plus tard. Au revoir.",
        "zh": "目前线路繁忙，请稍后再拨。再见。",
    },
    "account": {
        "en": "Please type your account number.",
        "de": "Bitte geben Sie Ihre Kundennummer ein.",
        "es": "Marque su número de cliente.",
        "fr": "Composez votre numéro de client.",
        "zh": "请输入您的客户号码。",
    },
    "invalid": {
        "en": "Sorry, that is not valid.",
        "de": "Diese Eingabe ist leider ungültig.",
        "es": "Lo sentimos, no es válido.",
        "fr": "Désolé, ce choix n'est pas valable.",
        "zh": "对不起，输入无效。",
    },
}
"""Name → language → what is said; empty: a moment of silence, because the language needs no word there."""

_ZH_DIGITS = "零一二三四五六七八九"


@dataclass(frozen=True, slots=True)
class Prompt:
    """One file to be spoken. ``pause_s``: the silence at its end, in seconds."""

    language: str
    name: str
    text: str
    pause_s: float


def prompts() -> Iterator[Prompt]:
    """All that is spoken, in every language."""
    for name, texts in SENTENCES.items():
        for language, text in texts.items():
            yield Prompt(language, name, text, PAUSES_S.get(name, PAUSE_S))
    for language in VOICES:
        for number in NUMBERS:
            yield Prompt(language, f"number-{number}", number_words(language, number), NUMBER_PAUSE_S)
            if (counted := counted_words(language, number)) is not None:
                yield Prompt(language, f"count-{number}", counted, NUMBER_PAUSE_S)


def number_words(language: str, number: int) -> str:
    """How a number from 0 to 99 is read, as a position."""
    if language != "zh":
        return str(number)  # the voice knows its numbers
    tens, ones = divmod(number, 10)
    if tens == 0:
        return _ZH_DIGITS[ones]
    return ("" if tens == 1 else _ZH_DIGITS[tens]) + "十" + (_ZH_DIGITS[ones] if ones else "")


def counted_words(language: str, number: int) -> str | None:
    """How it is read before the word for minutes where that differs; None: it does not."""
    tens, ones = divmod(number, 10)
    match language:
        case "zh" if number == 2:
            return "两"
        case "de" if number == 1:
            return "eine"
        case "fr" if number == 1:
            return "une"
        case "fr" if ones == 1 and tens in (2, 3, 4, 5, 6):
            return ("vingt", "trente", "quarante", "cinquante", "soixante")[tens - 2] + " et une"
        case "fr" if number == 81:
            return "quatre-vingt-une"
        case "es" if number == 1:
            return "un"
        case "es" if number == 21:
            return "veintiún"
        case "es" if ones == 1 and tens > 2:
            names = ("treinta", "cuarenta", "cincuenta", "sesenta", "setenta", "ochenta", "noventa")
            return names[tens - 3] + " y un"
        case _:
            return None


def make_prompts(folder: Path) -> tuple[Path, ...]:
    """Speak all of ``prompts`` into ``folder``; gives the files. Raises ``FileNotFoundError`` without espeak-ng and
    ``subprocess.CalledProcessError`` when it fails. Blocks for ten to twenty seconds."""
    for language in VOICES:
        (folder / language).mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(os.cpu_count()) as workers:
        made = list(workers.map(lambda one: _speak(folder, one), prompts()))
    copied = (Path(shutil.copy(folder / "en" / f"{name}.wav", folder / f"{name}.wav")) for name in RECORDING)
    return (*made, *copied)


def _speak(folder: Path, prompt: Prompt) -> Path:
    target = folder / prompt.language / f"{prompt.name}.wav"
    samples = array("h")
    if prompt.text:
        speed = "220" if prompt.language == "zh" else "145"
        words = ["espeak-ng", "-v", VOICES[prompt.language], "-s", speed, "--stdout", prompt.text]
        spoken = subprocess.run(words, capture_output=True, check=True).stdout  # noqa: S603  words of ours
        samples = _at_8_khz(spoken)
    _write(target, samples, prompt.pause_s)
    return target


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
