"""``python -m cti.gate``: what ``callfloor gate`` becomes, with nothing of the daemon loaded."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import resource
import signal
import sys
import time
from pathlib import Path

import uvloop

from cti.errors import CallfloorError
from cti.gate.server import Gate
from cti.settings import Settings, load


async def serve(settings: Settings) -> None:
    """Run until the process is told to stop (SIGTERM, SIGINT)."""
    gate = Gate(settings, clock=time.time)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    loop.add_signal_handler(signal.SIGHUP, gate.reload)
    await gate.start()
    try:
        logging.getLogger(__name__).info("= %s on %s:%d", settings.gate.origin, settings.gate.host, gate.port)
        await stopping.wait()
    finally:
        await gate.close()


def _take_all_files() -> None:
    """Two per phone and two per desk; the usual 1,024 are soon gone."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> None:
    """Entry point: errors of ours are one plain line."""
    parser = argparse.ArgumentParser(prog="callfloor gate", description="Hold the one HTTPS port of the site.")
    default = Path(os.environ.get("CALLFLOOR_CONFIG", "config/callfloor.toml"))
    parser.add_argument("-c", "--config", type=Path, default=default, help="The start-up file.")
    parser.add_argument("--log-level", default="info", help="debug, info, warning or error.")
    given = parser.parse_args()
    logging.basicConfig(
        stream=sys.stderr,
        level=given.log_level.upper(),
        format="%(asctime)s %(levelname)-7s %(name)s %(message)s",
        force=True,
    )
    _take_all_files()
    # A core would hold keys and passes.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        uvloop.run(serve(load(given.config, has_pbx_secrets=False)))
    except (CallfloorError, OSError) as error:
        sys.stderr.write(f"callfloor gate: {error}\n")
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
