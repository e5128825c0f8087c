"""One release on the disk: a copy of the program, its packages in a virtual environment, and the command.

A release is complete or it is not there: it is made beside its place and moved into it at the end. Nothing in it names
the folder it lies in, except what pip wrote into ``venv/bin``, which nothing here uses.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from cti.install.machine import InstallError, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PARTS = ("cti", "crm_core", "web", "config", "dialplans", "docs", "setup", "docker")
FILES = ("pyproject.toml", "constraints.txt", "LICENSE", "README.md", "CHANGELOG.md")
BUILT = ("web/static/vendor/jssip.js", "web/static/vendor/htmx.js")
"""What ``make setup`` bundles from npm; without it no page works."""
VERSION = re.compile(r"[0-9]+(\.[0-9]+){1,3}([a-z0-9.+-]{0,20})")
KEPT = 3
"""So many releases stay on the disk: the one in use, and two to go back to."""

COMMAND = """\
#!/bin/sh
# The command of this release, wherever it lies. The start-up file is the installation's unless another one is named.
release=$(dirname "$(dirname "$(readlink -f "$0")")")
: "${CALLFLOOR_CONFIG:=$(readlink -m "$release/../../../../etc/callfloor/callfloor.toml")}"
export CALLFLOOR_CONFIG
# Whoever types the command in another checkout gets this release all the same.
export PYTHONSAFEPATH=1
exec "$release/venv/bin/python" -m cti.cli "$@"
"""

PAUSE = """\
#!/bin/sh
# Asked by systemd before a service of ours starts (begin), and after it has ended: how long until it starts again.
# Somebody stopped it, or it fell after a minute of work: at once. Falls that follow each other: 2, 4, 8, then 15 s.
if [ "${1:-}" = begin ]; then
  date +%s >"$RUNTIME_DIRECTORY/began"
  exit
fi
[ "${SERVICE_RESULT:-success}" != success ] || exit 0
began=$(cat "$RUNTIME_DIRECTORY/began") || exit 0
falls=$(cat "$RUNTIME_DIRECTORY/falls" 2>/dev/null || echo 0)
[ $(($(date +%s) - began)) -lt 60 ] || falls=0
echo $((falls + 1)) >"$RUNTIME_DIRECTORY/falls"
case $falls in
  0) ;;
  1) sleep 2 ;;
  2) sleep 4 ;;
  3) sleep 8 ;;
  *) sleep 15 ;;
