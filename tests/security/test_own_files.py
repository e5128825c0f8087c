"""What a running daemon leaves on the machine."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


async def test_a_running_daemon_leaves_no_core_and_nothing_that_others_can_read(tmp_path: Path) -> None:
    folder = tmp_path / "var"
    variables = {
        "CALLFLOOR_DATABASE__URL": f"sqlite+aiosqlite:///{folder}/crm.db",
        "CALLFLOOR_JOURNAL__FOLDER": str(folder / "journal"),
        "CALLFLOOR_RECORDINGS__FOLDER": str(folder / "recordings"),
        "CALLFLOOR_GATE__PASS_FOLDER": str(folder / "gate"),
        "CALLFLOOR_GATE__ORIGIN": "https://floor.test",
        "CALLFLOOR_WEB__PORT": "0",
        "CALLFLOOR_DESK_SOCKET__PORT": "0",
        "CALLFLOOR_IS_SIMULATED": "true",
    }
    folder.mkdir()
    config = tmp_path / "callfloor.toml"
    config.touch()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cti.cli", "serve", "--config", str(config)),
        cwd=ROOT,
        env={**os.environ, **variables},
        stderr=asyncio.subprocess.PIPE,
        umask=0o022,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(30):
            while b"= serving" not in (line := await process.stderr.readline()):
                assert line, "the daemon ended"
        limits = Path(f"/proc/{process.pid}/limits").read_text(encoding="ascii")
        core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
        assert core.split()[4:6] == ["0", "0"]
    finally:
        process.send_signal(signal.SIGTERM)
        await process.communicate()
    written = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.suffix for path in written} >= {".db", ".journal", ".key"}
    assert [path for path in written if stat.S_IMODE(path.stat().st_mode) & 0o007] == []
