"""``callfloor pbx``: what the PBX on this machine needs, written and told to it.

``/etc/callfloor/pbx.toml`` says of which kind it is. *own*: Asterisk runs with a whole configuration of ours, made anew
from ``config/asterisk`` with each release. *existing*: files for an Asterisk that somebody set up, which includes them.
Both lie in ``/etc/callfloor/asterisk``; ``/etc/asterisk`` is changed only by ``--include``, and then shown.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from cti import existing_pbx, settings
from cti.asterisk import prompts
from cti.asterisk.local_pbx import (
    AsteriskProgram,
    LocalPbxError,
    PhoneAccount,
    Ports,
    configuration,
    desk_phones,
)
from cti.errors import SettingsError
from cti.install import units
from cti.install.machine import InstallError, Owners, has_group, services_of
from cti.install.places import MEDIA_GROUP, PBX_USER, USER, Places
from cti.settings import PbxSettings, Port, Section, Settings, is_loopback

Tell = Callable[[str], None]

WRITTEN = ".written.json"
"""Name → SHA-256 of what was written: what differs from it was changed by a person."""
_SECRET = re.compile(r"((?:secret|password)\s*=\s*)\S+")
NEEDS_RESTART = frozenset({"asterisk.conf", "modules.conf", "http.conf", "rtp.conf", "sorcery.conf"})
RELOADS = {
    "ari.conf": "module reload res_ari.so",
    "cel.conf": "module reload cel",
    "cel_custom.conf": "module reload cel_custom.so",
    "manager.conf": "manager reload",
    "queues.conf": "queue reload all",
}
"""How an Asterisk that is not ours reads one file anew, and nothing else."""
CONSOLE_S = 30.0


class PbxWishes(Section):
    """``pbx.toml``. ``asterisk``: the folder that Asterisk's program lies below. ``sip_bind``: where trunks and desk
    phones reach it; ``public_address``: as the other side of the office's router sees it; ``trunk_networks``: where
    calls may come from; ``desk_phones``: their names; ``dialplan``: global variables (``dialplans/CONTRACT.md``)."""

    kind: Literal["own", "existing"]
    asterisk: Path = Path("/")
    sip_bind: str = "127.0.0.1"
    sip_port: Port = 5060
    rtp_first: Port = 10000
    rtp_last: Port = 20000
    public_address: str = ""
    trunk_contact: str = ""
    trunk_networks: tuple[str, ...] = ("127.0.0.1/32",)
    desk_phones: tuple[str, ...] = ()
    dialplan: Mapping[str, str] = Field(default_factory=dict)


def read_wishes(path: Path) -> PbxWishes | None:
    """None where nobody chose. Raises ``SettingsError`` naming the key."""
    try:
        return PbxWishes.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(str(path), f"is not valid TOML: {error}") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise SettingsError(".".join(str(part) for part in first["loc"]), f"{first['msg']} ({path})") from None


def apply(places: Places, *, tell: Tell, is_rehearsal: bool = False, may_include: bool = False) -> None:
    """Write what changed, then have a running Asterisk read it. ``may_include``: also add the lines that include our
    files to those of an existing PBX. Raises ``SettingsError`` and ``InstallError``."""
    loaded = settings.load(places.config)
    wishes = read_wishes(places.pbx_config)
    for one in loaded.pbx:
        if not is_loopback(one.host):
            tell(f"{one.id} is on {one.host}: bring it this release's {_dialplans()}")
            tell("  and say there: asterisk -rx 'dialplan reload'")
    pbx = next((one for one in loaded.pbx if is_loopback(one.host)), None)
    if pbx is None:
        return
    setup = _Setup(places, loaded, pbx, wishes, tell, is_rehearsal=is_rehearsal)
    changed = set(setup.write()) if wishes is not None else set()
    if wishes is not None and wishes.kind == "existing":
        setup.say_what_to_include(may_include=may_include)
    if not is_rehearsal:
        setup.have_it_read(changed)


class _Setup:
    def __init__(
        self,
        places: Places,
        loaded: Settings,
        pbx: PbxSettings,
        wishes: PbxWishes | None,
        tell: Tell,
        *,
        is_rehearsal: bool,
    ) -> None:
        self._places = places
        self._loaded = loaded
        self._pbx = pbx
        self._wishes = wishes
        self._tell = tell
        self._is_rehearsal = is_rehearsal
        self._owners = Owners(places)
        self._prompts = loaded.prompts.folder or places.prompts
        self._is_unit_new = False
        self._group = PBX_USER if not places.is_machine or has_group(PBX_USER) else "root"

    # ── files ─────────────────────────────────────────────────────────────────────────────────────────────

    def write(self) -> list[str]:
        """The names of the files that changed."""
        assert self._wishes is not None
        places = self._places
        if not self._is_rehearsal:
            self._folders()
            speak(self._prompts, tell=self._tell)
            # A person may put a voice there from the pages.
            for folder in (self._prompts, *(one for one in self._prompts.iterdir() if one.is_dir())):
                self._owners.give(folder, USER, MEDIA_GROUP, 0o2755)
        if self._wishes.kind == "own":
            files = self._own(self._wishes)
            self._is_unit_new = self._unit(self._wishes)
        else:
            files = existing_pbx.parts(
                self._pbx, self._loaded.recordings, dialplan=self._wishes.dialplan, prompts=self._prompts
            )
        changed = put(places.pbx_etc, files, tell=self._tell, is_rehearsal=self._is_rehearsal)
        if not self._is_rehearsal:
            for name in (*files, WRITTEN):
                self._owners.give(places.pbx_etc / name, "root", self._group, 0o640)
            if changed and self._owners.noted:
                self._tell("Not given away, because this is not the machine's own installation:")
                self._tell("\n".join(f"  {line}" for line in self._owners.noted))
        return changed

    def _folders(self) -> None:
        places, owners = self._places, self._owners
        wanted = [
            (places.pbx_etc, "root", self._group, 0o750),
            (self._prompts, USER, MEDIA_GROUP, 0o2755),
            (places.fallback_queues.parent, USER, MEDIA_GROUP, 0o2750),
            (places.messages, USER, MEDIA_GROUP, 0o2770),
        ]
        if self._wishes is not None and self._wishes.kind == "own":
            site = places.pbx_etc / "site"
            site.mkdir(parents=True, exist_ok=True)
            example = site / "pjsip.conf"
            if not example.exists():
                example.write_text(SITE_PJSIP, encoding="utf-8")
            owners.give(example, "root", self._group, 0o640)
            wanted.append((site, "root", self._group, 0o750))
            own = [places.pbx_data, *(places.pbx_data / name for name in ("lib", "lib/keys", "spool"))]
            own += [places.pbx_log, places.pbx_log / "cel-custom"]
            wanted += [(path, PBX_USER, PBX_USER, 0o750) for path in own]
            if not places.is_machine:
                wanted.append((_run_folder(places), PBX_USER, PBX_USER, 0o755))
        for path, owner, group, mode in wanted:
            path.mkdir(parents=True, exist_ok=True)
            owners.give(path, owner, group, mode)

    def _own(self, wishes: PbxWishes) -> dict[str, str]:
        places, pbx = self._places, self._pbx
        own = {
            "CALLFLOOR_END": "record",
            "CALLFLOOR_EMERGENCY_TRUNK": "callfloor-trunk",
        }
        try:
            return configuration(
                places.pbx_etc,
                folder=places.pbx_data,
                run_folder=_run_folder(places),
                log_folder=places.pbx_log,
                site_folder=places.pbx_etc / "site",
                program=program_of(places, wishes),
                ports=Ports(
                    sip_udp=wishes.sip_port,
                    ws=_port_of(pbx.sip_ws_url, 8088),
                    ami=pbx.port,
                    rtp_first=wishes.rtp_first,
                    rtp_last=wishes.rtp_last,
                ),
                phones=self._desk_phones(wishes.desk_phones),
                recordings=self._loaded.recordings.folder,
                queues=(),
                routes={},
                settings={**own, **wishes.dialplan},
                messages=places.messages,
                prompts=self._prompts,
                queues_file=pbx.queues_file,
                ami_username=pbx.username,
                ami_secret=pbx.secret.get_secret_value(),
                ari_username=pbx.ari_username,
                ari_secret=pbx.ari_secret.get_secret_value(),
                sip_bind=wishes.sip_bind,
                public_address=wishes.public_address,
                trunk_contact=wishes.trunk_contact,
                trunk_networks=wishes.trunk_networks,
                dialplans=_dialplans(),
            )
        except ValueError as error:
            raise InstallError(f"{places.pbx_config}: {error} is no value for that") from None

    def _desk_phones(self, names: Iterable[str]) -> list[PhoneAccount]:
        file = self._places.pbx_etc / "phones.toml"
        if not self._is_rehearsal:
            return desk_phones(file, names)
        with tempfile.TemporaryDirectory() as elsewhere:
            if file.is_file():
                shutil.copy(file, elsewhere)
            return desk_phones(Path(elsewhere, file.name), names)

    def _unit(self, wishes: PbxWishes) -> bool:
        """The system's own unit with our command, or a unit where there is none, and the rotation of its logs; whether
        the unit is new."""
        command = command_of(self._places, wishes)
        rotation = units.own_pbx_logrotate(self._places, command)
        if rotation is not None:
            self._put_outside(*rotation)
        path, text = units.own_pbx(self._places, command)
        if not self._put_outside(path, text):
            return False
        if path.name != units.PBX:
            self._tell(f"  {units.PBX} then runs with {self._places.pbx_etc}; /etc/asterisk stays as it is, and counts")
            self._tell(f"  again when {path} is removed")
        if not self._is_rehearsal:
            services_of(self._places).reload()
        return True

    def _put_outside(self, path: Path, text: str) -> bool:
        """A file of ours among those of other programs; whether it changed."""
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            return False
        self._tell(f"  {'would' if self._is_rehearsal else 'doing'}    file {path}")
        if not self._is_rehearsal:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            path.chmod(0o644)
        return True

    # ── an existing PBX ───────────────────────────────────────────────────────────────────────────────────

    def say_what_to_include(self, *, may_include: bool) -> None:
        """Which files of somebody else's Asterisk lack our line; ``may_include``: put it there."""
        etc = self._places.root / "etc/asterisk"
        ours = sorted(path.name for path in self._places.pbx_etc.glob("*.conf"))
        missing = [name for name in ours if not _includes(etc / name, self._places.pbx_etc / name)]
        if missing and may_include and not self._is_rehearsal:
            for name in missing:
                self._include(etc / name, self._places.pbx_etc / name)
        elif missing:
            self._tell(f"Files for your Asterisk are in {self._places.pbx_etc}. Add one line to each of these")
            self._tell("(or say: callfloor pbx --include, which keeps a copy of each file and shows what it added):")
            for name in missing:
                self._tell(f'  {etc / name}:  #include "{self._places.pbx_etc / name}"')
        if missing:
            self._tell("By hand, where it is not so yet:")
            for name, (section, *lines) in existing_pbx.BY_HAND.items():
                self._tell(f"  {etc / name}, {section}:  {', '.join(lines)}")
            self._tell(f"  {etc}/extensions.conf, where calls come in:")
            for line in existing_pbx.WHERE_CALLS_COME_IN:
                self._tell(f"    {line}")
            self._tell("Then: asterisk -rx 'core reload', and callfloor doctor.")

    def _include(self, theirs: Path, ours: Path) -> None:
        before = theirs.read_text(encoding="utf-8", errors="surrogateescape") if theirs.is_file() else ""
        after = f'{before}{"" if before.endswith(chr(10)) or not before else chr(10)}\n#include "{ours}"\n'
        if before:
            self._tell(f"  kept     {keep(theirs)}")
        theirs.parent.mkdir(parents=True, exist_ok=True)
        theirs.write_text(after, encoding="utf-8", errors="surrogateescape")
        _show(before, after, theirs, self._tell)

    # ── the running Asterisk ──────────────────────────────────────────────────────────────────────────────

    def have_it_read(self, changed: Iterable[str]) -> None:
        """Reload the dialplan in any case: it belongs to the release."""
        console, names = self._console(), set(changed)
        is_own = self._wishes is not None and self._wishes.kind == "own"
        if self._is_unit_new and services_of(self._places).is_active(units.PBX):
            self._tell(f"{units.PBX} still runs as before. This ends its calls and starts it with ours:")
            self._tell("  systemctl restart asterisk")
            return
        if console is None or _say(console, "core show uptime") is None:
            self._tell("Asterisk does not run here now: it reads everything when it starts.")
            return
        commands = [RELOADS[name] for name in sorted(names & RELOADS.keys())]
        if is_own and names:
            commands = ["core reload"]
        for command in (*commands, "dialplan reload"):
            if _say(console, command) is None:
                self._tell(f"Asterisk did not take it; say it yourself: asterisk -rx '{command}'")
                return
            self._tell(f"  told Asterisk: {command}")
        if is_own and names & NEEDS_RESTART:
            self._tell(f"{', '.join(sorted(names & NEEDS_RESTART))} count from its next start, at a quiet hour:")
            self._tell("  asterisk -rx 'core restart when convenient'")

    def _console(self) -> list[str] | None:
        if self._wishes is not None and self._wishes.kind == "own":
            return [*command_of(self._places, self._wishes), "-rx"]
        program = shutil.which("asterisk") or shutil.which("asterisk", path="/usr/sbin:/usr/local/sbin")
        return None if program is None or not self._places.is_machine else [program, "-rx"]


