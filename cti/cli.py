"""The command: ``callfloor serve|user|…``. Each command is a thin shell over one function of the program.

What is large is imported by the command that needs it: nobody waits for the daemon to load before a backup.
"""

from __future__ import annotations

import asyncio
import datetime
import getpass
import json
import logging
import os
import pwd
import random
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from crm_core import audit, users
from crm_core.database import Database, DatabaseAway, known_schema
from crm_core.errors import CrmError
from cti import backup as backups
from cti import settings
from cti.errors import CallfloorError
from cti.gate import certificates
from cti.install import commands as installing
from cti.install.machine import InstallError
from cti.install.places import Places
from cti.install.steps import has_own_pbx
from cti.whatif import commands as what_if

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncConnection

T = TypeVar("T")

log = logging.getLogger(__name__)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A call-centre server for Asterisk.",
)
user_app = typer.Typer(no_args_is_help=True, help="People who log in.")
app.add_typer(user_app, name="user")
config_app = typer.Typer(no_args_is_help=True, help="The configured centre as files.")
app.add_typer(config_app, name="config")
certificate_app = typer.Typer(no_args_is_help=True, help="The certificate of the site.")
app.add_typer(certificate_app, name="certificate")

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", envvar="CALLFLOOR_CONFIG", help="The start-up file.", dir_okay=False)
]
DEFAULT_CONFIG = Path("config/callfloor.toml")


def _log_to_stderr(level: str) -> None:
    logging.basicConfig(
        stream=sys.stderr, level=level.upper(), format="%(asctime)s %(levelname)-7s %(name)s %(message)s", force=True
    )


def _keep_to_ourselves() -> None:
    """What is written from here on nobody else on the machine reads; a core would hold secrets and callers."""
    os.umask(os.umask(0o077) | 0o027)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@app.command()
def serve(
    config: ConfigOption = DEFAULT_CONFIG,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Run the daemon until it is told to stop."""
    import uvloop

    from cti import daemon

    _log_to_stderr(log_level)
    _keep_to_ourselves()
    uvloop.run(daemon.serve(settings.load(config)))


@app.command()
def gate(
    config: ConfigOption = DEFAULT_CONFIG,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Hold the one HTTPS port of the site; a process of its own, which outlives the daemon."""
    words = [sys.executable, "-m", "cti.gate", "--config", str(config), "--log-level", log_level]
    # It becomes the gate, which loads nothing of the daemon.
    os.execv(sys.executable, words)  # noqa: S606


@certificate_app.command("office")
def office_certificate(
    names: Annotated[list[str], typer.Option("--name", help="A host name of the site; may be given again.")],
    addresses: Annotated[list[str] | None, typer.Option("--ip", help="An address of the site.")] = None,
    folder: Annotated[Path, typer.Option(help="Where the files go.", file_okay=False)] = Path("var/tls"),
) -> None:
    """Make an authority of the office's own, and the site's certificate from it."""
    wanted = certificates.Names(tuple(name.lower() for name in names), tuple(addresses or ()))
    certificates.make_office(folder, wanted, now=datetime.datetime.now(datetime.UTC))
    typer.echo(certificates.how_to_trust(folder.resolve(), [*wanted.hosts, *wanted.addresses]))


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Where the demonstration keeps everything.")] = Path("var/demo"),
    port: Annotated[int, typer.Option(help="Port of the pages.")] = 8470,
    desk_port: Annotated[int, typer.Option(help="Port of the desks' sockets.")] = 8471,
    is_simulated: Annotated[bool, typer.Option("--simulated", help="Without Asterisk: nobody can be heard.")] = False,
) -> None:
    """A small call centre with real callers, on this machine."""
    from cti.demo.show import Demo, must_simulate

    _log_to_stderr("warning")
    if not is_simulated and must_simulate():
        typer.echo("There is no Asterisk and no apt to fetch one: the demonstration runs on a simulated PBX.")
        is_simulated = True
    voices = Path(os.environ.get("CALLFLOOR_CACHE") or ".cache") / "voices"
    show = Demo(folder, voices=voices, web_port=port, desk_port=desk_port, is_simulated=is_simulated, tell=typer.echo)
    asyncio.run(show.run())


