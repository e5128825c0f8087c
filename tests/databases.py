"""A migrated, empty database, on SQLite and on PostgreSQL; migrated once for the run and copied for each test."""

from __future__ import annotations

import asyncio
import shutil
import uuid
from typing import TYPE_CHECKING

import asyncpg
import pytest
import pytest_asyncio

from crm_core.database import Database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.throwaway_postgres import ThrowawayPostgres

TEMPLATE = "crm_template"


async def _migrated(url: str) -> None:
    database = Database(url)
    await database.open()
    await database.close()


async def _administer(cluster: ThrowawayPostgres, *statements: str) -> None:
    connection = await asyncpg.connect(f"postgresql://callfloor@127.0.0.1:{cluster.port}/postgres")
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "template.db"
    asyncio.run(_migrated(f"sqlite+aiosqlite:///{path}"))
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres_cluster: ThrowawayPostgres) -> ThrowawayPostgres:
    asyncio.run(_migrated(postgres_cluster.create(TEMPLATE)))
    return postgres_cluster


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def blank_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Address of a migrated, empty database of this test alone."""
    if request.param == "sqlite":
        path = tmp_path / "crm.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite+aiosqlite:///{path}"
        return
    cluster: ThrowawayPostgres = request.getfixturevalue("postgres_template")
    name = f"crm_{uuid.uuid4().hex[:16]}"
    asyncio.run(_administer(cluster, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}"))
    yield f"postgresql+asyncpg://callfloor@127.0.0.1:{cluster.port}/{name}"
    asyncio.run(_administer(cluster, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest_asyncio.fixture
async def database(blank_url: str) -> AsyncIterator[Database]:
    opened = Database(blank_url)
    await opened.open(may_migrate=False)
    yield opened
    await opened.close()
