"""What may decide whom a caller gets: few facts of a customer who is known for sure, in one statement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, func, select

from crm_core.schema import interaction, party

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

WEEK_S = 7 * 86400.0
MOST_COUNTED = 100
"""Calls of a week; more than that are not told apart."""

_BEFORE = interaction.alias("before")
_OF_PARTY = (
    _BEFORE.c.party_id == bindparam("party"),
    _BEFORE.c.id != bindparam("interaction"),
    _BEFORE.c.merged_into.is_(None),
)
_FACTS = select(
    party.c.tier,
    party.c.language,
    party.c.owner,
    select(_BEFORE.c.agent)
    .where(*_OF_PARTY, _BEFORE.c.agent != "")
    .order_by(_BEFORE.c.started_at.desc())
    .limit(1)
    .scalar_subquery(),
    select(func.count())
    .select_from(
        select(_BEFORE.c.id)
        .where(*_OF_PARTY, _BEFORE.c.direction == "inbound", _BEFORE.c.started_at > bindparam("since"))
        .limit(MOST_COUNTED)
        .subquery()
    )
    .scalar_subquery(),
).where(party.c.id == bindparam("party"))


async def caller_facts(
    connection: AsyncConnection, party_id: int, *, interaction_id: str, now: float
) -> dict[str, str]:
    """``tier``, ``language``, ``owner`` and ``last_agent`` (agents' slugs) as far as they are known, and ``calls_7d``:
    how often the customer called in the seven days before ``now`` (Unix seconds), this call included."""
    row = (
        await connection.execute(_FACTS, {"party": party_id, "interaction": interaction_id, "since": now - WEEK_S})
    ).first()
    if row is None:
        return {}
    tier, language, owner, last_agent, calls = row
    facts = {"tier": tier, "language": language, "owner": owner, "last_agent": last_agent, "calls_7d": str(calls + 1)}
    return {name: value for name, value in facts.items() if value}
