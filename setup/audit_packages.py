"""``make audit``: are faults known in the packages that Callfloor stands on? Python's by pip-audit, from a virtual
environment of its own under ``.cache``, over ``constraints.txt``; the front end's by ``npm audit``.

Ends with 1 when a fault is known, and with 2 when nobody could be asked: no answer is not a good one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = Path(os.environ.get("CALLFLOOR_CACHE") or ROOT / ".cache").resolve() / "audit"
CLEAN, FAULTY, UNASKED = 0, 1, 2


def main() -> int:
    """Ask for both, so that one silent service does not hide what the other knows."""
    results = [python_packages(), front_end_packages()]
    for state in (FAULTY, UNASKED):
        if state in results:
            return state
    return CLEAN


def python_packages() -> int:
    """What pip-audit says of the pinned versions."""
    program = FOLDER / "bin" / "pip-audit"
    if not program.exists():
        venv.create(FOLDER, with_pip=True, clear=True)
        words = [str(FOLDER / "bin" / "pip"), "install", "-qq", "--disable-pip-version-check", "pip-audit"]
        if subprocess.run(words, check=False).returncode != 0:
            return unasked("Python", "pip-audit could not be installed")
    words = [str(program), "--requirement", str(ROOT / "constraints.txt"), "--disable-pip", "--require-hashes"]
    done = subprocess.run([*words, "--format", "json"], capture_output=True, text=True, check=False)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return unasked("Python", complaint(done.stderr))
    faults = [(one["name"], one["version"], fault) for one in packages for fault in one.get("vulns", ())]
    for name, version, fault in faults:
        print(f"Python: {name} {version}: {fault['id']}, mended in {', '.join(fault['fix_versions']) or 'no version'}")
    if faults:
        return FAULTY
    skipped = [one["skip_reason"] for one in packages if "skip_reason" in one]
    if skipped:
        return unasked("Python", f"{len(skipped)} of {len(packages)} packages: {skipped[0]}")
    print(f"Python: no fault is known in {len(packages)} packages")
    return CLEAN


def front_end_packages() -> int:
    """What npm says of the lock file."""
    npm = shutil.which("npm")
    if npm is None:
        return unasked("Front end", "there is no npm")
    done = subprocess.run(
        [npm, "audit", "--package-lock-only", "--json"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    try:
        counts = json.loads(done.stdout)["metadata"]["vulnerabilities"]
    except (ValueError, KeyError, TypeError):
        return unasked("Front end", complaint(done.stderr))
    if counts["total"]:
        print(f"Front end: {counts['total']} packages have known faults; `npm audit` names them")
        return FAULTY
    print("Front end: no fault is known")
    return CLEAN


def unasked(part: str, why: str) -> int:
    """Say that nobody could be asked."""
    print(f"{part}: nobody could be asked ({why}). Try again where the advisory services can be reached.")
    return UNASKED


def complaint(text: str) -> str:
    """What a program complained of, as far as it fits a line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in lines if "error" in line.lower()), lines[0] if lines else "no answer")[:200]


if __name__ == "__main__":
    sys.exit(main())