def program_of(places: Places, wishes: PbxWishes) -> AsteriskProgram:
    """The Asterisk of our own. Raises ``InstallError``."""
    try:
        return AsteriskProgram.find(wishes.asterisk)
    except LocalPbxError:
        raise InstallError(f"there is no Asterisk below {wishes.asterisk} ({places.pbx_config}: asterisk)") from None


def command_of(places: Places, wishes: PbxWishes) -> list[str]:
    """How the PBX of our own is started. Raises ``InstallError``."""
    return [*program_of(places, wishes).command, "-C", str(places.pbx_etc / "asterisk.conf")]


def _say(console: Iterable[str], command: str) -> str | None:
    """What Asterisk's console answers, None if nobody is there."""
    try:
        done = subprocess.run(  # noqa: S603  a program and words of ours
            [*console, command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=CONSOLE_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _run_folder(places: Places) -> Path:
    # As the distribution has it, so that `asterisk -r` finds it.
    return places.root / "run/asterisk"


def _dialplans() -> Path:
    return existing_pbx.dialplans()[0].parent


def _port_of(url: str, otherwise: int) -> int:
    found = re.search(r":([0-9]{1,5})(/|$)", url)
    return int(found[1]) if found else otherwise


# ── writing without losing what somebody wrote ────────────────────────────────────────────────────────────


def put(folder: Path, files: Mapping[str, str], *, tell: Tell, is_rehearsal: bool) -> list[str]:
    """Write files that differ. What a person changed since is kept beside it, and shown. Returns their names."""
    record = folder / WRITTEN
    written: dict[str, str] = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    changed = []
    for name, text in files.items():
        path = folder / name
        there = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None
        if there == text:
            continue
        changed.append(name)
        tell(f"  {'would' if is_rehearsal else 'doing'}    file {path}")
        if there is not None and _hash(there.encode()) != written.get(name):
            tell(f"  {path} was changed by hand; what is in it now goes:")
            _show(there, text, path, tell)
            if not is_rehearsal:
                tell(f"  kept     {keep(path)}")
        if not is_rehearsal:
            path.touch(mode=0o640)
            path.write_text(text, encoding="utf-8")
    if not is_rehearsal:
        written.update({name: _hash(text.encode()) for name, text in files.items()})
        record.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    return changed


def keep(path: Path) -> Path:
    """A copy beside a file that is going to be changed."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    return Path(shutil.copy2(path, path.with_name(f"{path.name}.before-{stamp}")))


def _show(before: str, after: str, path: Path, tell: Tell) -> None:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), str(path), str(path), lineterm="", n=1)
    for line in lines:
        # A terminal is seen, and logged.
        tell("    " + _SECRET.sub(r"\1…", line))


def _includes(theirs: Path, ours: Path) -> bool:
    if not theirs.is_file():
        return False
    text = theirs.read_text(encoding="utf-8", errors="replace")
    return re.search(rf'(?m)^\s*#(try)?include\s+"?{re.escape(str(ours))}"?\s*$', text) is not None


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# ── what callers are told ─────────────────────────────────────────────────────────────────────────────────


def speak(folder: Path, *, tell: Tell) -> None:
    """Have espeak-ng speak the announcements that are missing or that it spoke for another release; recordings of a
    human voice stay."""
    if shutil.which("espeak-ng") is None:
        tell("espeak-ng is missing: callers can't be told about recording, so nothing is recorded.")
        tell("  apt-get install espeak-ng, then callfloor pbx")
        return
    record = folder / ".spoken.json"
    spoken: dict[str, str] = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    release = spoken_release()
    if spoken.get("release") == release and all((folder / name).is_file() for name in spoken if name != "release"):
        return
    tell(f"  doing    announcements in {folder}")
    with tempfile.TemporaryDirectory() as made_in:
        for made in prompts.make_prompts(Path(made_in)):
            name = str(made.relative_to(made_in))
            target = folder / name
            if target.is_file() and _hash(target.read_bytes()) != spoken.get(name):
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.parent.chmod(0o755)
            shutil.copyfile(made, target)
            target.chmod(0o644)
            spoken[name] = _hash(target.read_bytes())
    record.write_text(json.dumps(spoken | {"release": release}, indent=1) + "\n", encoding="utf-8")


def spoken_release() -> str:
    """Which sentences this release speaks."""
    return _hash(Path(prompts.__file__).read_bytes())


SITE_PJSIP = """\
; What your site adds to pjsip.conf: never written over. A provider that wants a log-in, for instance:
;
; [provider]
; type = registration
; transport = transport-udp
; outbound_auth = provider
; server_uri = sip:sip.provider.example
; client_uri = sip:account@sip.provider.example
; contact_user = 4930111
;
; [provider]
; type = auth
; username = account
; password = …
;
; Its calls come from the networks of trunk_networks in pbx.toml. Then: sudo callfloor pbx
"""
