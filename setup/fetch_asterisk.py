"""Unpack a real Asterisk into a folder, without root and without touching the system: ``fetch_asterisk.py 22``.

Debian's package mirror carries 22 in ``sid`` and 16 in ``bullseye``. Its address is taken from this machine's own apt
configuration. apt gets lists, cache and an empty package status of its own, so that it fetches every library that
Asterisk needs, and ``dpkg-deb -x`` only unpacks.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from cti.asterisk.local_pbx import AsteriskProgram, LocalPbxError, installed_root

SUITES = {22: "sid", 16: "bullseye"}
PACKAGES = ("asterisk", "asterisk-core-sounds-en-gsm", "asterisk-moh-opsound-gsm")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
TRIES = 4


class FetchError(Exception):
    """Asterisk could not be fetched; the text says why and what to do."""


def debian_mirror() -> str:
    """The address of the Debian mirror this machine uses."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN) $(SUITE) $(REPO_URI)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.splitlines()
    for line in listed:
        *_, address = line.split(" ")
        if line.startswith("Debian ") and "-security" not in line and "-debug" not in address:
            return address
    raise FetchError("apt on this machine knows no Debian mirror: use docker-compose.yml, or the simulated PBX")


def with_retries(words: list[str], environment: dict[str, str], log: Path) -> None:
    """Run a command that may meet a bad moment of the network."""
    for turn in range(1, TRIES + 1):
        with log.open("ab") as output:
            if subprocess.run(words, env=environment, stdout=output, stderr=output, check=False).returncode == 0:
                return
        if turn < TRIES:
            print(f"  that did not work, trying again ({turn} of {TRIES - 1}) ...", flush=True)
            time.sleep(5 * turn)
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
    raise FetchError(f"{' '.join(words)} failed {TRIES} times:\n{tail}")


def fetch(version: int) -> Path:
    """Unpack ``version`` unless it is there and runs; returns its folder. Raises ``FetchError``."""
    root = installed_root(version)
    if runs(root):
        return root
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise FetchError("There is no apt on this machine: use docker-compose.yml, or the simulated PBX")
    if not KEYRING.is_file():
        raise FetchError(f"{KEYRING} is missing: apt-get install debian-archive-keyring")
    root.parent.mkdir(parents=True, exist_ok=True)
    work = root.with_name(f"{root.name}.apt")
    fresh = root.with_name(f"{root.name}.new")
    for folder in (work / "lists/partial", work / "cache/archives/partial"):
        folder.mkdir(parents=True, exist_ok=True)
    (work / "status").write_text("")
    (work / "sources.list").write_text(f"deb [signed-by={KEYRING}] {debian_mirror()} {SUITES[version]} main\n")
    (work / "apt.conf").write_text(
        f'Dir::Etc::sourcelist "{work}/sources.list";\n'
        'Dir::Etc::sourceparts "/nonexistent";\n'
        f'Dir::State::Lists "{work}/lists";\n'
        f'Dir::State::status "{work}/status";\n'
        f'Dir::Cache "{work}/cache";\n'
        'APT::Install-Recommends "false";\n'
        'APT::Sandbox::User "";\n'
        'Acquire::Retries "3";\n'
        'Debug::NoLocking "1";\n'
    )
    environment = {**os.environ, "APT_CONFIG": str(work / "apt.conf"), "DEBIAN_FRONTEND": "noninteractive"}
    log = work / "apt.log"
    log.unlink(missing_ok=True)
    print(f"Asterisk {version}: fetching Debian's packages (about 85 MB, once) ...", flush=True)
    with_retries(["apt-get", "-q", "update"], environment, log)
    with_retries(["apt-get", "-q", "-y", "install", "--download-only", *PACKAGES], environment, log)
    shutil.rmtree(fresh, ignore_errors=True)
    packages = sorted((work / "cache/archives").glob("*.deb"))
    print(f"Asterisk {version}: unpacking {len(packages)} packages ...", flush=True)
    for package in packages:
        subprocess.run(["dpkg-deb", "-x", str(package), str(fresh)], check=True)
    if not runs(fresh):
        raise FetchError(f"The Asterisk in {fresh} does not run on this machine")
    if root.is_symlink():
        root.unlink()
    shutil.rmtree(root, ignore_errors=True)
    fresh.rename(root)
    shutil.rmtree(work, ignore_errors=True)
    return root


def runs(root: Path) -> bool:
    """Whether an Asterisk is there and answers with its version."""
    try:
        program = AsteriskProgram.find(root)
    except LocalPbxError:
        return False
    return subprocess.run([*program.command, "-V"], capture_output=True, check=False).returncode == 0


def main() -> int:
    try:
        for version in map(int, sys.argv[1:]):
            root = fetch(version)
            told = subprocess.run(
                [*AsteriskProgram.find(root).command, "-V"], capture_output=True, check=True, text=True
            )
            print(f"{told.stdout.strip()} is ready", flush=True)
    except FetchError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
