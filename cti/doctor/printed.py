"""What an existing PBX needs, ready to be pasted: the manager account and the lines of the dialplan."""

from __future__ import annotations

from pathlib import Path

from cti.asterisk.local_pbx import DIALPLAN_SETTINGS, DIALPLANS
from cti.settings import PbxSettings, RecordingsSettings, is_loopback

READ = "system,call,user,agent,reporting"
WRITE = "call,originate,agent,reporting"
FILTERED = (
    "RTCP|VarSet|Newexten|TestEvent|HangupRequest|SoftHangupRequest|MusicOnHold|NewConnectedLine|BridgeCreate|"
    "BridgeDestroy|DialState|PeerStatus|QueueMemberStatus|ExtensionStatus|PresenceStatus|MessageWaiting"
)
"""Events that the daemon would only throw away."""


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


def existing_pbx(pbx: PbxSettings, recordings: RecordingsSettings) -> str:
    """Everything to paste, with a word on where it goes."""
    here = "127.0.0.1" if is_loopback(pbx.host) else "ADDRESS-OF-CALLFLOOR"
    lines = [
        f"; --- manager.conf on {pbx.id} ({pbx.host}): then `asterisk -rx 'manager reload'`",
        "; In [general]: enabled = yes, webenabled = no, and bindaddr = 127.0.0.1, or TLS (tlsenable, tlsbindaddr).",
        *manager_account(pbx, from_address=here),
        "",
        "; --- extensions.conf: then `asterisk -rx 'dialplan reload'`",
        "[globals]",
        f"CALLFLOOR_RECORDINGS = {recordings.folder}",
        "CALLFLOOR_FALLBACK_S = 300",
        *(f"{name} = {value}" for name, value in DIALPLAN_SETTINGS.items()),
        "CALLFLOOR_EMERGENCY_TRUNK = endpoint-of-the-trunk",
        "CALLFLOOR_EMERGENCY_CALLERID = number-that-can-be-called-back",
        "CALLFLOOR_QUEUE = slug-of-the-queue-for-every-other-number",
        "; one line for each number:  CALLFLOOR_QUEUE_4930111 = slug-of-the-queue",
        "",
        *(f'#include "{path}"' for path in dialplans()),
        "",
        "; --- where calls come in, in the context of the trunk (or instead of it: context = callfloor-trunk):",
        "; exten = _X.,1,Set(CF_DNIS=${FILTER(0-9+,${EXTEN})})",
        ";  same = n,Goto(callfloor-inbound,s,1)",
        "",
        "; --- queues.conf: one for each queue, while the daemon is away; [general] persistentmembers = yes",
        "; [callfloor-slug-of-the-queue]",
        "; strategy = leastrecent",
        "; ringinuse = no",
        "",
        "; --- cel.conf: [general] enable = yes, apps = dial,queue, events = as in config/asterisk/cel.conf.j2",
    ]
    return "\n".join(lines)
