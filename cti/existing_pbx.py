"""What an existing PBX needs: the manager account, the dialplan, the fall-back queues, each as a file to include."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from cti.asterisk import fallback_queues
from cti.asterisk.local_pbx import CEL_COLUMNS, DIALPLAN_SETTINGS, DIALPLANS, TEMPLATES
from cti.settings import PbxSettings, RecordingsSettings, is_loopback

READ = "system,call,user,agent,reporting"
WRITE = "call,originate,agent,reporting"
FILTERED = (
    "RTCP|VarSet|Newexten|TestEvent|HangupRequest|SoftHangupRequest|MusicOnHold|NewConnectedLine|BridgeCreate|"
    "BridgeDestroy|DialState|PeerStatus|QueueMemberStatus|ExtensionStatus|PresenceStatus|MessageWaiting"
)
"""Events that the daemon would only throw away."""
CEL_EVENTS = "CHAN_START,CHAN_END,ANSWER,HANGUP,BRIDGE_ENTER,BRIDGE_EXIT,BLINDTRANSFER,ATTENDEDTRANSFER,LINKEDID_END"
"""Without these a call that nobody watched can't be told whole."""
CEL_MORE_EVENTS = "APP_START,APP_END,PICKUP,FORWARD,LOCAL_OPTIMIZE,USER_DEFINED"

BY_HAND = {
    "manager.conf": ("[general]", "enabled = yes", "bindaddr = 127.0.0.1", "webenabled = no"),
    "http.conf": ("[general]", "enabled = yes", "bindaddr = 127.0.0.1"),
    "ari.conf": ("[general]", "enabled = yes"),
    "asterisk.conf": ("[options]", "live_dangerously = no"),
    "modules.conf": ("[modules]", "noload = chan_sip.so", "noload = func_config.so"),
}
"""Settings that open a door, or may be needed otherwise by somebody else: to be set by a person."""
WHERE_CALLS_COME_IN = (
    "; in the context of the trunk (or instead of it, in pjsip.conf: context = callfloor-trunk)",
    "exten = _X.,1,Set(CF_DNIS=${FILTER(0-9+,${EXTEN})})",
    " same = n,Goto(callfloor-inbound,s,1)",
)


def dialplans() -> list[Path]:
    """The files to include. An installed release is named by the link to it, so that an upgrade changes them."""
    release = DIALPLANS.parents[1]
    current = release.parent.parent / "current"
    is_installed = current.is_symlink() and current.resolve() == release
    return sorted((current / "program" / "dialplans" if is_installed else DIALPLANS).glob("*.conf"))


def manager_account(pbx: PbxSettings, *, from_address: str = "127.0.0.1") -> list[str]:
    """The lines of ``manager.conf`` for this PBX's account, with its secret."""
    return [
        f"[{pbx.username}]",
        f"secret = {pbx.secret.get_secret_value()}",
        "deny = 0.0.0.0/0.0.0.0",
        f"permit = {from_address}/255.255.255.255",
        f"read = {READ}",
        f"write = {WRITE}",
        "writetimeout = 10000",
        f"eventfilter = !^Event: ({FILTERED})",
    ]


def parts(
    pbx: PbxSettings,
    recordings: RecordingsSettings,
    *,
    dialplan: Mapping[str, str],
    prompts: Path | None = None,
    queues: Iterable[str] = (),
) -> dict[str, str]:
    """File of Asterisk's → what it is to include. ``dialplan``: global variables that the site has set; ``prompts``:
    the folder of the announcements; ``queues``: slugs, where the daemon does not write ``queues_file`` itself."""
    here = "127.0.0.1" if is_loopback(pbx.host) else "ADDRESS-OF-CALLFLOOR"
    told = {
        "CALLFLOOR_RECORDINGS": str(recordings.folder),
        "CALLFLOOR_PROMPTS": str(prompts or "FOLDER-OF-THE-ANNOUNCEMENTS"),
        "CALLFLOOR_FALLBACK_S": "300",
        **DIALPLAN_SETTINGS,
        **dialplan,
    }
    extensions = [
        "[globals]",
        *(f"{name} = {value}" for name, value in told.items()),
        *(() if "CALLFLOOR_EMERGENCY_TRUNK" in told else ("; CALLFLOOR_EMERGENCY_TRUNK = endpoint-of-the-trunk",)),
        *(() if "CALLFLOOR_EMERGENCY_CALLERID" in told else ("; CALLFLOOR_EMERGENCY_CALLERID = number-that-rings",)),
        "",
        *(f'#include "{path}"' for path in dialplans()),
    ]
    sections = [fallback_queues.section(f"callfloor-{queue}") for queue in queues]
    if pbx.queues_file is not None:
        sections = [f'#tryinclude "{pbx.queues_file}"\n']
    found = {
        "manager.conf": "\n".join(manager_account(pbx, from_address=here)) + "\n",
        "extensions.conf": "\n".join(extensions) + "\n",
        "queues.conf": "\n".join(("[general]\npersistentmembers = yes\n", *sections)),
        "cel.conf": f"[general]\nenable = yes\napps = dial,queue\nevents = {CEL_EVENTS},{CEL_MORE_EVENTS}\n",
        "cel_custom.conf": f"[mappings]\ncallfloor.csv => {_cel_line()}\n",
    }
    if pbx.ari_url:
        secret = pbx.ari_secret.get_secret_value()
        found["ari.conf"] = f"[{pbx.ari_username}]\ntype = user\nread_only = no\npassword = {secret}\n"
        found["sorcery.conf"] = (TEMPLATES / "sorcery.conf.j2").read_text(encoding="utf-8")
    return found


def _cel_line() -> str:
    return ",".join(f"${{CSV_QUOTE({column})}}" for column in CEL_COLUMNS.values())


def printed(
    pbx: PbxSettings, recordings: RecordingsSettings, *, prompts: Path | None, queues: Iterable[str] = ()
) -> str:
    """Everything to paste, with a word on where it goes."""
    lines = []
    for name, text in parts(pbx, recordings, dialplan={}, prompts=prompts, queues=queues).items():
        lines += [f"; --- {name} on {pbx.id} ({pbx.host})", text]
    lines.append("; --- by hand, where it is not so yet")
    for name, wanted in BY_HAND.items():
        lines += [f";  {name}, {wanted[0]}: {'; '.join(wanted[1:])}"]
    if not is_loopback(pbx.host):
        lines.append(";  manager.conf, [general]: not bindaddr but TLS: tlsenable, tlsbindaddr, tlscertfile")
    lines += ["", "; --- extensions.conf, where calls come in:", *(f"; {line}" for line in WHERE_CALLS_COME_IN)]
    lines += ["", "; then: asterisk -rx 'core reload'"]
    return "\n".join(lines)
