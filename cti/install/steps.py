"""Installing: a list of steps, each of which can say whether it is done already. So it can be shown before it is done,
and done again after it broke off.
"""

from __future__ import annotations

import secrets
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cti.install import units
from cti.install.machine import InstallError, Owners, add_users, has_group, has_user, run, users_are_there
from cti.install.places import MEDIA_GROUP, PBX_USER, USER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from cti.install.machine import Services
    from cti.install.places import Places

    Make = Callable[[Path], None]


@dataclass(frozen=True)
class Step:
    """``says``: what it does, in words; ``is_done``: whether there is nothing to do; ``work``: does it."""

    says: str
    is_done: Callable[[], bool]
    work: Callable[[], None]


@dataclass(frozen=True)
class Wishes:
    """What the person who installs decides. ``region``: two letters of the country; ``site``: the address of the pages
    for browsers elsewhere, ``https://floor.example``, empty for this machine only; ``database_url``: empty for SQLite;
    ``pbx``: ``own``, ``existing`` or ``elsewhere``; ``asterisk``: the folder of its program, for an own one."""

    region: str
    site: str = ""
    database_url: str = ""
    pbx: str = "existing"
    asterisk: Path | None = None


def carry_out(steps: Sequence[Step], *, tell: Callable[[str], None], is_rehearsal: bool) -> None:
    """Do what is not done, or only say it. Raises ``InstallError``."""
    for step in steps:
        if step.is_done():
            tell(f"  is so    {step.says}")
        elif is_rehearsal:
            tell(f"  would    {step.says}")
        else:
            tell(f"  doing    {step.says}")
            step.work()


def install_steps(places: Places, version: str, wishes: Wishes, owners: Owners, *, make: Make) -> list[Step]:
    """Everything up to the start of the services. ``make`` makes the release in the folder that it is given."""
    return [
        *_program(places, version, make, has_own_pbx=wishes.pbx == "own"),
        _config(places, wishes, owners),
        *_folders(places, owners),
        *_pbx(places, wishes, owners),
        *file_steps(places),
    ]


def _pbx(places: Places, wishes: Wishes, owners: Owners) -> list[Step]:
    """What kind of PBX it is: chosen once; afterwards the file is the site's own."""

    def write() -> None:
        places.pbx_config.parent.mkdir(parents=True, exist_ok=True)
        places.pbx_config.write_text(pbx_text(wishes), encoding="utf-8")
        owners.give(places.pbx_config, "root", USER, 0o640)

    if wishes.pbx == "elsewhere":
        return []
    steps = []
    unpacked = places.unpacked_asterisk
    if wishes.asterisk == unpacked:
        says = f"Asterisk in {unpacked}: this system has no package of it (85 MB, some minutes)"
        is_there = (unpacked / "usr/sbin/asterisk").is_file
        steps.append(Step(says, is_there, lambda: _unpack_asterisk(places)))
    kind = "of our own" if wishes.pbx == "own" else "that is here already"
    return [*steps, Step(f"settings {places.pbx_config} of a PBX {kind}", places.pbx_config.is_file, write)]


def _unpack_asterisk(places: Places) -> None:
    python = str(places.current / "venv/bin/python")
    script = str(places.current / "program/setup/fetch_asterisk.py")
    words = ["env", f"CALLFLOOR_ASTERISK_ROOT_22={places.unpacked_asterisk}", python, script, "22"]
    run(words, why="Fetching Asterisk")


def pbx_text(wishes: Wishes) -> str:
    """``pbx.toml`` of a new installation."""
    own = OWN_PBX_TEXT.format(asterisk=wishes.asterisk or "/") if wishes.pbx == "own" else ""
    return PBX_TEXT.format(kind=wishes.pbx) + own + DIALPLAN_TEXT