esac
"""


def version_of(source: Path) -> str:
    """The version that a checkout or unpacked archive says it is. Raises ``InstallError``."""
    try:
        found = tomllib.loads((source / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    except (OSError, tomllib.TOMLDecodeError, KeyError):
        raise InstallError(f"{source} is no Callfloor: it has no pyproject.toml with a version") from None
    version = str(found)
    if not VERSION.fullmatch(version):
        raise InstallError(f"{source}/pyproject.toml: {version!r} is no version")
    return version


def name_of(source: Path) -> str:
    """What its release is called: the version, and in a git checkout the commit, so that a pull is an upgrade."""
    version = version_of(source)
    if not (source / ".git").exists() or shutil.which("git") is None:
        return version
    # The checkout may belong to the person who says sudo.
    words = ["git", "-c", f"safe.directory={source}", "-C", str(source), "rev-parse", "--short=8", "HEAD"]
    return f"{version}+g{run(words, why='Reading the commit').strip()}"


def pinned(constraints: str, names: Iterable[str]) -> str:
    """The entries of ``constraints.txt`` for these packages, hashes and all. Raises ``InstallError``."""
    entries = {
        match[1]: match[0] for match in re.finditer(r"(?m)^([a-z0-9_.-]+)==[^\n]*\n(?:[ \t]+[^\n]*\n)*", constraints)
    }
    wanted = list(names)
    missing = [name for name in wanted if name not in entries]
    if missing:
        raise InstallError(f"constraints.txt does not pin {', '.join(missing)}")
    return "".join(entries[name] for name in wanted)


def packages_from_index(venv: Path, source: Path, *, wheels: Path | None = None) -> None:
    """Install the pinned packages, each checked against its hash; ``wheels``: from this folder, without a network."""
    names = (source / "setup" / "runtime_packages.txt").read_text(encoding="utf-8").split()
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder, "packages.txt")
        wanted.write_text(pinned((source / "constraints.txt").read_text(encoding="utf-8"), names), encoding="utf-8")
        words = [
            str(venv / "bin" / "python"),
            "-m",
            "pip",
            "install",
            "--disable-pip-version-check",
            "--no-input",
            "-q",
        ]
        if wheels is not None:
            words += ["--no-index", "--find-links", str(wheels)]
        run([*words, "--no-deps", "--require-hashes", "-r", str(wanted)], why="Installing Python packages")


def make_release(
    source: Path, target: Path, version: str, *, install_packages: Callable[[Path], None], has_pip: bool = True
) -> None:
    """Make the release ``target`` of the checkout ``source``. ``install_packages`` gets the virtual environment.

    Raises ``InstallError``; then nothing of it is left.
    """
    missing = [name for name in BUILT if not (source / name).is_file()]
    if missing:
        raise InstallError(f"{source} lacks {', '.join(missing)}: run `make setup` there once")
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{version}-", dir=target.parent))
    try:
        unfinished.chmod(0o755)
        program = unfinished / "program"
        ignored = shutil.ignore_patterns(".*_cache", "node_modules")
        for part in PARTS:
            if (source / part).is_dir():
                shutil.copytree(source / part, program / part, ignore=ignored, symlinks=True)
        for name in FILES:
            if (source / name).is_file():
                shutil.copy(source / name, program / name)
        venv = unfinished / "venv"
        words = [sys.executable, "-m", "venv", *([] if has_pip else ["--without-pip"]), str(venv)]
        run(words, why="Making the virtual environment")
        install_packages(venv)
        put_on_path(venv, version)
        command = unfinished / "bin" / "callfloor"
        command.parent.mkdir()
        command.write_text(COMMAND, encoding="utf-8")
        pause = command.with_name("pause")
        pause.write_text(PAUSE, encoding="utf-8")
        _readable_by_all(unfinished)
        for script in (command, pause):
            script.chmod(0o755)
        run([str(venv / "bin/python"), "-m", "compileall", "-q", str(program)], why="Compiling the program")
        (unfinished / "gate.hash").write_text(gate_hash(unfinished), encoding="utf-8")
        unfinished.rename(target)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def put_on_path(venv: Path, version: str) -> None:
    """The program is found by a relative path, and by its name and version like any installed package."""
    site = next(venv.glob("lib/python3*/site-packages"))
    (site / "callfloor.pth").write_text("../../../../program\n", encoding="utf-8")
    about = site / f"callfloor-{version}.dist-info"
    about.mkdir()
    lines = ("Metadata-Version: 2.1", "Name: callfloor", f"Version: {version}", "")
    (about / "METADATA").write_text("\n".join(lines), encoding="utf-8")


def _readable_by_all(folder: Path) -> None:
    # The checkout may be root's private one; the program runs as a user of its own and may write none of it.
    for base, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(base, name)
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def gate_hash(release: Path) -> str:
    """What the gate of a release runs: its own modules with all they import, and the versions of the packages.

    A release whose hash is the same need not restart the gate, and no browser's phone loses its connection.
    """
    python = str(release / "venv/bin/python")
    listed = run([python, "-c", _LOADED_BY_THE_GATE], why="Trying the new release")
    total = hashlib.sha256(sys.version.encode())
    program = (release / "program").resolve()
    for line in sorted(listed.splitlines()):
        path = Path(line)
        if path.is_relative_to(program):
            total.update(str(path.relative_to(program)).encode() + b"\0" + path.read_bytes())
    packages = sorted(path.name for path in (release / "venv").glob("lib/python3*/site-packages/*.dist-info"))
    total.update("\n".join(name for name in packages if not name.startswith("callfloor-")).encode())
    return total.hexdigest()


_LOADED_BY_THE_GATE = """\
import importlib.util, sys
if importlib.util.find_spec("cti.gate") is not None:
    import importlib, pkgutil
    gate = importlib.import_module("cti.gate")
    for part in pkgutil.iter_modules(getattr(gate, "__path__", []), "cti.gate."):
        importlib.import_module(part.name)
for module in list(sys.modules.values()):
    path = getattr(module, "__file__", None)
    if path and module.__name__.partition(".")[0] in {"cti", "crm_core", "web"}:
        print(path)
# What the daemon runs must load, too, before anything is switched to it.
import cti.cli
import cti.daemon
"""


def forget_old(releases: Path, keep: Iterable[str]) -> list[str]:
    """Remove the oldest releases beyond ``KEPT``, never one of ``keep``; returns what was removed."""
    in_use = set(keep)
    found = [path for path in releases.iterdir() if path.is_dir() and not path.name.startswith(".")]
    found.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    removed = []
    for path in found[KEPT:]:
        if path.name not in in_use:
            shutil.rmtree(path)
            removed.append(path.name)
    return removed
