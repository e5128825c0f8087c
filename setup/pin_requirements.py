"""Write ``constraints.txt`` anew from ``pyproject.toml``: every package with its version and hashes, no address.

Needs pip-tools (``pip install pip-tools``). Run when a dependency changes: ``make pins``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "constraints.txt"


def main() -> int:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [
        *project["project"]["dependencies"],
        *project["dependency-groups"]["dev"],
        *project["build-system"]["requires"],
    ]
    # Only the public index decides: neither this machine's wheels nor its pip settings may get into the file.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PIP_") or key == "PIP_CERT"}
    environment |= {"PIP_CONFIG_FILE": os.devnull, "CUSTOM_COMPILE_COMMAND": "make pins"}
    with tempfile.TemporaryDirectory() as folder:
        names = Path(folder, "callfloor.in")
        names.write_text("\n".join(wanted) + "\n")
        done = subprocess.run(
            [
                *("pip-compile", "--quiet", "--generate-hashes", "--allow-unsafe", "--strip-extras"),
                *("--no-emit-index-url", "--no-emit-trusted-host", "--no-emit-find-links", "--no-annotate"),
                *("--output-file", str(TARGET), str(names)),
            ],
            env=environment,
            check=False,
        )
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
