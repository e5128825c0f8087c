"""``callfloor config export|import``: the configured centre as TOML files.

A running daemon takes what was imported by itself (``cti.plan_watch``), without touching calls.
"""

from __future__ import annotations

from pathlib import Path

from crm_core import centre, centre_files, configuring
from crm_core.centre_files import BadFiles
from crm_core.configuring import By, Difference
from crm_core.database import Database
from crm_core.errors import Unfit
from cti.plans import faults

LONGEST_FILE = 20_000_000


async def export_centre(database: Database, target: Path) -> list[Path]:
    """Write the stored centre to ``target``: one file if it ends in ``.toml``, else a folder with a file for each kind.
    Gives the files. Raises ``BadFiles`` when they can't be written."""
    async with database.read() as connection:
        stored = await centre.load_centre(connection)
    is_one = target.suffix == ".toml"
    texts = {target.name: centre_files.written_as_one(stored)} if is_one else centre_files.written(stored)
    folder = target.parent if is_one else target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            half = folder / f".{name}.part"
            half.write_text(text, encoding="utf-8")
            half.replace(folder / name)
    except OSError as error:
        raise BadFiles([f"{error.filename or folder}: {error.strerror}"]) from None
    return [folder / name for name in texts]


async def import_centre(database: Database, source: Path, by: By, *, is_dry: bool = False) -> list[Difference]:
    """Make the stored centre what ``source`` (a file, or a folder of ``*.toml``) says, all of it or nothing; gives what
    differs. ``is_dry``: only look. Raises ``BadFiles`` with everything that is wrong, by file and field."""
    texts = _read(source)
    async with database.begin() as connection:
        wanted = centre_files.understood(texts, await centre.load_centre(connection))
        try:
            return await configuring.replace_all(connection, by, wanted, checker=faults, is_dry=is_dry)
        except Unfit as unfit:
            raise centre_files.blamed(unfit, texts) from None


def _read(source: Path) -> dict[str, str]:
    paths = sorted(source.glob("*.toml")) if source.is_dir() else [source]
    if not paths:
        raise BadFiles([f"{source}: holds no .toml file"])
    texts = {}
    for path in paths:
        try:
            if path.stat().st_size > LONGEST_FILE:
                raise BadFiles([f"{path}: is longer than {LONGEST_FILE} bytes"])
            texts[path.name] = path.read_text(encoding="utf-8")
        except OSError as error:
            raise BadFiles([f"{path}: {error.strerror}"]) from None
        except UnicodeDecodeError:
            raise BadFiles([f"{path}: is not UTF-8"]) from None
    return texts
