"""One PBX, asked with the daemon's own account, and read from its files where they lie on this machine.

What the account may do is not tried but asked: ``ListCommands`` names exactly the actions that its rights reach. The
settings of endpoints come from the dialplan functions ``PJSIP_ENDPOINT`` and ``PJSIP_AOR``, which ``reporting`` may
read. Nothing is dialled, no queue and no endpoint is changed; one global variable of our own is set and emptied.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
from panoramisk.message import Message

from crm_core.centre import Centre
from cti.asterisk import fallback_queues
from cti.asterisk.ami_client import AmiClient
from cti.asterisk.ami_protocol import parse_message
from cti.asterisk.state_read import read_version
from cti.asterisk.switch import tls_of
from cti.daemon import address_of
from cti.doctor import asterisk_files as files
from cti.doctor.findings import Finding, error, good, unseen, warning
from cti.doctor.pbx_files import prompt_files, read_files, records
from cti.errors import ActionFailed, LinkError, LoginRefused
from cti.existing_pbx import READ, WRITE, dialplans
from cti.settings import PbxSettings, RecordingsSettings, is_loopback

ANSWER_S = 8.0
CLOCK_WARNING_S = 2.0
NEEDED = {
    "call": ("Redirect", "Setvar", "Hangup", "MixMonitorMute"),
    "originate": ("Originate",),
    "agent": ("QueueAdd", "QueueRemove", "QueuePause"),
    "reporting": ("Getvar", "DBGet", "CoreShowChannels", "DeviceStateList", "ShowDialPlan"),
}
"""Rights → actions that the daemon sends and that need them."""
ALLOWED = frozenset(NEEDED)
FORBIDDEN = {
    "system": "With `system` and `originate` anybody who has this secret runs programs on the PBX.",
    "command": "With `command` anybody who has this secret types on the PBX's console.",
    "config": "With `config` anybody who has this secret rewrites the PBX's configuration and its dialplan.",
}
MODULES = {
    "QueueSummary": "app_queue",
    "QueueWithdrawCaller": "app_queue of Asterisk 16.16, 18.2 or newer",
    "MixMonitorMute": "app_mixmonitor",
    "PJSIPQualify": "res_pjsip",
    "DeviceStateList": "res_manager_devicestate",
}
"""An action that only this module brings."""
FUNCTIONS = {
    "FILTER(0-9,a1)": ("1", "func_strings"),
    "URIENCODE(a b)": ("a%20b", "func_uri"),
    "CUT(CALLFLOOR_DOCTOR,:,2)": ("2", "func_cut"),
    "IF(1?yes:no)": ("yes", "func_logic"),
    "DB_EXISTS(callfloor-doctor/none)": ("0", "func_db"),
    "DIALPLAN_EXISTS(callfloor-hold,s,1)": ("1", "func_dialplan"),
}
"""Dialplan functions, what they answer, and the module that brings them."""
GLOBALS = ("CALLFLOOR_RECORDINGS", "CALLFLOOR_MUSIC", "CALLFLOOR_FALLBACK_S")
AGENTS_CONTEXT = "callfloor-agents"
_PRIVILEGE = re.compile(r"\(Priv: ([^)]*)\)\s*$")
_TO_TRUNK = re.compile(r"@|PJSIP/\$\{EXTEN", re.IGNORECASE)


class Line:
    """A link to one PBX for as long as the doctor looks."""

    def __init__(self, client: AmiClient, events: list[bytes]) -> None:
        self.client = client
        self.events = events

    async def value(self, expression: str) -> str:
        """A global variable or what a dialplan function answers; empty for what there is none of."""
        try:
            answer = await self.client.act("Getvar", Variable=expression)
        except ActionFailed:
            return ""
        return str(answer.get("Value", ""))


@asynccontextmanager
async def line_to(pbx: PbxSettings) -> AsyncIterator[Line]:
    """Log in once. Raises ``LinkError``."""
    events: list[bytes] = []
    failed: asyncio.Future[LinkError] = asyncio.get_running_loop().create_future()

    def lost(_client: AmiClient, problem: LinkError) -> None:
        if not failed.done():
            failed.set_result(problem)

    address = address_of(pbx)
    client = AmiClient(
        host=address.host,
        port=address.port,
        username=address.username,
        secret=address.secret,
        ssl=tls_of(address),
        jitter=random.Random(),  # noqa: S311  only spreads retries
        on_events=events.extend,
        on_disconnect=lost,
    )
    try:
        ready = client.connect()
        either: list[asyncio.Future[Any]] = [ready, failed]
        await asyncio.wait(either, timeout=ANSWER_S, return_when=asyncio.FIRST_COMPLETED)
        if failed.done():
            raise failed.result()
        if not ready.done():
            raise LinkError(f"no answer within {ANSWER_S:g} s")
        yield Line(client, events)
    finally:
        client.close()
        await client.wait_closed()


async def examine(
    pbx: PbxSettings,
    centre: Centre | None,
    recordings: RecordingsSettings,
    *,
    etc: Path | None,
    wall: float,
    has_gate: bool,
) -> list[Finding]:
    """Everything about one PBX. ``etc``: the folder of its configuration files, if it is on this machine; ``wall``:
    the time of this machine, Unix seconds; ``has_gate``: browser phones come through it."""
    findings = [*_wire(pbx)]
    started = time.monotonic()
    try:
        async with line_to(pbx) as line:
            findings.append(good(f"{pbx.id}.login", f"{pbx.username} is logged in at {pbx.host}:{pbx.port}"))
            findings += await _clock(pbx, line, wall + time.monotonic() - started)
            findings += await _rights(pbx, line)
            findings += await _event_classes(pbx, line)
            findings += await _dialplan(pbx, line)
            findings += await _globals(pbx, line, recordings)
            findings += await _emergency(pbx, line)
            findings += await _modules(pbx, line)
            findings += await _prompts(pbx, line, centre)
            findings += await _websocket(pbx, line, centre, has_gate=has_gate)
            if centre is not None:
                findings += await _queues(pbx, line, centre)
                findings += await _phones(pbx, line, centre)
            findings += await _trunks(pbx, line, centre)
            findings += await _leaks(pbx, line)
    except LoginRefused:
        findings.append(
            error(
                f"{pbx.id}.login",
                f"{pbx.host}:{pbx.port} refuses {pbx.username}: wrong secret, or its deny/permit lines shut us out",
                "Without this link nobody is routed: callers go to the fall-back queue.",
                "callfloor pbx   (writes the account of a PBX on this machine, and says where it is included)",
                "asterisk -rx 'manager reload'",
            )
        )
    except (LinkError, OSError) as problem:
        findings.append(
            error(
                f"{pbx.id}.login",
                f"no manager interface at {pbx.host}:{pbx.port}: {problem}",
                "Without this link nobody is routed: callers go to the fall-back queue.",
                "manager.conf, [general]: enabled = yes, and bindaddr and port as in the start-up file",
            )
        )
    findings += await _rest_interface(pbx)
    findings += await asyncio.to_thread(lambda: [*records(pbx), *read_files(pbx, etc)])
    if etc is None or not (etc / "manager.conf").is_file():
        findings.append(await _address_rule(pbx))
    return findings


def _wire(pbx: PbxSettings) -> Iterator[Finding]:
    if is_loopback(pbx.host):
        yield good(f"{pbx.id}.wire", "the link to the PBX stays on this machine")
    elif pbx.tls:
        yield good(f"{pbx.id}.wire", "the link to the PBX is encrypted")
    else:
        yield error(
            f"{pbx.id}.wire",
            f"the link to {pbx.host} is plain text (plain_text_allowed)",
            "Whoever sees that network reads the secret and every customer's number, and can place calls.",
            "manager.conf, [general]: tlsenable = yes, tlsbindaddr = 0.0.0.0:5039, tlscertfile = …",
            f"start-up file, [[pbx]] {pbx.id}: port = 5039, tls = true",
        )


async def _clock(pbx: PbxSettings, line: Line, wall: float) -> list[Finding]:
    answer = await line.client.act("Ping")
    try:
        ahead_s = float(str(answer.get("Timestamp", ""))) - wall
    except ValueError:
        return [unseen(f"{pbx.id}.clock", "this Asterisk does not tell its time")]
    if abs(ahead_s) < CLOCK_WARNING_S:
        return [good(f"{pbx.id}.clock", "agrees with this machine's")]
    return [
        warning(
            f"{pbx.id}.clock",
            f"the PBX's clock is {abs(ahead_s):.0f} s {'ahead of' if ahead_s > 0 else 'behind'} this machine's",
            "What happened while the daemon was away is completed from the PBX's records, and its times would be off.",
            "timedatectl set-ntp true   (on both)",
        )
    ]


async def _rights(pbx: PbxSettings, line: Line) -> list[Finding]:
    answer = await line.client.act("ListCommands")
    actions = {
        str(name): frozenset(found[1].replace(" ", "").split(",")) - {"all"}
        for name, text in answer.items()
        if (found := _PRIVILEGE.search(str(text))) is not None
    }
    check = f"{pbx.id}.rights"
    # An action that none of the allowed rights reaches shows a right that is too much.
    extra = {
        right
        for classes in actions.values()
        if "<none>" not in classes and not classes & ALLOWED
        for right in (sorted(classes)[:1] if len(classes) == 1 else ())
    }
    findings = [
        error(check, f"the account has the write right `{right}`", FORBIDDEN[right], f"write = {WRITE}")
        for right in sorted(extra & FORBIDDEN.keys())
    ]
    needless = sorted(extra - FORBIDDEN.keys())
    if needless:
        why = "What is not needed can only be misused."
        seen = f"the account has the write rights {', '.join(needless)}, which nothing here needs"
        findings.append(warning(check, seen, why, f"write = {WRITE}"))
    missing = {right: sorted(set(names) - actions.keys()) for right, names in NEEDED.items()}
    for right, names in missing.items():
        if names == sorted(NEEDED[right]):
            seen = f"the account lacks the write right `{right}`"
            why = f"The daemon can't send {', '.join(names)}."
            findings.append(error(check, seen, why, f"write = {WRITE}"))
    return findings or [good(check, f"the account has {WRITE} and nothing more")]


async def _event_classes(pbx: PbxSettings, line: Line) -> list[Finding]:
    check = f"{pbx.id}.events"
    await line.client.act("Setvar", Variable="CALLFLOOR_DOCTOR", Value="1:2")
    await line.client.act("Ping")
    await asyncio.sleep(0)
    names = {str(parse_message(raw).get("Event", "")) for raw in line.events}
    findings = []
    if "FullyBooted" not in names:
        seen = "the account does not read the class `system`"
        why = "The daemon would not hear that Asterisk has started or shuts down."
        findings.append(error(check, seen, why, f"read = {READ}"))
    if "VarSet" in names:
        findings.append(
            warning(
                check,
                "every variable of every call is sent to the daemon (VarSet)",
                "Two thirds of all events, which are thrown away: at many calls the link falls behind.",
                f"read = {READ}   (without dialplan and all)",
                "eventfilter = …   (callfloor doctor --print-manager-conf)",
            )
        )
    return findings or [good(check, "only what is used is sent")]


async def _dialplan(pbx: PbxSettings, line: Line) -> list[Finding]:
    check = f"{pbx.id}.dialplan"
    ours = await asyncio.to_thread(files.read_dialplan, dialplans())
    missing, differing = [], []
    for context, wanted in ours.items():
        if not wanted:
            continue
        found = await _context(line, context)
        if found is None:
            missing.append(context)
        elif difference := files.first_difference(wanted, found):
            differing.append(f"{context}: {difference}")
    reload = "asterisk -rx 'dialplan reload'"
    findings = []
    if missing:
        findings.append(
            error(
                check,
                f"these contexts are missing: {', '.join(missing)}",
                "Callers can't be held, offered or handed to the fall-back without them.",
                *(f'#include "{path}"' for path in dialplans()),
                reload,
            )
        )
    if differing:
        findings.append(
            error(
                check,
                f"another version is loaded: {'; '.join(differing[:3])}",
                "Dialplan and daemon speak to each other: both have to be of one release.",
                f"the files of {dialplans()[0].parent} are those of this release; include them in extensions.conf",
                reload,
            )
        )
    return findings or [good(check, f"{len(ours)} contexts, as in this release")]


async def _context(line: Line, context: str) -> list[files.Priority] | None:
    try:
        listed = await line.client.read_list("ShowDialPlan", Context=context)
    except ActionFailed:
        return None
    return [
        (
            str(one.get("Extension")),
            int(str(one.get("Priority"))),
            str(one.get("Application")),
            str(one.get("AppData", "")),
        )
        for one in listed
        if str(one.get("Context")) == context and str(one.get("Priority", "")).isdigit()
    ]


def _text(message: Message, header: str) -> str:
    return str(message.get(header, ""))


async def _globals(pbx: PbxSettings, line: Line, recordings: RecordingsSettings) -> list[Finding]:
    values = {name: await line.value(name) for name in GLOBALS}
    empty = [name for name, value in values.items() if not value]
    if empty:
        return [
            error(
                f"{pbx.id}.globals",
                f"these global variables are not set: {', '.join(empty)}",
                "The dialplan does not know where recordings go, what callers hear, or when the fall-back ends.",
                "extensions.conf, [globals]: callfloor doctor --print-manager-conf shows them",
            )
        ]
    findings = [good(f"{pbx.id}.globals", "the dialplan's variables are set")]
    folder = values["CALLFLOOR_RECORDINGS"]
    if is_loopback(pbx.host) and not await asyncio.to_thread(_is_same, folder, recordings.folder):
        findings.append(
            error(
                f"{pbx.id}.recordings",
                f"the PBX writes recordings to {folder}, the daemon looks in {recordings.folder}",
                "No recording would ever be found.",
                f"extensions.conf, [globals]: CALLFLOOR_RECORDINGS = {recordings.folder}",
            )
        )
    return findings


async def _emergency(pbx: PbxSettings, line: Line) -> list[Finding]:
    check = f"{pbx.id}.emergency"
    numbers = await line.value("CALLFLOOR_EMERGENCY")
    trunks = [name for name in (await line.value("CALLFLOOR_EMERGENCY_TRUNK")).split("&") if name]
    unknown = [name for name in trunks if not (await _endpoint(line, name))["context"]]
    if not numbers or not trunks or unknown:
        seen = "CALLFLOOR_EMERGENCY is empty" if not numbers else "CALLFLOOR_EMERGENCY_TRUNK is empty"
        if unknown:
            seen = f"CALLFLOOR_EMERGENCY_TRUNK names {', '.join(unknown)}, which PJSIP does not know"
        return [
            error(
                check,
                seen,
                "Somebody at an agent's phone who dials for help reaches nobody.",
                "extensions.conf, [globals]: CALLFLOOR_EMERGENCY = 110,112   (the numbers of your country)",
                "extensions.conf, [globals]: CALLFLOOR_EMERGENCY_TRUNK = endpoint&second-endpoint",
            )
        ]
    if not await line.value("CALLFLOOR_EMERGENCY_CALLERID"):
        return [
            warning(
                check,
                "CALLFLOOR_EMERGENCY_CALLERID is empty",
                "Who answers an emergency call could not call back.",
                "extensions.conf, [globals]: CALLFLOOR_EMERGENCY_CALLERID = a number that rings at your place",
            )
        ]
    return [good(check, f"{numbers} go out through {', '.join(trunks)}, daemon or not")]


def _is_same(folder: str, other: Path) -> bool:
    return Path(folder).resolve() == other.resolve()


async def _modules(pbx: PbxSettings, line: Line) -> list[Finding]:
    answer = await line.client.act("ListCommands")
    known = set(answer)
    missing = {module for action, module in MODULES.items() if action not in known}
    for expression, (expected, module) in FUNCTIONS.items():
        if await line.value(expression) != expected:
            missing.add(module)
    await line.client.act("Setvar", Variable="CALLFLOOR_DOCTOR", Value="")
    if missing:
        return [
            error(
                f"{pbx.id}.modules",
                f"missing on the PBX: {', '.join(sorted(missing))}",
                "The dialplan calls them: callers would be cut off where they are missing.",
                *(f"asterisk -rx 'module load {one.split()[0]}.so'" for one in sorted(missing)),
            )
        ]
    return [
        good(f"{pbx.id}.modules", "queue, recorder, PJSIP and the dialplan's functions are there"),
        unseen(
            f"{pbx.id}.codecs",
            "which codecs can be converted is not told to this account",
            "asterisk -rx 'core show translation'   wants alaw and ulaw, and opus for browsers at home",
        ),
    ]


async def _prompts(pbx: PbxSettings, line: Line, centre: Centre | None) -> list[Finding]:
    """What callers are told: nobody is recorded without it."""
    check = f"{pbx.id}.prompts"
    folder = await line.value("CALLFLOOR_PROMPTS")
    recorded = [one.slug for one in centre.queues if one.is_active and one.recording != "off"] if centre else []
    why = "Callers who can't be told or asked are not recorded, and hear neither their place in line nor any offer."
    if recorded:
        why += f" To be recorded: {', '.join(recorded)}."
    make = ("apt-get install espeak-ng; callfloor pbx   (or: python -m cti.asterisk.prompts FOLDER)",)
    set_it = "extensions.conf, [globals]: CALLFLOOR_PROMPTS = the folder of the announcements"
    told = error if recorded else warning
    if not folder:
        return [told(check, "CALLFLOOR_PROMPTS is empty", why, *make, set_it)]
    if not is_loopback(pbx.host):
        return [unseen(check, f"the announcements are on another machine: {folder}", f"ls {folder} there")]
    missing, closed = await asyncio.to_thread(prompt_files, Path(folder))
    if missing:
        some = ", ".join(missing[:3]) + (" …" if len(missing) > 3 else "")
        return [told(check, f"{folder} lacks {len(missing)} announcements: {some}", why, *make)]
    if closed is not None:
        return [told(check, f"Asterisk can't read {closed}", why, f"chmod -R a+rX {folder}")]
    return [good(check, f"all announcements are in {folder}")]


async def _websocket(pbx: PbxSettings, line: Line, centre: Centre | None, *, has_gate: bool) -> list[Finding]:
    """What stands between browser phones and PJSIP."""
    if centre is None or not any(one.phone_kind == "browser" and one.pbx == pbx.id for one in centre.agents):
        return []
    findings = []
    check = f"{pbx.id}.browser-phones"
    version = await read_version(line.client)
    if not has_gate and _drops_neighbours(version):
        findings.append(
            warning(
                check,
                f"Asterisk {version}: one browser phone that goes takes away all that come from its address",
                "In an office behind one router, or with two pages on one machine, nobody's phone would ring any more.",
                "[gate] in the start-up file: through it every phone has an address of its own (docs/gate.md)",
                "or Asterisk 16.30, 18.16, 20.1 or newer",
            )
        )
    if "SIPpeers" in await line.client.act("ListCommands"):
        findings.append(
            error(
                check,
                "chan_sip is loaded and takes the browsers' WebSocket for itself",
                "Browser phones never reach PJSIP and can't register.",
                "modules.conf, [modules]: noload = chan_sip.so",
            )
        )
    return findings


def _drops_neighbours(version: str) -> bool:
    """Whether this Asterisk takes contacts of one address for one transport (mended in 16.30, 18.16 and 20.1)."""
    found = re.match(r"(\d+)\.(\d+)", version)
    if found is None:
        return False
    major, minor = int(found[1]), int(found[2])
    return major < 21 and minor < {16: 30, 18: 16, 20: 1}.get(major, 1000)


async def _queues(pbx: PbxSettings, line: Line, centre: Centre) -> list[Finding]:
    # A queue without phones of this PBX gives way to the default one, whose agents are better than none.
    staffed = {queue for agent in centre.agents if agent.is_active and agent.pbx == pbx.id for queue in agent.queues}
    wanted = {f"callfloor-{one.slug}" for one in centre.queues if one.is_active and one.slug in staffed}
    if not wanted:
        return [unseen(f"{pbx.id}.fallback", "no queue has agents here yet", "the pages of the administrator")]
    try:
        found = {str(one.get("Queue")) for one in await line.client.read_list("QueueSummary")}
    except ActionFailed:
        found = set()
    missing = sorted(wanted - found)
    change: tuple[str, ...]
    if pbx.queues_file is not None:
        change = (
            f'queues.conf: #tryinclude "{pbx.queues_file}"',
            "the running daemon writes the queue there and has it read within a minute",
        )
    else:
        lines = "\n".join(fallback_queues.section(name) for name in missing).splitlines()
        change = ("queues.conf:", *lines, "asterisk -rx 'queue reload all'")
    if missing:
        return [
            error(
                f"{pbx.id}.fallback",
                f"these fall-back queues are missing: {', '.join(missing)}",
                "With the daemon away their callers reach agents of another queue, or nobody.",
                *change,
            )
        ]
    return [good(f"{pbx.id}.fallback", f"{len(wanted)} fall-back queues are there")]


async def _phones(pbx: PbxSettings, line: Line, centre: Centre) -> list[Finding]:
    agents = [agent for agent in centre.agents if agent.is_active and agent.pbx == pbx.id]
    findings: list[Finding] = []
    absent = []
    for agent in agents:
        settings = await _endpoint(line, agent.endpoint)
        if not settings["context"]:
            absent.append(agent.endpoint)
            continue
        findings += await _phone(pbx, line, agent.endpoint, settings, is_browser=agent.phone_kind == "browser")
    if absent:
        findings.append(
            unseen(
                f"{pbx.id}.phones",
                f"no endpoint now: {', '.join(sorted(absent))}",
                "right for browser phones whose agent is not logged in; a desk phone needs its section in pjsip.conf",
            )
        )
    if not agents:
        return [unseen(f"{pbx.id}.phones", "no agent of this PBX is configured yet", "the pages of the administrator")]
    if not findings:
        findings.append(good(f"{pbx.id}.phones", f"{len(agents)} agents' phones are set up well"))
    return findings


SETTINGS = ("context", "allow_transfer", "direct_media", "rtp_timeout", "webrtc", "aors", "allow", "trust_id_inbound")


async def _endpoint(line: Line, name: str) -> Mapping[str, str]:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,60}", name):
        return dict.fromkeys(SETTINGS, "")
    return {key: await line.value(f"PJSIP_ENDPOINT({name},{key})") for key in SETTINGS}


async def _phone(
    pbx: PbxSettings, line: Line, name: str, settings: Mapping[str, str], *, is_browser: bool
) -> list[Finding]:
    check = f"{pbx.id}.phone.{name}"
    findings = []
    if settings["context"] != AGENTS_CONTEXT:
        if await _leads_outside(line, settings["context"]):
            findings.append(
                error(
                    check,
                    f"its context {settings['context']} leads to a trunk",
                    "Whoever steals this phone's password calls the world at your expense.",
                    f"pjsip.conf, [{name}]: context = {AGENTS_CONTEXT}",
                )
            )
        else:
            findings.append(
                warning(
                    check,
                    f"its context is {settings['context']}, not {AGENTS_CONTEXT}",
                    "Transfers and feature codes of agents work in ours; make sure yours has no way to a trunk.",
                    f"pjsip.conf, [{name}]: context = {AGENTS_CONTEXT}",
                )
            )
    contacts = await line.value(f"PJSIP_AOR({settings['aors'].split(',')[0]},max_contacts)") if settings["aors"] else ""
    if contacts not in ("", "1"):
        findings.append(
            error(
                check,
                f"{contacts} phones may register under one name",
                "A stolen password would ring along unseen.",
                f"pjsip.conf, [{name}] type=aor: max_contacts = 1, remove_existing = yes",
            )
        )
    if settings["direct_media"] not in ("", "false", "no"):
        findings.append(
            error(
                check,
                "its sound goes past the PBX (direct_media)",
                "Recordings would be silent, and holding and moving calls would lose the sound.",
                f"pjsip.conf, [{name}]: direct_media = no",
            )
        )
    if settings["rtp_timeout"] in ("", "0"):
        findings.append(
            warning(
                check,
                "a silent phone is never given up (rtp_timeout)",
                "A customer whose agent's browser crashed would hear nothing, for ever.",
                f"pjsip.conf, [{name}]: rtp_timeout = 5",
            )
        )
    if is_browser and settings["webrtc"] not in ("yes", "true"):
        findings.append(
            error(
                check,
                "it is an agent's browser phone and not set up for browsers",
                "A browser can't register or has no sound.",
                f"pjsip.conf, [{name}]: webrtc = yes, dtls_auto_generate_cert = yes, transport = the ws one",
            )
        )
    if not re.search(r"alaw|ulaw|opus", settings["allow"]):
        findings.append(
            error(
                check,
                f"it speaks only {settings['allow'].strip('()') or 'nothing'}",
                "Browsers speak alaw, ulaw and opus.",
                f"pjsip.conf, [{name}]: disallow = all, allow = alaw,ulaw,opus",
            )
        )
    return findings


async def _leads_outside(line: Line, context: str) -> bool:
    found = await _context(line, context) or []
    return any(name.lower() == "dial" and _TO_TRUNK.search(data) for _exten, _number, name, data in found)


async def _trunks(pbx: PbxSettings, line: Line, centre: Centre | None) -> list[Finding]:
    agents = {agent.endpoint for agent in centre.agents} if centre is not None else set()
    try:
        devices = [str(one.get("Device", "")) for one in await line.client.read_list("DeviceStateList")]
    except ActionFailed:
        devices = []
    names = sorted({device.removeprefix("PJSIP/") for device in devices if device.startswith("PJSIP/")} - agents)
    findings: list[Finding] = []
    trunks = []
    for name in names:
        settings = await _endpoint(line, name)
        if settings["context"] in ("", AGENTS_CONTEXT):
            continue
        trunks.append(name)
        if settings["allow_transfer"] not in ("false", "no"):
            findings.append(
                error(
                    f"{pbx.id}.trunk.{name}",
                    "the other side may transfer (allow_transfer)",
                    "A caller can make your PBX call any number at your expense.",
                    f"pjsip.conf, [{name}]: allow_transfer = no",
                )
            )
        if settings["direct_media"] not in ("false", "no"):
            findings.append(
                error(
                    f"{pbx.id}.trunk.{name}",
                    "its sound may go past the PBX (direct_media)",
                    "Recordings would be silent, and holding and moving calls would lose the sound.",
                    f"pjsip.conf, [{name}]: direct_media = no",
                )
            )
    if not trunks:
        return [unseen(f"{pbx.id}.trunks", "no trunk is known to PJSIP", "pjsip.conf: allow_transfer = no on each")]
    return findings or [good(f"{pbx.id}.trunks", f"{', '.join(trunks)}: the other side can't make the PBX dial")]


async def _leaks(pbx: PbxSettings, line: Line) -> list[Finding]:
    if await line.value("AST_CONFIG(manager.conf,general,enabled)") or await line.value(
        "AST_CONFIG(asterisk.conf,options,verbose)"
    ):
        return [
            warning(
                f"{pbx.id}.leaks",
                "the function AST_CONFIG is loaded (func_config)",
                "Every manager account that may read a variable can read every secret in the PBX's files with it.",
                "modules.conf: noload = func_config.so",
            )
        ]
    return [good(f"{pbx.id}.leaks", "the PBX's files can't be read through the manager")]


async def _rest_interface(pbx: PbxSettings) -> list[Finding]:
    """ARI makes the passwords of browser phones at each log-in; without it they stay the same."""
    check = f"{pbx.id}.ari"
    if not pbx.ari_url:
        if not pbx.sip_ws_url:
            return []
        return [
            warning(
                check,
                "ari_url is empty: the passwords of browser phones are those of a file",
                "A password that was copied from a browser works until somebody changes the file.",
                "ari.conf: enabled = yes, and a user of its own; http.conf: bindaddr = 127.0.0.1",
                f'start-up file, [[pbx]] {pbx.id}: ari_url = "http://127.0.0.1:8088/ari", ari_secret = …',
            )
        ]
    login = {"Authorization": aiohttp.encode_basic_auth(pbx.ari_username, pbx.ari_secret.get_secret_value())}
    address = f"{pbx.ari_url.rstrip('/')}/asterisk/info?only=system"
    timeout = aiohttp.ClientTimeout(total=ANSWER_S)
    try:
        async with aiohttp.ClientSession(timeout=timeout, headers=login) as http, http.get(address) as answer:
            status = answer.status
    except (aiohttp.ClientError, OSError, TimeoutError) as problem:
        status, said = 0, type(problem).__name__
    else:
        said = f"it answers {status}"
    if status == HTTPStatus.OK:
        return [good(check, "makes the passwords of browser phones")]
    return [
        error(
            check,
            f"{pbx.ari_url} can't be used: {said}",
            "Browser phones get no password at log-in and can't ring.",
            f"ari.conf: enabled = yes, [{pbx.ari_username}] type = user, read_only = no, password = ari_secret",
            "http.conf: enabled = yes; modules.conf: res_ari.so, res_ari_asterisk.so",
        )
    ]


async def _address_rule(pbx: PbxSettings) -> Finding:
    """A log-in from another address of this machine: refused, there is a rule; taken, it can't be told."""
    check = f"{pbx.id}.addresses"
    look = f"manager.conf, [{pbx.username}]: deny = 0.0.0.0/0.0.0.0 and permit = this machine's address"
    if pbx.host == "127.0.0.1":
        try:
            async with asyncio.timeout(ANSWER_S):
                is_let_in = await _logs_in_from("127.0.0.2", pbx)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return unseen(check, "whether the account is for listed addresses only can't be seen", look)
        if not is_let_in:
            return good(check, "a log-in from another address is refused")
        return warning(
            check,
            "a log-in from 127.0.0.2 is taken, too: the account may have no deny and permit lines",
            "A secret that leaks would open the PBX to the whole network.",
            look,
        )
    return unseen(check, "whether the account is for listed addresses only can't be seen", look)


async def _logs_in_from(address: str, pbx: PbxSettings) -> bool:
    reader, writer = await asyncio.open_connection(pbx.host, pbx.port, local_addr=(address, 0))
    try:
        secret = pbx.secret.get_secret_value()
        writer.write(f"Action: Login\r\nUsername: {pbx.username}\r\nSecret: {secret}\r\nEvents: off\r\n\r\n".encode())
        answer: Any = await reader.readuntil(b"\r\n\r\n")
        return b"Response: Success" in answer
    finally:
        writer.close()
