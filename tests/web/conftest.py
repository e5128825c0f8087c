"""The filled database is made once for the run and copied for each test."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from crm_core.database import Database
from tests.web.site import Site, fill

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


async def _make(url: str) -> None:
    database = Database(url)
    await database.open()
    await fill(database)
    await database.close()


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("web") / "site.db"
    asyncio.run(_make(f"sqlite+aiosqlite:///{path}"))
    return path


@pytest_asyncio.fixture
async def site(filled: Path, tmp_path: Path) -> AsyncIterator[Site]:
    """A site of this test alone."""
    path = tmp_path / "site.db"
    shutil.copy(filled, path)
    database = Database(f"sqlite+aiosqlite:///{path}")
    await database.open(may_migrate=False)
    site = Site(database, tmp_path)
    yield site
    await site.close()
    await database.close()