PBX_TEXT = """\
# The PBX on this machine. After a change: sudo callfloor pbx   (--dry-run only shows)
# own: Asterisk runs with the configuration in /etc/callfloor/asterisk. existing: that folder holds files to include.
kind = "{kind}"
"""
OWN_PBX_TEXT = """\
asterisk = "{asterisk}"

# Trunks and desk phones of other machines reach it at this address (0.0.0.0: all). Everything else stays on loopback.
sip_bind = "127.0.0.1"
sip_port = 5060
rtp_first = 10000
rtp_last = 20000
# Behind a router: the office's address on the internet.
# public_address = "203.0.113.7"

# Where calls come from (only from there), and where the trunk is called. A trunk that wants a log-in: site/pjsip.conf.
trunk_networks = ["127.0.0.1/32"]
# trunk_contact = "sip:sip.provider.example:5060"

# Desk phones by name; their passwords are made in asterisk/phones.toml. Browser phones need nothing here.
desk_phones = []
"""
DIALPLAN_TEXT = """
# Variables of the dialplan (dialplans/CONTRACT.md).
[dialplan]
# CALLFLOOR_EMERGENCY = "110,112"
# CALLFLOOR_EMERGENCY_TRUNK = "endpoint-of-the-trunk"
# CALLFLOOR_EMERGENCY_CALLERID = "a number that rings at your place"
"""


def _program(places: Places, version: str, make: Make, *, has_own_pbx: bool = False) -> list[Step]:
    here = places.release(version)
    steps = []
    if places.is_machine:
        says = f"system user {USER}, and group {MEDIA_GROUP} that it shares with {PBX_USER}"
        are_there: Callable[[], bool] = lambda: users_are_there(has_own_pbx=has_own_pbx)
        steps.append(Step(says, are_there, lambda: add_users(places.data, has_own_pbx=has_own_pbx)))
    return [
        *steps,
        Step(f"release {version} in {here} (packages, compiled program)", here.is_dir, lambda: make(here)),
        _switch(places, version),
        _command(places),
    ]


def _switch(places: Places, version: str) -> Step:
    is_there: Callable[[], bool] = lambda: places.current_version() == version
    return Step(f"{places.current} → {version}", is_there, lambda: use(places, version))


def agent_steps(places: Places, version: str, site: str, owners: Owners, *, make: Make) -> list[Step]:
    """On a PBX of its own: the program and the agent's settings, nothing of the daemon. ``site``: the daemon's
    address, ``https://floor.example``."""

    def configure() -> None:
        places.agent_config.parent.mkdir(parents=True, exist_ok=True)
        places.agent_config.write_text(AGENT_TEXT.format(site=site, places=places), encoding="utf-8")
        places.agent_token.touch(mode=0o600)
        for path in (places.agent_config, places.agent_token):
            owners.give(path, "root", USER, 0o640)

    return [
        *_program(places, version, make),
        Step(f"settings {places.agent_config}", places.agent_config.is_file, configure),
        _folder(places.data, USER, 0o711, owners),
        _folder(places.recordings, MEDIA_GROUP, 0o2770, owners),
        *file_steps(places),
    ]


AGENT_TEXT = """\
# The agent that brings this PBX's records of calls and recordings to the daemon.
url = "{site}"
pbx = "pbx1"
# One line: the agent_token of this PBX in the daemon's start-up file.
token_file = "{places.agent_token}"
recordings_folder = "{places.recordings}"
"""


def use(places: Places, version: str) -> None:
    """Point ``current`` at a release, in one instant."""
    beside = places.current.with_name(".current")
    beside.unlink(missing_ok=True)
    beside.symlink_to(f"releases/{version}")
    beside.rename(places.current)


def _command(places: Places) -> Step:
    target = places.current / "bin" / "callfloor"

    def link() -> None:
        places.command.parent.mkdir(parents=True, exist_ok=True)
        places.command.unlink(missing_ok=True)
        places.command.symlink_to(target)

    is_there: Callable[[], bool] = lambda: places.command.is_symlink() and places.command.readlink() == target
    return Step(f"the command {places.command}", is_there, link)


