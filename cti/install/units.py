"""The files of other programs: systemd's units and logrotate's rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cti.install.places import MEDIA_GROUP, PBX_USER, USER

if TYPE_CHECKING:
    from cti.install.places import Places

DAEMON = "callfloor.service"
GATE = "callfloor-gate.service"
PBX_AGENT = "callfloor-pbx-agent.service"

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

_AGAIN = """\
Restart=always
RestartSec=1
RestartSteps=6
RestartMaxDelaySec=30
"""
"""Comes back whatever happened, more slowly each time; systemd before 254 ignores the two last lines."""


def unit_files(places: Places, *, has_pbx: bool) -> dict[str, str]:
    """File name → text of every unit. ``has_pbx``: Asterisk runs on this machine, and its own records of calls are
    read where it writes them."""
    run = f"{places.current}/bin/callfloor"
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
{_AGAIN}UMask=0027
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
{_AGAIN}UMask=0027
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
{_AGAIN}UMask=0027
StateDirectory=callfloor-agent
ReadWritePaths=-{places.recordings}
CapabilityBoundingSet=
{_HARDENED}
[Install]
WantedBy=multi-user.target
""",
    }


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