@app.command()
def migrate(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Bring the database's schema up to this version."""

    async def run() -> None:
        database = Database(settings.load(config).database.url)
        await database.open()
        await database.close()

    asyncio.run(run())


@app.command()
def rebuild(
    since: Annotated[
        datetime.datetime | None, typer.Option(help="Only interactions that began since then (local time).")
    ] = None,
    is_dry: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Write interactions anew from the journal into the database. The daemon may run meanwhile."""
    from cti.rebuild import rebuild_interactions

    since_at = 0.0 if since is None else since.timestamp()
    found = asyncio.run(rebuild_interactions(settings.load(config), since_at=since_at, is_dry=is_dry))
    typer.echo(
        f"{found.facts} facts read: {found.new} interactions {'would be ' if is_dry else ''}new,"
        f" {found.changed} {'would change' if is_dry else 'changed'}, {found.same} as they were,"
        f" {found.unfinished} not over and left to the daemon"
    )
    for interaction, columns in found.differences.items():
        typer.echo(f"  {interaction}: {', '.join(columns)}")


@app.command("pbx-agent")
def run_pbx_agent(
    config: Annotated[Path, typer.Option("--config", "-c", help="The agent's own settings.", dir_okay=False)] = Path(
        "/etc/callfloor/pbx-agent.toml"
    ),
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """On a PBX that shares no disk with the daemon: bring its records and recordings there."""
    from cti import pbx_agent

    _log_to_stderr(log_level)
    _keep_to_ourselves()
    # Spreads the tries of many PBXs; nothing secret hangs on it.
    agent = pbx_agent.PbxAgent(pbx_agent.load(config), jitter=random.Random())  # noqa: S311
    asyncio.run(agent.run())


@app.command(hidden=True)
def schema(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """The schema that the database has, and the one that this release wants, as JSON. An upgrade asks both releases."""

    async def run() -> str | None:
        database = Database(settings.load(config).database.url)
        try:
            return await database.stored_schema()
        finally:
            await database.close()

    typer.echo(json.dumps({"stored": asyncio.run(run()) or "", "known": known_schema()}))


@app.command()
def backup(
    to: Annotated[Path, typer.Option(help="The folder in which the backup's folder is made.", file_okay=False)],
    with_recordings: Annotated[bool, typer.Option("--with-recordings", help="The files too, not only a list.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Database, journal, settings and the list of recordings into a new folder, while everything runs."""
    now = datetime.datetime.now(datetime.UTC)
    typer.echo(backups.back_up(settings.load(config), config, to, at=now, with_recordings=with_recordings))


@app.command()
def restore(
    folder: Annotated[Path, typer.Argument(help="The folder of a backup.", exists=True, file_okay=False)],
    may_replace: Annotated[bool, typer.Option("--replace", help="Put the present database aside.")] = False,
    is_database_only: Annotated[bool, typer.Option("--database-only", help="Leave journal and recordings.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Bring a backup back to where the settings say. Stop the daemon first."""
    done = backups.restore(settings.load(config), folder, may_replace=may_replace, is_database_only=is_database_only)
    typer.echo(f"{done.database} is as it was; {done.journal_segments} journal segments, {done.recordings} recordings")
    if done.kept is not None:
        typer.echo(f"What was there before is in {done.kept}")


@app.command()
def doctor(
    config: ConfigOption = DEFAULT_CONFIG,
    is_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    asterisk_etc: Annotated[Path | None, typer.Option(help="Where Asterisk's files are, if not /etc/asterisk.")] = None,
    is_printing: Annotated[
        bool, typer.Option("--print-manager-conf", help="What an existing PBX needs, with the secret; nothing else.")
    ] = False,
) -> None:
    """Look at everything this installation stands on; say what to change. Ends with 2 for errors, 1 for warnings."""
    from cti.doctor import findings
    from cti.doctor.examine import examine
    from cti.doctor.machine import queues_of
    from cti.existing_pbx import printed

    if is_printing:
        loaded = settings.load(config)
        queues = asyncio.run(queues_of(loaded))
        places = Places(config.resolve().parents[2])
        prompts = places.prompts if places.config == config.resolve() else None
        typer.echo("\n\n".join(printed(pbx, loaded.recordings, prompts=prompts, queues=queues) for pbx in loaded.pbx))
        return
    # What the parts would log is said by the findings.
    _log_to_stderr("critical")
    places = Places(config.resolve().parents[2])
    is_own = places.config == config.resolve() and has_own_pbx(places)
    if asterisk_etc is None and is_own:
        asterisk_etc = places.pbx_etc
    found = asyncio.run(examine(config, now=time.time(), asterisk_etc=asterisk_etc))
    found = findings.for_own_pbx(found) if is_own else found
    typer.echo(findings.as_json(found) if is_json else findings.as_text(found))
    raise typer.Exit(findings.exit_code(found))


app.command("simulate")(what_if.simulate)
app.command("replay")(what_if.replay)
app.command("upgrade")(installing.upgrade)
app.command("rollback")(installing.rollback)
app.command("pbx")(installing.pbx)


@config_app.command("export")
def export_config(
    target: Annotated[Path, typer.Argument(help="A file that ends in .toml, or a folder for a file of each kind.")],
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Write queues, agents, hours, menus, numbers and all else that is configured as TOML, for git."""
    from cti.config_files import export_centre

    for path in asyncio.run(_with_database(config, lambda database: export_centre(database, target))):
        typer.echo(path)


@config_app.command("import")
def import_config(
    source: Annotated[Path, typer.Argument(help="A file, or a folder of .toml files.", exists=True)],
    is_dry: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Make the configured centre what the files say, all of it or nothing. A running daemon takes it by itself."""
    from crm_core.centre_files import shown
    from crm_core.configuring import By
    from cti.config_files import import_centre

    by = By(at=time.time(), username=_console_user())
    done = asyncio.run(_with_database(config, lambda database: import_centre(database, source, by, is_dry=is_dry)))
    for line in shown(done):
        typer.echo(line)
    typer.echo(f"{len(done)} settings {'would differ' if is_dry else 'differ now'}" if done else "Nothing differs.")


async def _with_database(config: Path, work: Callable[[Database], Awaitable[T]]) -> T:
    database = Database(settings.load(config, has_pbx_secrets=False).database.url)
    await database.open()
    try:
        return await work(database)
    finally:
        await database.close()


@user_app.command("first")
def add_first_user(username: str, config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Make the database and its first administrator, unless there is one already."""
    path = settings.load(config).database.url

    async def run(password: str | None) -> bool:
        database = Database(path)
        await database.open()
        try:
            async with database.begin() as connection:
                is_there = any(
                    one.role == "administrator" and one.is_active for one in await users.all_users(connection)
                )
                if not is_there and password is not None:
                    await _add_user(connection, username, name=username, role="administrator", password=password)
        finally:
            await database.close()
        return is_there

    if asyncio.run(run(None)):
        typer.echo("There is an administrator already.")
        return
    typer.echo(f"Choose a password for {username}: at least {users.SHORTEST_PASSWORD} characters.", err=True)
    asyncio.run(run(_chosen_password()))
    typer.echo(f"{username} may log in.")


def _chosen_password() -> str:
    """Asked for twice on a terminal, otherwise one line of standard input."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    while True:
        password = getpass.getpass("Password: ")
        if len(password) < users.SHORTEST_PASSWORD:
            typer.echo(f"At least {users.SHORTEST_PASSWORD} characters.", err=True)
        elif password == getpass.getpass("Once more: "):
            return password
        else:
            typer.echo("The two were not the same.", err=True)


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
                await _add_user(connection, username, name=name or username, role=role, password=password, agent=agent)
        finally:
            await database.close()

    asyncio.run(run())
    typer.echo(f"{username} may log in.")


async def _add_user(
    connection: AsyncConnection, username: str, *, name: str, role: str, password: str, agent: str | None = None
) -> None:
    """Store a new user; the audit tells who sat at the console."""
    now = time.time()
    hashed = users.hash_password(password)
    user = await users.create_user(
        connection, username=username, name=name, password_hash=hashed, role=role, agent=agent, now=now
    )
    await audit.write(
        connection,
        at=now,
        user=_console_user(),
        action="create",
        object="user",
        object_id=str(user),
        detail={"username": username, "role": role, "agent": agent or ""},
        ip="",
        session="",
    )


def _console_user() -> str:
    """Who sits at the console. A colon keeps that apart from every name of ours."""
    account = os.environ.get("SUDO_UID") or str(os.getuid())
    try:
        account = pwd.getpwuid(int(account)).pw_name
    except (KeyError, ValueError):
        log.debug("= the account %s has no name", account)
    return f"console:{account}"


def main() -> None:
    """Entry point: errors of ours are one plain line, everything else is a fault and shows where."""
    try:
        app()
    except (CallfloorError, CrmError, InstallError, DatabaseAway) as error:
        typer.echo(f"callfloor: {error}", err=True)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