def _config(places: Places, wishes: Wishes, owners: Owners) -> Step:
    """Written once; afterwards it is the site's own."""

    def write() -> None:
        places.config.parent.mkdir(parents=True, exist_ok=True)
        places.config.touch(mode=0o600)
        text = config_text(places, wishes, secret=secrets.token_urlsafe(32), ari_secret=secrets.token_urlsafe(32))
        places.config.write_text(text, encoding="utf-8")
        owners.give(places.config, "root", USER, 0o640)

    return Step(f"start-up file {places.config} with a new secret for the PBX", places.config.is_file, write)


PBX_HERE = """\
# A PBX on this machine is set up by `callfloor pbx` (pbx.toml); `callfloor doctor --print-manager-conf` prints what
# one on another machine needs.
[[pbx]]
id = "pbx1"
host = "127.0.0.1"
port = 5038
username = "callfloor"
secret = "{secret}"
# Asterisk's own records of calls complete what happened while the daemon was away. On another machine: agent_token.
records_folder = "{places.pbx_log}"
# Queues made in the pages get their fall-back here; the PBX includes the file.
queues_file = "{places.fallback_queues}"
# Browser phones: Asterisk's WebSocket, and its REST interface, which makes their passwords at each log-in.
sip_ws_url = "ws://127.0.0.1:8088/ws"
ari_url = "http://127.0.0.1:8088/ari"
ari_secret = "{ari_secret}"
"""
PBX_ELSEWHERE = """\
# What the PBX needs: `callfloor doctor --print-manager-conf`; its records of calls come through an agent there, which
# knows this token (./install --pbx-agent). Write the PBX's address and the authority of its certificate:
[[pbx]]
id = "pbx1"
host = "pbx.example"
port = 5039
tls = true
# tls_ca_file = "/etc/callfloor/pbx-ca.crt"
username = "callfloor"
secret = "{secret}"
agent_token = "{ari_secret}"
# Browser phones: its WebSocket, and its REST interface, which makes their passwords at each log-in.
# sip_ws_url = "wss://pbx.example:8089/ws"
# ari_url = "https://pbx.example:8089/ari"
# ari_secret = "…"
"""

PROMPTS_TEXT = """
# What callers are told; the PBX plays it, and the pages show it.
[prompts]
folder = "{places.prompts}"
"""

GATE_TEXT = """
# The one port to the outside (docs/gate.md). The two files: from your own authority, from an ACME client (acme_folder),
# or from `callfloor certificate office`.
[gate]
origin = "{site}"
host = "0.0.0.0"
port = 443
redirect_port = 80
certificate = "{data}/tls/server.crt"
key = "{data}/tls/server.key"
# acme_folder = "{data}/acme"
pass_folder = "{data}/gate"
"""


def config_text(places: Places, wishes: Wishes, *, secret: str, ari_secret: str) -> str:
    """The start-up file of a new installation."""
    url = wishes.database_url or f"sqlite+aiosqlite:///{places.data / 'callfloor.db'}"
    pbx, prompts = PBX_ELSEWHERE, ""
    if wishes.pbx != "elsewhere":
        pbx, prompts = PBX_HERE, PROMPTS_TEXT.format(places=places)
    pbx = pbx.format(places=places, secret=secret, ari_secret=ari_secret)
    gate = GATE_TEXT.format(site=wishes.site, data=places.data) if wishes.site else ""
    return f"""\
# What Callfloor needs to start. Everything else is set in its pages and lives in the database.
# Secrets stand here: the file belongs to root, and only the group {USER} reads it.

[database]
# PostgreSQL instead: postgresql+asyncpg://callfloor:password@127.0.0.1/callfloor
url = "{url}"

[journal]
folder = "{places.journal}"

[web]
host = "127.0.0.1"
port = 8470

[desk_socket]
host = "127.0.0.1"
port = 8471

[recordings]
folder = "{places.recordings}"
{prompts}{gate}
[site]
region = "{wishes.region}"

{pbx}"""


