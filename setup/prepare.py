"""Set up what a make target needs, and nothing twice: ``prepare.py check|test|demo``.

Each step is remembered by the content of what it was made from (in ``.cache/stamps``): a second run looks and goes on.
Runs on the machine's own Python with nothing installed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("CALLFLOOR_CACHE") or ROOT / ".cache").resolve()
VENV = ROOT / ".venv"
WITHOUT = frozenset(part.strip() for part in os.environ.get("CALLFLOOR_WITHOUT", "").split(",") if part.strip())


class SetupError(Exception):
    """A step failed; the text says what to do."""


@dataclass(frozen=True)
class Need:
    """Something that a Debian package brings. ``part``: how ``CALLFLOOR_WITHOUT`` names it, if it may be left out."""

    package: str
    is_there: Callable[[], bool]
    targets: frozenset[str]
    part: str = ""


def command(*names: str) -> Callable[[], bool]:
    return lambda: all(shutil.which(name) is not None for name in names)


def any_file(*patterns: str) -> Callable[[], bool]:
    return lambda: any(next(Path("/").glob(pattern), None) is not None for pattern in patterns)


ALL = frozenset({"check", "test", "demo"})
PHONES = frozenset({"test", "demo"})
TEST = frozenset({"test"})
INSTALL = frozenset({"install"})
"""``./install``; ``install-built`` where the source brings its front-end along."""
NEEDS = (
    Need("python3-venv", lambda: importlib.util.find_spec("ensurepip") is not None, ALL | INSTALL | {"install-built"}),
    Need("nodejs", command("node"), PHONES | INSTALL),
    Need("npm", command("npm"), PHONES | INSTALL),
    Need("sip-tester", command("sipp"), PHONES, "asterisk"),
    Need("espeak-ng", command("espeak-ng"), frozenset({"demo", "install-prompts"}), "asterisk"),
    Need("chromium", command("chromium"), TEST, "chromium"),
    Need("fonts-noto-cjk", any_file("usr/share/fonts/opentype/noto/*CJK*"), TEST, "chromium"),
    Need("postgresql", any_file("usr/lib/postgresql/*/bin/initdb"), TEST, "postgres"),
)


def run(words: Sequence[str | Path], *, why: str, quiet: bool = True) -> None:
    """Run a command; its output is shown only when it fails."""
    done = subprocess.run(
        [str(word) for word in words],
        cwd=ROOT,
        check=False,
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT if quiet else None,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode != 0:
        output = (done.stdout or b"").decode(errors="replace")
        tail = "\n".join(output.splitlines()[-30:])
        raise SetupError(f"{why} failed: {' '.join(map(str, words))}\n{tail}")


def with_retries(words: Sequence[str | Path], *, why: str, tries: int = 3) -> None:
    """The same, for what may meet a bad moment of the network."""
    for turn in range(1, tries):
        try:
            run(words, why=why)
        except SetupError:
            print(f"  that did not work, trying again ({turn} of {tries - 1}) ...", flush=True)
            time.sleep(5 * turn)
        else:
            return
    run(words, why=why)


def content_hash(paths: Iterable[Path], *more: str) -> str:
    """One hash over the contents of files."""
    total = hashlib.sha256("\0".join(more).encode())
    for path in sorted(paths):
        total.update(str(path.relative_to(ROOT)).encode() + b"\0")
        total.update(path.read_bytes())
    return total.hexdigest()


def once(name: str, made_of: str, results: Sequence[Path], say: str, work: Callable[[], None]) -> None:
    """Do ``work`` unless it was done with just this content and its results are still there."""
    stamp = CACHE / "stamps" / name
    if stamp.is_file() and stamp.read_text() == made_of and all(path.exists() for path in results):
        return
    print(f"{say} ...", flush=True)
    work()
    missing = [str(path) for path in results if not path.exists()]
    if missing:
        raise SetupError(f"{say}: done, but {', '.join(missing)} did not come of it")
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(made_of)


def has_apt() -> bool:
    return shutil.which("apt-get") is not None


def debian_packages(target: str) -> None:
    """Install what is missing, as root or through sudo without a password; otherwise say what to install."""
    missing = [
        need.package for need in NEEDS if target in need.targets and need.part not in WITHOUT and not need.is_there()
    ]
    install_from_debian(missing, target)


def install_from_debian(missing: Sequence[str], target: str) -> None:
    """Install these packages. Raises ``SetupError``."""
    if not missing:
        return
    names = " ".join(missing)
    prefix: list[str] = []
    if has_apt() and os.geteuid() != 0:
        may_sudo = shutil.which("sudo") is not None
        if may_sudo and subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0:
            prefix = ["sudo", "-n"]
    if not has_apt() or (os.geteuid() != 0 and not prefix):
        how = f"sudo apt-get install {names}" if has_apt() else f"the equivalents of Debian's packages {names}"
        if target == "demo" and not has_apt():
            print(f"Not installed: {names}. The demo does without what these bring.", flush=True)
            return
        raise SetupError(
            f"Missing on this machine: {names}\n  Install: {how}\n"
            "  or leave parts out of the tests: CALLFLOOR_WITHOUT=asterisk,chromium,postgres"
        )
    print(f"Installing from Debian: {names} ...", flush=True)
    environment = ["env", "DEBIAN_FRONTEND=noninteractive"]
    with_retries([*prefix, *environment, "apt-get", "-q", "update"], why="Reading Debian's package lists")
    install = ["apt-get", "-q", "-y", "--no-install-recommends", "-o", "Acquire::Retries=3", "install", *missing]
    with_retries([*prefix, *environment, *install], why="Installing packages")


def python_packages() -> None:
    """The virtual environment with exactly the pinned packages, and the project itself in it."""
    pip = VENV / "bin" / "pip"
    pins = ROOT / "constraints.txt"

    def install() -> None:
        if not pip.exists():
            run([sys.executable, "-m", "venv", VENV], why="Making the virtual environment")
        quick = ["--disable-pip-version-check", "--no-input", "-q"]
        with_retries([pip, "install", *quick, "--require-hashes", "-r", pins], why="Installing Python packages")
        run([pip, "install", *quick, "--no-deps", "--no-build-isolation", "-e", ROOT], why="Installing Callfloor")

    once(
        "python",
        content_hash([pins, ROOT / "pyproject.toml"], sys.version),
        [VENV / "bin" / "callfloor", VENV / "bin" / "pytest"],
        "Installing Python packages, each checked against its hash",
        install,
    )


def front_end() -> None:
    """The softphone's SIP stack and htmx, from npm into ``web/static/vendor``."""
    vendor = ROOT / "web" / "static" / "vendor"

    def build() -> None:
        with_retries(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], why="Fetching from npm")
        run(["node", "setup/build_frontend.mjs"], why="Bundling the softphone")

    sources = [ROOT / "package.json", ROOT / "package-lock.json", ROOT / "setup" / "build_frontend.mjs"]
    results = [vendor / "jssip.js", vendor / "htmx.js"]
    once("front-end", content_hash(sources), results, "Building the softphone from npm's packages", build)


