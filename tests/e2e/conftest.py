"""Whole sites for end-to-end tests."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cti.demo.callers import Callers
from tests.conftest import Chromium
from tests.e2e.seat import Seat, open_seat
from tests.e2e.site import Site

StartSite = Callable[..., AbstractAsyncContextManager[Site]]
SitDown = Callable[[str, float], AbstractAsyncContextManager[Seat]]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: Asterisk's control socket has a limit."""
    with tempfile.TemporaryDirectory(prefix="callfloor-e2e-", ignore_cleanup_errors=True) as path:
        yield Path(path)


@pytest.fixture
def start_site(asterisk_roots: dict[int, Path], folder: Path) -> StartSite:
    """Starts a whole site; its daemon's log is shown when the test fails inside."""

    @asynccontextmanager
    async def start(version: int = 22, **settings: Any) -> AsyncIterator[Site]:
        async with Site(asterisk_roots[version], folder, version=version, **settings) as site:
            try:
                yield site
            except BaseException:
                print(site.log[-6000:])
                raise

    return start


@pytest.fixture
def sit_down(chromium: Chromium, folder: Path) -> SitDown:
    """Opens a browser with a microphone that hears a tone."""
    return lambda username, hz: open_seat(chromium, folder, username, hz)


def callers_of(site: Site) -> Callers:
    """SIP callers over this site's trunk."""
    return Callers(pbx_host=site.pbx.host, pbx_port=site.pbx.sip_port, folder=site.folder / "sip")
