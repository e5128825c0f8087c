"""The page where an administrator says how calls are recorded: a policy for each queue, and rules for the callers of
countries and regions. Every change is written to the audit and holds at once, in the dialplan too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crm_core import audit, centre
from web import schemas
from web.site import redirect

if TYPE_CHECKING:
    from aiohttp import web
    from sqlalchemy.ext.asyncio import AsyncConnection

    from web.asking import Ask

PAGE = "/settings/recording"


async def show(ask: Ask) -> web.StreamResponse:
    """The page."""
    return await ask.page(
        "recording_policy.html", settings=await get(ask), policies=centre.RECORDING_POLICIES, unknown="unknown"
    )


async def get(ask: Ask) -> schemas.RecordingSettings:
    """Policies and rules as stored."""
    async with ask.services.database.read() as connection:
        stored = await centre.load_centre(connection)
    return schemas.RecordingSettings(
        queues=[
            schemas.QueueRecording(
                id=one.slug, name=one.name, recording=one.recording, keeps_objected=one.keeps_objected
            )
            for one in stored.queues
            if one.is_active
        ],
        rules=[
            schemas.RecordingRule(digits=one.digits, policy=one.policy, citation=one.citation)
            for one in stored.jurisdictions
        ],
    )


async def set_queue(ask: Ask, *, body: schemas.QueueRecordingBody) -> schemas.RecordingSettings:
    """How a queue is recorded."""
    await _set_queue(ask, ask.queue, body.recording, keeps_objected=body.keeps_objected)
    return await get(ask)


async def set_rule(ask: Ask, *, body: schemas.RecordingRuleBody) -> schemas.RecordingSettings:
    """A rule for callers whose numbers begin with these digits, new or changed."""
    await _set_rule(ask, ask.digits, body.policy, body.citation)
    return await get(ask)


async def remove_rule(ask: Ask) -> schemas.RecordingSettings:
    """These callers have no rule of their own any more."""
    await _remove_rule(ask, ask.digits)
    return await get(ask)


async def queue_form(ask: Ask, *, body: schemas.QueueRecordingForm) -> web.StreamResponse:
    """One queue's line of the page."""
    await _set_queue(ask, body.queue, body.recording, keeps_objected=body.keeps_objected == "yes")
    return redirect(f"{PAGE}#queue-{body.queue}")


async def rule_form(ask: Ask, *, body: schemas.RecordingRuleForm) -> web.StreamResponse:
    """The page's form for a rule."""
    digits = body.digits.strip().removeprefix("+").removeprefix("00").replace(" ", "")
    await _set_rule(ask, "unknown" if body.is_unknown == "yes" else digits, body.policy, body.citation)
    return redirect(f"{PAGE}#rules")


async def rule_removal_form(ask: Ask, *, body: schemas.RecordingRuleRemovalForm) -> web.StreamResponse:
    """The page's button that takes a rule away."""
    await _remove_rule(ask, body.digits)
    return redirect(f"{PAGE}#rules")


async def _set_queue(ask: Ask, queue: str, recording: str, *, keeps_objected: bool) -> None:
    async with ask.services.database.begin() as connection:
        was = next((one for one in (await centre.load_centre(connection)).queues if one.slug == queue), None)
        await centre.set_recording(connection, queue, recording=recording, keeps_objected=keeps_objected)
        if was is not None:
            detail: dict[str, tuple[object, object]] = {
                "recording": (was.recording, recording),
                "keeps_objected": (was.keeps_objected, keeps_objected),
            }
            changed = {field: list(pair) for field, pair in detail.items() if pair[0] != pair[1]}
            if changed:
                await _note(ask, connection, "change", "queue", queue, changed)
    await ask.services.settings.configured()


async def _set_rule(ask: Ask, digits: str, policy: str, citation: str) -> None:
    async with ask.services.database.begin() as connection:
        rules = (await centre.load_centre(connection)).jurisdictions
        was = next((one for one in rules if one.digits == digits), None)
        await centre.put_jurisdiction(connection, centre.Jurisdiction(digits=digits, policy=policy, citation=citation))
        detail = {
            "policy": [was.policy if was is not None else None, policy],
            "citation": [was.citation if was is not None else None, citation.strip()],
        }
        await _note(ask, connection, "change", "jurisdiction", digits, detail)
    await ask.services.settings.configured()


async def _remove_rule(ask: Ask, digits: str) -> None:
    async with ask.services.database.begin() as connection:
        if await centre.remove_jurisdiction(connection, digits):
            await _note(ask, connection, "remove", "jurisdiction", digits, {})
    await ask.services.settings.configured()


async def _note(
    ask: Ask, connection: AsyncConnection, action: str, kind: str, key: str, detail: dict[str, Any]
) -> None:
    await audit.write(
        connection,
        at=ask.now,
        user=ask.user.username,
        role=ask.user.role,
        action=action,
        object=kind,
        object_id=key,
        detail=detail,
        ip=ask.address,
        session=ask.user.id,
    )
