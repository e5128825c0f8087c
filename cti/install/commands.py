"""``callfloor upgrade`` and ``callfloor rollback``. Installing itself is ``./install`` of a checkout."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from cti.install import release
from cti.install import upgrade as upgrading
from cti.install.machine import InstallError, services_of
from cti.install.places import Places

RootOption = Annotated[Path, typer.Option("--root", help="The folder of an installation other than this machine's.")]


def upgrade(
    source: Annotated[Path, typer.Argument(help="A checkout or unpacked archive of the new version.")],
    root: RootOption = Path("/"),
) -> None:
    """Go to another version; data and calls stay. The new version's own installer does it."""
    installer = source.resolve() / "install"
    release.version_of(source)
    if not installer.is_file():
        raise InstallError(f"there is no {installer}")
    os.execv(installer, [str(installer), "--root", str(root)])  # noqa: S606


def pbx(
    root: RootOption = Path("/"),
    is_rehearsal: Annotated[bool, typer.Option("--dry-run", help="Only say what would be written.")] = False,
    may_include: Annotated[
        bool, typer.Option("--include", help="Add the lines that include our files to /etc/asterisk; keeps copies.")
    ] = False,
) -> None:
    """Write what the PBX on this machine needs, as /etc/callfloor/pbx.toml says, and have Asterisk read it."""
    from cti.install.pbx import apply

    places = Places(root.resolve())
    if places.is_machine and os.geteuid() != 0 and not is_rehearsal:
        raise InstallError("this changes the machine: say sudo")
    apply(places, tell=typer.echo, is_rehearsal=is_rehearsal, may_include=may_include)


def rollback(root: RootOption = Path("/")) -> None:
    """Back to the version before the last upgrade; with it the database, if its schema had changed."""
    places = Places(root.resolve())
    if places.is_machine and os.geteuid() != 0:
        raise InstallError("this changes the machine: say sudo")
    upgrading.rollback(places, services_of(places), tell=typer.echo)
