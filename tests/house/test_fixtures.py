"""What every other test leans on."""

from __future__ import annotations

import asyncpg
import pytest


@pytest.mark.parametrize("turn", [1, 2])
async def test_each_test_gets_an_empty_postgresql_database(postgres_url: str, turn: int) -> None:
    connection = await asyncpg.connect(postgres_url.replace("+asyncpg", ""))
    try:
        await connection.execute("CREATE TABLE t (n integer)")
        await connection.execute("INSERT INTO t VALUES ($1)", turn)
        assert await connection.fetchval("SELECT count(*) FROM t") == 1
        assert await connection.fetchval("SHOW server_encoding") == "UTF8"
    finally:
        await connection.close()