def translations() -> None:
    """The pages' languages, compiled."""
    sources = sorted((ROOT / "web" / "locales").rglob("*.po"))

    def compile_all() -> None:
        for source in sources:
            language = source.relative_to(ROOT / "web" / "locales").parts[0]
            words = ["compile", "-i", source, "-o", source.with_suffix(".mo"), "-l", language]
            run([VENV / "bin" / "pybabel", "-q", *words], why="Compiling translations")

    results = [source.with_suffix(".mo") for source in sources]
    once("translations", content_hash(sources), results, "Compiling the translations", compile_all)


def asterisk(versions: Sequence[int]) -> None:
    """A real Asterisk of our own. Where there is no apt the demo goes on without and says so itself."""
    for version in versions:
        named = os.environ.get(f"CALLFLOOR_ASTERISK_ROOT_{version}")
        root = Path(named) if named else CACHE / "asterisk" / str(version)
        once(
            f"asterisk-{version}",
            content_hash([ROOT / "setup" / "fetch_asterisk.py"], str(root)),
            [root / "usr" / "sbin" / "asterisk"],
            f"Making sure of Asterisk {version}",
            lambda version=version: run(  # type: ignore[misc]
                [VENV / "bin" / "python", "setup/fetch_asterisk.py", str(version)],
                why=f"Fetching Asterisk {version}",
                quiet=False,
            ),
        )


def voices() -> None:
    """What the demo's callers and automatic agents say."""
    if shutil.which("espeak-ng") is None:
        return
    folder = CACHE / "voices"
    source = ROOT / "setup" / "make_voices.py"
    once(
        "voices",
        content_hash([source], str(folder)),
        [folder / "complete"],
        "Giving the callers their voices",
        lambda: run([VENV / "bin" / "python", source, folder], why="Making voices"),
    )


def prompts() -> None:
    """What callers are told and asked about recording."""
    if shutil.which("espeak-ng") is None:
        return
    folder = CACHE / "prompts"
    once(
        "prompts",
        content_hash([ROOT / "cti" / "asterisk" / "prompts.py"], str(folder)),
        [folder / "recording-announced.wav", folder / "recording-consent.wav"],
        "Speaking the announcements",
        lambda: run([VENV / "bin" / "python", "-m", "cti.asterisk.prompts", folder], why="Making announcements"),
    )


def main() -> int:
    target = sys.argv[1] if len(sys.argv) > 1 else "demo"
    if target not in ALL:
        print(f"prepare.py knows {', '.join(sorted(ALL))}; not {target}", file=sys.stderr)
        return 2
    if sys.version_info < (3, 11):
        print(f"Callfloor needs Python 3.11 or newer; {sys.executable} is {sys.version.split()[0]}", file=sys.stderr)
        return 1
    try:
        debian_packages(target)
        python_packages()
        if target in PHONES:
            front_end()
        translations()
        if target == "test" and "asterisk" not in WITHOUT:
            asterisk((22, 16))
        if target == "demo" and has_apt():
            asterisk((22,))
        if target == "demo":
            voices()
            prompts()
    except SetupError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
