"""The audit, for administrators: who did what, when, from where, newest first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crm_core import audit
from web.schemas import Audit, AuditRecord
from web.sentences import word
from web.setting_words import KINDS, choice_word, field_words
from web.words import WORDS

if TYPE_CHECKING:
    from aiohttp import web

    from web.asking import Ask
    from web.schemas import AuditQuery


async def show(ask: Ask, *, query: AuditQuery) -> web.StreamResponse:
    """The page."""
    found = await _found(ask, query)
    rows = [(record, _details(ask, record)) for record in found.records]
    return await ask.page("audit.html", query=query, rows=rows, before=found.before)


async def get(ask: Ask, *, query: AuditQuery) -> Audit:
    """The same as data."""
    return await _found(ask, query)


def _details(ask: Ask, record: AuditRecord) -> list[tuple[str, str]]:
    """Field and value in words, without what is empty."""
    gettext = ask.language.gettext
    is_setting = record.object in KINDS

    def shown(value: object) -> str:
        if is_setting:
            return choice_word(gettext, value)
        return word(gettext, "value", str(value)) if f"value.{value}" in WORDS else str(value)

    told = []
    for name, value in record.detail.items():
        field = field_words(gettext, name) if is_setting else word(gettext, "detail", name)
        if isinstance(value, list) and len(value) == 2:
            before, after = ("–" if one in (None, "") else shown(one) for one in value)
            told.append((field, f"{before} → {after}"))
        elif value not in (None, ""):
            told.append((field, shown(value)))
    return told


async def _found(ask: Ask, query: AuditQuery) -> Audit:
    rules = (await ask.services.configured.current(now=ask.now)).rules
    async with ask.services.database.read() as connection:
        rows = await audit.recent(
            connection,
            ask.reader,
            rules,
            limit=query.limit + 1,
            before=query.before,
            username=query.user.strip(),
            object=query.object,
            object_id=query.object_id,
        )
    records = [AuditRecord(**row) for row in rows[: query.limit]]
    return Audit(records=records, before=records[-1].id if len(rows) > query.limit else None)
