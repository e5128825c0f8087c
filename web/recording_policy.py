"""The page where an administrator says how calls are recorded: a policy for each queue, and rules for the callers of
countries and regions. Every change is kept in the history and the audit and holds at once, in the dialplan too."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from crm_core import centre, configuring
from cti.plans import faults
from web import schemas
from web.configuration import by
from web.problems import not_found
from web.site import redirect

if TYPE_CHECKING:
    from aiohttp import web

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
        if was is None:
            raise not_found()
        wanted = replace(was, recording=recording, keeps_objected=keeps_objected)
        await configuring.change(connection, by(ask), wanted, checker=faults)
    await ask.services.settings.configured()


async def _set_rule(ask: Ask, digits: str, policy: str, citation: str) -> None:
    rule = centre.Jurisdiction(digits=digits, policy=policy, citation=citation)
    async with ask.services.database.begin() as connection:
        await configuring.change(connection, by(ask), rule, checker=faults)
    await ask.services.settings.configured()


async def _remove_rule(ask: Ask, digits: str) -> None:
    async with ask.services.database.begin() as connection:
        if any(one.digits == digits for one in (await centre.load_centre(connection)).jurisdictions):
            await configuring.remove(connection, by(ask), "jurisdiction", digits, checker=faults)
    await ask.services.settings.configured()
