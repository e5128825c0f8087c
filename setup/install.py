"""Install Callfloor on this machine, or upgrade what is installed: ``sudo ./install``.

Runs on the machine's own Python. Docs: ``docs/install.md``.
"""

from __future__ import annotations

import argparse
import functools
import os
import re
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(SOURCE))
sys.path.insert(0, str(SOURCE / "setup"))
# The checkout may belong to somebody else, or be read-only.
sys.dont_write_bytecode = True

from cti.install import release, steps, units  # noqa: E402
from cti.install import upgrade as upgrading  # noqa: E402
from cti.install.machine import InstallError, Owners, services_of  # noqa: E402
from cti.install.places import Places  # noqa: E402

import prepare  # noqa: E402

REGION = re.compile(r"[A-Z]{2}")
SITE = re.compile(r"https://[a-z0-9.-]+(:[0-9]{1,5})?")
KINDS = {"1": "own", "2": "existing", "3": "elsewhere"}
ASTERISK_PACKAGES = ("asterisk", "asterisk-core-sounds-en-gsm", "asterisk-moh-opsound-gsm")
SECRET_IN_URL = re.compile(r"//[^/@]*:[^/@]*@")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="install", description="Install Callfloor, or upgrade what is installed.")
    parser.add_argument("--region", default="CN", metavar="XX", help="country of numbers without a country code")
    parser.add_argument("--site", default="", metavar="URL", help="https://… as browsers elsewhere see the pages")
    parser.add_argument("--database-url", default="", metavar="URL", help="PostgreSQL without a password in it")
    parser.add_argument("--admin", default="admin", metavar="NAME", help="user name of the first administrator")
    parser.add_argument(
        "--password-fd",
        type=int,
        default=0,
        metavar="N",
        help="read the first password from this descriptor, not from the terminal",
    )
    parser.add_argument(
        "--pbx",
        choices=("own", "existing", "elsewhere"),
        help="an Asterisk that Callfloor configures, one that somebody configured, or one on another machine",
    )
    parser.add_argument(
        "--asterisk", type=Path, metavar="FOLDER", help="Asterisk's program lies below it, for --pbx own"
    )
    parser.add_argument("--pbx-agent", action="store_true", help="only the agent, on a PBX that is another machine")
    parser.add_argument("--wheels", type=Path, metavar="FOLDER", help="Python packages from here, without a network")
    parser.add_argument("--root", type=Path, default=Path("/"), metavar="FOLDER", help="everything below this folder")
    parser.add_argument("--no-start", action="store_true", help="leave the services as they are")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
    given = parser.parse_args()
    if not REGION.fullmatch(given.region):
        parser.error("--region wants two capital letters")
    if given.site and not SITE.fullmatch(given.site):
        parser.error("--site wants https://name or https://name:port")
    if given.pbx_agent and not given.site:
        parser.error("--pbx-agent wants --site, the address of the daemon's pages")
    if given.asterisk and given.pbx != "own":
        parser.error("--asterisk is for --pbx own")
    if given.asterisk and not (given.asterisk / "usr/sbin/asterisk").is_file():
        parser.error(f"--asterisk: there is no {given.asterisk}/usr/sbin/asterisk")
    if SECRET_IN_URL.search(given.database_url):
        parser.error("everybody can read an argument: put the password into the start-up file, see docs/install.md")
    return given


def prepare_source() -> None:
    """Debian's packages that are missing, and the front-end from npm, unless it came with the source."""
    has_front_end = all((SOURCE / name).is_file() for name in release.BUILT)
    prepare.debian_packages("install-built" if has_front_end else "install")
    if not has_front_end:
        prepare.front_end()


def kind_of_pbx(given: argparse.Namespace, places: Places) -> str:
    """What was chosen before, what is said now, or what a person answers."""
    if places.pbx_config.is_file():
        kind = "own" if steps.has_own_pbx(places) else "existing"
        if given.pbx not in (None, kind):
            raise InstallError(f"{places.pbx_config} says {kind}: change it there, then say callfloor pbx")
        return kind
    if given.pbx is not None:
        return str(given.pbx)
    if places.config.is_file() or given.dry_run or not sys.stdin.isatty():
        return "existing"
    print("Which PBX? 1: Callfloor sets up an Asterisk here   2: one runs here already   3: it is another machine")
    while (answer := input("1, 2 or 3: ").strip()) not in KINDS:
        pass
    return KINDS[answer]


