"""Checking passwords without stopping the loop: argon2 in threads of its own, few at a time.

An unknown account takes as long as a wrong password (``crm_core.users.verify_password``).
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from crm_core import users
from cti.errors import Refused

MOST_WAITING = 50


@cache
def _warm_up() -> None:
    users.verify_password(None, "")


class PasswordCheck:
    """``max_parallel`` checks run at a time, ``MOST_WAITING`` may be under way; beyond that ``Refused("busy")``."""

    def __init__(self, *, max_parallel: int) -> None:
        self._threads = ThreadPoolExecutor(max_parallel, thread_name_prefix="argon2")
        self._under_way = 0
        # The hash that unknown accounts are checked against is made at the first check: not at somebody's log-in.
        self._threads.submit(_warm_up)

    async def check(self, password_hash: str | None, password: str) -> bool:
        """Is ``password`` the one behind ``password_hash``? None (unknown account) takes as long and is False."""
        if self._under_way >= MOST_WAITING:
            raise Refused("busy")
        self._under_way += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, users.verify_password, password_hash, password)
        finally:
            self._under_way -= 1

    def close(self) -> None:
        """Lets the threads go."""
        self._threads.shutdown(wait=False, cancel_futures=True)