def _folders(places: Places, owners: Owners) -> list[Step]:
    # 0711: Asterisk passes through to the recordings and sees nothing else.
    wanted = (
        (places.data, USER, 0o711),
        (places.journal, USER, 0o750),
        (places.gate, USER, 0o700),
        (places.data / "tls", USER, 0o700),
        (places.backups, USER, 0o700),
        # The group's bit is handed down: what Asterisk writes there, Callfloor may read and remove.
        (places.recordings, MEDIA_GROUP, 0o2770),
        # The other way round: Asterisk reads there.
        (places.fallback_queues.parent, MEDIA_GROUP, 0o2750),
    )

    return [_folder(path, group, mode, owners) for path, group, mode in wanted]


def _folder(path: Path, group: str, mode: int, owners: Owners) -> Step:
    def make() -> None:
        path.mkdir(parents=True, exist_ok=True)
        owners.give(path, USER, group, mode)

    return Step(f"folder {path}", lambda: owners.are_right(path, USER, group, mode), make)


def written_files(places: Places) -> list[Path]:
    """The files of other programs that are ours."""
    return [*(places.units / name for name in (units.DAEMON, units.GATE, units.PBX_AGENT)), places.logrotate]


def file_steps(places: Places) -> list[Step]:
    """systemd's units and, where Asterisk runs on the same machine, the rotation of its record of calls."""
    has_pbx = has_user(PBX_USER) and has_group(PBX_USER) if places.is_machine else True
    texts = {places.units / name: text for name, text in units.unit_files(places, has_pbx=has_pbx).items()}
    if has_pbx:
        texts[places.logrotate] = units.logrotate_rules(places)

    def step(path: Path, text: str) -> Step:
        def write() -> None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            path.chmod(0o644)

        return Step(f"file {path}", lambda: path.is_file() and path.read_text(encoding="utf-8") == text, write)

    return [step(path, text) for path, text in texts.items()]


def program(places: Places, *words: str, why: str, version: str | None = None) -> str:
    """Run the installed ``callfloor`` as its own user and return what it wrote. Raises ``InstallError``."""
    folder = places.current if version is None else places.release(version)
    return run([str(folder / "bin" / "callfloor"), *words], why=why, as_user=_user(places))


def first_administrator(places: Places, name: str, descriptor: int) -> None:
    """Make the database and the first user, unless somebody administers already. The password is asked for twice on a
    terminal, and read once from any other ``descriptor``. Raises ``InstallError``."""
    command = [str(places.current / "bin" / "callfloor"), "user", "first", name]
    run(command, why="Adding the first administrator", as_user=_user(places), reads=descriptor)


def _user(places: Places) -> str | None:
    return USER if places.is_machine else None


def set_up_pbx(places: Places, *, tell: Callable[[str], None]) -> None:
    """Write what the PBX needs and have it read: it belongs to the release. When that can't be done the old dialplan
    goes on, and a person is told."""
    words = [str(places.current / "bin" / "callfloor"), "pbx", "--root", str(places.root)]
    try:
        tell(run(words, why="Setting up the PBX").rstrip())
    except InstallError as problem:
        tell(f"{problem}\nPut that right, then say: callfloor pbx   (or, on the PBX: asterisk -rx 'dialplan reload')")


def has_own_pbx(places: Places) -> bool:
    """Whether Asterisk runs with our configuration."""
    if not places.pbx_config.is_file():
        return False
    return bool(tomllib.loads(places.pbx_config.read_text(encoding="utf-8")).get("kind") == "own")


def start(places: Places, services: Services) -> None:
    """Start what this machine has the settings of: a PBX of our own that does not run yet, the agent of a PBX, the
    daemon, and the gate where the start-up file names an address for browsers elsewhere."""
    services.reload()
    if has_own_pbx(places) and not services.is_active(units.PBX):
        services.start(units.PBX)
    if places.agent_config.is_file() and places.agent_token.stat().st_size:
        services.start(units.PBX_AGENT)
    if not places.config.is_file():
        return
    services.start(units.DAEMON)
    if tomllib.loads(places.config.read_text(encoding="utf-8")).get("gate", {}).get("origin"):
        services.start(units.GATE)
