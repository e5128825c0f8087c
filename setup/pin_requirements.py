"""Write ``constraints.txt`` anew from ``pyproject.toml``: every package with its version and hashes, no address.

Needs pip-tools (``pip install pip-tools``). Run when a dependency changes: ``make pins``.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "constraints.txt"
RUNTIME = ROOT / "setup" / "runtime_packages.txt"
"""The names of those that an installation gets: the project's dependencies with all that they need."""


def main() -> int:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    runtime = project["project"]["dependencies"]
    wanted = [*runtime, *project["dependency-groups"]["dev"], *project["build-system"]["requires"]]
    # Only the public index decides: neither this machine's wheels nor its pip settings may get into the file.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PIP_") or key == "PIP_CERT"}
    environment |= {"PIP_CONFIG_FILE": os.devnull, "CUSTOM_COMPILE_COMMAND": "make pins"}
    with tempfile.TemporaryDirectory() as folder:
        names, found = Path(folder, "callfloor.in"), Path(folder, "runtime.txt")
        for requirements, target in ((wanted, TARGET), (runtime, found)):
            names.write_text("\n".join(requirements) + "\n")
            done = subprocess.run(
                [
                    *("pip-compile", "--quiet", "--generate-hashes", "--allow-unsafe", "--strip-extras"),
                    *("--no-emit-index-url", "--no-emit-trusted-host", "--no-emit-find-links", "--no-annotate"),
                    *("--output-file", str(target), str(names)),
                ],
                env=environment,
                check=False,
            )
            if done.returncode != 0:
                return done.returncode
        RUNTIME.write_text("".join(f"{name}\n" for name in re.findall(r"(?m)^([a-z0-9_.-]+)==", found.read_text())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