def own_asterisk(given: argparse.Namespace, places: Places) -> Path:
    """Where the program of a PBX of our own is, or will be."""
    if given.asterisk:
        return Path(given.asterisk).resolve()
    if Path("/usr/sbin/asterisk").is_file() or asterisk_is_packaged():
        return Path("/")
    return places.unpacked_asterisk


def asterisk_is_packaged() -> bool:
    """Whether this system's package mirror has an Asterisk."""
    if not prepare.has_apt():
        return False
    words = ["apt-cache", "policy", "asterisk"]
    said = subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"}).stdout
    return "Candidate:" in said and "Candidate: (none)" not in said


def prepare_pbx(kind: str, asterisk: Path | None, places: Places) -> None:
    """Debian's packages for it: announcements are spoken by espeak-ng."""
    if kind != "elsewhere":
        prepare.debian_packages("install-prompts")
    if kind == "own" and asterisk == Path("/") and not Path("/usr/sbin/asterisk").is_file():
        prepare.install_from_debian(ASTERISK_PACKAGES, "install")
        # The package starts it at once, with the distribution's examples.
        services_of(places).stop(units.PBX)


def main() -> int:
    given = arguments()
    places = Places(given.root.resolve())
    if sys.version_info < (3, 11):
        print(f"Callfloor needs Python 3.11 or newer; {sys.executable} is {sys.version.split()[0]}", file=sys.stderr)
        return 1
    if places.is_machine and os.geteuid() != 0 and not given.dry_run:
        print("This changes the machine: say sudo.", file=sys.stderr)
        return 1
    try:
        version = release.name_of(SOURCE)
        if not given.dry_run:
            prepare_source()
        install_packages = functools.partial(release.packages_from_index, source=SOURCE, wheels=given.wheels)
        make = functools.partial(release.make_release, SOURCE, version=version, install_packages=install_packages)
        if places.current_version() in (None, version):
            install(places, version, given, make=make)
        else:
            upgrade(places, version, given, make=make)
    except (InstallError, prepare.SetupError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    return 0


def install(places: Places, version: str, given: argparse.Namespace, *, make: steps.Make) -> None:
    owners = Owners(places)
    if given.pbx_agent:
        todo = steps.agent_steps(places, version, given.site, owners, make=make)
        steps.carry_out(todo, tell=print, is_rehearsal=given.dry_run)
        print(f"Next: write the agent_token into {places.agent_token}, then systemctl enable --now {units.PBX_AGENT}")
        return
    kind = kind_of_pbx(given, places)
    asterisk = own_asterisk(given, places) if kind == "own" else None
    if not given.dry_run:
        prepare_pbx(kind, asterisk, places)
    wishes = steps.Wishes(
        region=given.region, site=given.site, database_url=given.database_url, pbx=kind, asterisk=asterisk
    )
    todo = steps.install_steps(places, version, wishes, owners, make=make)
    steps.carry_out(todo, tell=print, is_rehearsal=given.dry_run)
    if given.dry_run:
        print("  would    set up the PBX, make the database, ask for the first administrator's password, start")
        return
    print()
    if places.pbx_config.is_file():
        steps.set_up_pbx(places, tell=print)
        print()
    steps.first_administrator(places, given.admin, given.password_fd)
    if owners.noted:
        print("\nNot given away, because this is not the machine's own installation:")
        print("\n".join(f"  {line}" for line in owners.noted))
    if not given.no_start:
        steps.start(places, services_of(places))
    print(f"\nCallfloor {version} is installed. Next: `{places.command} doctor` says what is still missing.")
    if kind == "elsewhere":
        print(f"Before that: the address of the PBX into {places.config}, and onto the PBX what")
        print(f"`{places.command} doctor --print-manager-conf` prints.")


def upgrade(places: Places, version: str, given: argparse.Namespace, *, make: steps.Make) -> None:
    if given.dry_run:
        print(f"  would    upgrade from {places.current_version()} to {version}, back up, migrate, restart")
        return
    if given.pbx:
        print(f"The PBX stays as {places.pbx_config} says; to change it: edit that, then callfloor pbx")
    files = steps.file_steps(places)
    upgrading.upgrade(
        places,
        version,
        services_of(places),
        make=make,
        write_files=lambda: steps.carry_out(files, tell=print, is_rehearsal=False),
        tell=print,
    )
    print(f"\nCallfloor {version} is in use; `callfloor rollback` goes back.")


if __name__ == "__main__":
    sys.exit(main())
