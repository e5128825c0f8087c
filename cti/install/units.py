"""The files of other programs: systemd's units and logrotate's rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cti.install.places import MEDIA_GROUP, PBX_USER, USER

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cti.install.places import Places

DAEMON = "callfloor.service"
GATE = "callfloor-gate.service"
PBX_AGENT = "callfloor-pbx-agent.service"
PBX = "asterisk.service"

_AGAIN = """\
Restart=always
RestartSec=1
RuntimeDirectory=%N
RuntimeDirectoryPreserve=restart
ExecStartPre=-{places.current}/bin/pause begin
ExecStopPost=-{places.current}/bin/pause
"""
"""Comes back whatever happened, for ever, and more slowly the more often it falls (``release.PAUSE``): systemd's own
``RestartSteps`` came with 254, and never forgets a fall."""

_HARDENED = """\
LimitCORE=0
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectProc=invisible
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
"""


def unit_files(places: Places, *, has_pbx: bool) -> dict[str, str]:
    """File name → text of every unit. ``has_pbx``: Asterisk runs on this machine, and its own records of calls are
    read where it writes them."""
    run = f"{places.current}/bin/callfloor"
    again = _AGAIN.format(places=places)
    known = f"Environment=CALLFLOOR_CONFIG={places.config}\nEnvironment=PYTHONUNBUFFERED=1\n"
    return {
        DAEMON: f"""\
[Unit]
Description=Callfloor: routing, screen-pop and pages of the call centre
Documentation=file:{places.current}/program/docs/install.md
After=network-online.target postgresql.service asterisk.service
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
Type=exec
User={USER}
Group={USER}
SupplementaryGroups={MEDIA_GROUP}{f" {PBX_USER}" if has_pbx else ""}
{known}ExecStart={run} serve
KillSignal=SIGTERM
TimeoutStopSec=20
{again}UMask=0027
LimitNOFILE=65536
ReadWritePaths={places.data}
CapabilityBoundingSet=
{_HARDENED}
[Install]
WantedBy=multi-user.target
""",
        # No PartOf, no Requires: browser phones keep working while the daemon is away.
        GATE: f"""\
[Unit]
Description=Callfloor's gate: the one HTTPS port of pages, sockets and browser phones
Documentation=file:{places.current}/program/docs/install.md
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
Type=exec
User={USER}
Group={USER}
{known}ExecStart={run} gate
KillSignal=SIGTERM
TimeoutStopSec=20
{again}UMask=0027
LimitNOFILE=65536
ReadWritePaths={places.data}
AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
{_HARDENED}
[Install]
WantedBy=multi-user.target
""",
        # On the PBX, where it shares no disk with the daemon: reads what Asterisk writes, and nothing else.
        PBX_AGENT: f"""\
[Unit]
Description=Callfloor's eye on a PBX that shares no disk with the daemon
Documentation=file:{places.current}/program/docs/install.md
After=network-online.target asterisk.service
Wants=network-online.target
ConditionPathExists={places.agent_config}
StartLimitIntervalSec=0

[Service]
Type=exec
User={USER}
Group={USER}
SupplementaryGroups={MEDIA_GROUP} {PBX_USER}
Environment=PYTHONUNBUFFERED=1
ExecStart={run} pbx-agent --config {places.agent_config}
KillSignal=SIGTERM
TimeoutStopSec=20
{again}UMask=0027
StateDirectory=callfloor-agent
ReadWritePaths=-{places.recordings}
CapabilityBoundingSet=
{_HARDENED}
[Install]
WantedBy=multi-user.target
""",
    }


_OURS = "# Written by Callfloor: an Asterisk of its own."


def own_pbx(places: Places, command: Sequence[str]) -> tuple[Path, str]:
    """File and text of what starts a PBX of our own: a drop-in where the distribution brings a unit, else a unit.
    ``command``: Asterisk with its ``-C``."""
    whole = places.units / PBX
    others = [places.root / folder / PBX for folder in ("usr/lib/systemd/system", "lib/systemd/system")]
    has_other = any(path.is_file() for path in others)
    if whole.is_file() and not whole.is_symlink():
        has_other = has_other or not whole.read_text(encoding="utf-8").startswith(_OURS)
    service = f"""\
[Service]
Type=simple
User={PBX_USER}
Group={PBX_USER}
SupplementaryGroups={MEDIA_GROUP}
RuntimeDirectory=asterisk
{"ExecStart=" if has_other else ""}
ExecStart={" ".join(command)} -f
Restart=always
RestartSec=1
LimitNOFILE=65536
LimitCORE=0
ReadWritePaths={places.pbx_data} {places.pbx_log} {places.recordings} {places.messages}
"""
    service = service.replace("\n\n", "\n")
    if has_other:
        return places.units / f"{PBX}.d" / "callfloor.conf", f"{_OURS}\n{service}"
    return (
        whole,
        f"""\
{_OURS}
[Unit]
Description=Asterisk, the PBX of Callfloor
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=0

{service}{_HARDENED.replace("LimitCORE=0" + chr(10), "")}
[Install]
WantedBy=multi-user.target
""",
    )


def own_pbx_logrotate(places: Places, command: Sequence[str]) -> tuple[Path, str] | None:
    """File and text of the rotation of a PBX of our own; None where the distribution's package brings one."""
    if (places.root / "etc/logrotate.d/asterisk").is_file():
        return None
    return (
        places.logrotate.with_name("callfloor-asterisk"),
        f"""\
{places.pbx_log}/messages.log {places.pbx_log}/queue_log {{
    weekly
    rotate 10
    missingok
    notifempty
    dateext
    sharedscripts
    su {PBX_USER} {PBX_USER}
    postrotate
        {" ".join(command)} -rx 'logger reload' >/dev/null 2>&1 || true
    endscript
}}
""",
    )


def logrotate_rules(places: Places) -> str:
    """Rotation of Asterisk's record of calls that Callfloor reads. Asterisk opens the file anew for each line: moving
    it away loses nothing. Our own messages are in the journal of systemd; recordings go by the rules of the queues,
    not by age of a log; queue_log is rotated by Asterisk's own package."""
    return f"""\
{places.root / "var/log/asterisk/cel-custom/callfloor.csv"} {{
    daily
    rotate 14
    missingok
    notifempty
    dateext
    nocreate
    su {PBX_USER} {PBX_USER}
}}
"""
