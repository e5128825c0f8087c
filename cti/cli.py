"""The command: ``callfloor serve|user|…``. Each command is a thin shell over one function of the program."""

from __future__ import annotations

import asyncio
import getpass
import logging
import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from crm_core import users
from crm_core.database import Database
from crm_core.errors import CrmError
from cti import daemon, settings
from cti.demo.show import Demo, must_simulate
from cti.errors import CallfloorError
from cti.simulate import Centre, Simulation

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A call-centre server for Asterisk.",
)
user_app = typer.Typer(no_args_is_help=True, help="People who log in.")
app.add_typer(user_app, name="user")

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", envvar="CALLFLOOR_CONFIG", help="The start-up file.", dir_okay=False)
]
DEFAULT_CONFIG = Path("config/callfloor.toml")


def _log_to_stderr(level: str) -> None:
    logging.basicConfig(
        stream=sys.stderr, level=level.upper(), format="%(asctime)s %(levelname)-7s %(name)s %(message)s", force=True
    )


@app.command()
def serve(
    config: ConfigOption = DEFAULT_CONFIG,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Run the daemon until it is told to stop."""
    _log_to_stderr(log_level)
    uvloop.run(daemon.serve(settings.load(config)))


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Where the demonstration keeps everything.")] = Path("var/demo"),
    port: Annotated[int, typer.Option(help="Port of the pages.")] = 8470,
    desk_port: Annotated[int, typer.Option(help="Port of the desks' sockets.")] = 8471,
    is_simulated: Annotated[bool, typer.Option("--simulated", help="Without Asterisk: nobody can be heard.")] = False,
) -> None:
    """A small call centre with real callers, on this machine."""
    _log_to_stderr("warning")
    if not is_simulated and must_simulate():
        typer.echo("There is no Asterisk and no apt to fetch one: the demonstration runs on a simulated PBX.")
        is_simulated = True
    voices = Path(os.environ.get("CALLFLOOR_CACHE") or ".cache") / "voices"
    show = Demo(folder, voices=voices, web_port=port, desk_port=desk_port, is_simulated=is_simulated, tell=typer.echo)
    asyncio.run(show.run())


@app.command()
def simulate(
    agents: Annotated[int, typer.Option(help="How many agents.")] = 8,
    calls_per_hour: Annotated[float, typer.Option(help="How many callers.")] = 120.0,
    hours: Annotated[float, typer.Option(help="How long.")] = 8.0,
    talk_s: Annotated[float, typer.Option(help="Mean talk time in seconds.")] = 150.0,
    patience_s: Annotated[float, typer.Option(help="Mean patience in seconds.")] = 90.0,
    seed: Annotated[int, typer.Option(help="The same seed tells the same day.")] = 1,
) -> None:
    """Run a described centre through the live deciding core, days in seconds."""
    described = Centre(
        agents=agents, calls_per_hour=calls_per_hour, hours=hours, talk_s=talk_s, patience_s=patience_s, seed=seed
    )
    result = Simulation(described).run()
    typer.echo(
        f"offered {result.offered} = answered {result.answered} + abandoned {result.abandoned}"
        f" + short-abandoned {result.short_abandoned} + fell back {result.fell_back}"
        f" + in progress {result.in_progress}"
    )
    typer.echo(
        f"service level {result.service_level:.1%} in {described.service_level_s} s, ASA {result.asa_s:.1f} s,"
        f" occupancy {result.occupancy:.1%}, most waiting {result.most_waiting}"
    )


@app.command()
def migrate(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Bring the database's schema up to this version."""

    async def run() -> None:
        database = Database(settings.load(config).database.url)
        await database.open()
        await database.close()

    asyncio.run(run())


@user_app.command("add")
def add_user(
    username: str,
    role: Annotated[str, typer.Option(help="agent, supervisor, campaign_manager or administrator.")],
    name: Annotated[str, typer.Option(help="As shown to others.")] = "",
    agent: Annotated[str | None, typer.Option(help="The agent that this person works as.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Add a person; the password is asked for, or read from standard input where that is no terminal."""
    password = getpass.getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")

    async def run() -> None:
        database = Database(settings.load(config).database.url)
        await database.open()
        try:
            async with database.begin() as connection:
                await users.create_user(
                    connection,
                    username=username,
                    name=name or username,
                    password_hash=users.hash_password(password),
                    role=role,
                    agent=agent,
                    now=time.time(),
                )
        finally:
            await database.close()

    asyncio.run(run())
    typer.echo(f"{username} may log in.")


def main() -> None:
    """Entry point: errors of ours are one plain line, everything else is a fault and shows where."""
    try:
        app()
    except (CallfloorError, CrmError) as error:
        typer.echo(f"callfloor: {error}", err=True)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
