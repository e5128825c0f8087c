"""All that the doctor looks at, in the order in which a caller meets it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from cti import settings
from cti.doctor import machine, pbx, wires
from cti.doctor.findings import Finding, error, good, unseen
from cti.errors import SettingsError
from cti.settings import Settings, is_loopback

ETC = Path("/etc/asterisk")


async def examine(config: Path | None, *, now: float, asterisk_etc: Path | None = None) -> list[Finding]:
    """Every finding about the installation whose start-up file this is. ``now``: Unix seconds; ``asterisk_etc``: where
    a PBX on this machine keeps its configuration."""
    try:
        loaded = settings.load(config)
    except SettingsError as problem:
        why = "Nothing starts with a setting that is wrong or unknown."
        return [error("settings", str(problem), why, f"correct it in {config}")]
    findings = [good("settings", f"{config} is understood, with nothing unknown in it")]
    findings += await asyncio.to_thread(machine.machine, loaded, config, now=now)
    told, stored = await machine.database_is_right(loaded)
    findings += told
    findings.append(await wires.daemon_runs(loaded))
    findings += await _pbxs(loaded, stored, asterisk_etc, now)
    findings += [finding async for finding in wires.gate_is_right(loaded, now=wires.utc(now))]
    findings += [finding async for finding in wires.media_servers(loaded)]
    return findings


async def _pbxs(loaded: Settings, stored: machine.Stored, etc: Path | None, now: float) -> list[Finding]:
    if loaded.is_simulated:
        return [unseen("pbx", "is_simulated is on: the built-in simulated PBX, nobody can be heard")]
    if not loaded.pbx:
        why = "Without a PBX there are no calls."
        return [error("pbx", "no PBX is set", why, "in the start-up file: [[pbx]] with id, host, username, secret")]
    findings: list[Finding] = []
    for one in loaded.pbx:
        folder = (etc or ETC) if is_loopback(one.host) else None
        is_there = folder is not None and folder.is_dir()
        findings += await pbx.examine(
            one,
            stored.centre,
            loaded.recordings,
            etc=folder if is_there else None,
            wall=now,
            has_gate=bool(loaded.gate.origin),
        )
    return findings
