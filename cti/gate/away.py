"""What the gate itself says to people: that the pages are away, and that calls are not."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

RETRY_S = 5

_STYLE = (
    ":root{color-scheme:light dark}body{font:1.1rem/1.5 system-ui,sans-serif;margin:20vh auto;max-width:34rem;"
    "padding:0 1.5rem}h1{font-size:1.5rem}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class _Words:
    title: str
    text: str


_WORDS: Mapping[str, _Words] = {
    "en": _Words(
        "The pages are away; calls go on",
        "Talks continue and callers reach agents through the telephone system. "
        "This page looks again by itself in a few seconds.",
    ),
    "zh-Hans": _Words(
        "页面暂时无法打开；通话照常进行", "正在进行的通话不受影响，来电仍由电话系统接给座席。本页几秒后会自动重试。"
    ),
    "zh-Hant": _Words(
        "頁面暫時無法開啟；通話照常進行", "正在進行的通話不受影響，來電仍由電話系統接給座席。本頁幾秒後會自動重試。"
    ),
}
_TRADITIONAL = ("zh-hant", "zh-tw", "zh-hk", "zh-mo")


def language(chosen: str | None, accept: str) -> str:
    """The language that this browser chose before, else the first that it accepts and we have, else English."""
    if chosen is not None and chosen in _WORDS:
        return chosen
    for part in accept.lower().split(",")[:20]:
        tag = part.partition(";")[0].strip()
        if tag.startswith("zh"):
            return "zh-Hant" if tag.startswith(_TRADITIONAL) else "zh-Hans"
        if tag.startswith("en"):
            return "en"
    return "en"


def page(tag: str) -> str:
    """The page in a language of ours; it reloads itself."""
    words = _WORDS[tag]
    return (
        f'<!doctype html><html lang="{tag}"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="refresh" content="{RETRY_S}"><title>{words.title} · Callfloor</title>'
        f"<style>{_STYLE}</style></head><body><h1>{words.title}</h1><p>{words.text}</p></body></html>"
    )


def answer(tag: str) -> str:
    """The same for a script, shaped as the pages' own errors."""
    return json.dumps({"code": "pages_away", "message": _WORDS[tag].title, "fields": [], "request": ""})
