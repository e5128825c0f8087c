"""Install Callfloor on this machine, or upgrade what is installed: ``sudo ./install``.

Runs on the machine's own Python. Docs: ``docs/install.md``.
"""

from __future__ import annotations

import argparse
import functools
import os
import re
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
    if SECRET_IN_URL.search(given.database_url):
        parser.error("everybody can read an argument: put the password into the start-up file, see docs/install.md")
    return given


def prepare_source() -> None:
    """Debian's packages that are missing, and the front-end from npm, unless it came with the source."""
    has_front_end = all((SOURCE / name).is_file() for name in release.BUILT)
    prepare.debian_packages("install-built" if has_front_end else "install")
    if not has_front_end:
        prepare.front_end()


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
    wishes = steps.Wishes(region=given.region, site=given.site, database_url=given.database_url)
    todo = steps.install_steps(places, version, wishes, owners, make=make)
    steps.carry_out(todo, tell=print, is_rehearsal=given.dry_run)
    if given.dry_run:
        print("  would    make the database, ask for the first administrator's password, start the services")
        return
    print()
    steps.first_administrator(places, given.admin, given.password_fd)
    if owners.noted:
        print("\nNot given away, because this is not the machine's own installation:")
        print("\n".join(f"  {line}" for line in owners.noted))
    if not given.no_start:
        steps.start(places, services_of(places))
    print(f"\nCallfloor {version} is installed. Next: `{places.command} doctor` says what the PBX still needs.")


def upgrade(places: Places, version: str, given: argparse.Namespace, *, make: steps.Make) -> None:
    if given.dry_run:
        print(f"  would    upgrade from {places.current_version()} to {version}, back up, migrate, restart")
        return
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
