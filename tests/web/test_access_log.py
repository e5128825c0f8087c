from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from aiohttp import ClientSession, web

from web.app import make_runner

if TYPE_CHECKING:
    import pytest

    from tests.web.site import Site


async def test_the_access_log_holds_the_route_and_nothing_about_people(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "aiohttp.access")
    runner = make_runner(site.app)
    await runner.setup()
    listener = web.TCPSite(runner, "127.0.0.1", 0)
    await listener.start()
    port = runner.addresses[0][1]
    async with ClientSession() as browser:
        for path in ("/customers/17?q=Wang+13800138000", "/nowhere/Wang", "/login?next=/Wang"):
            await (await browser.get(f"http://127.0.0.1:{port}{path}", allow_redirects=False)).read()
    await runner.cleanup()
    lines = [json.loads(record.getMessage()) for record in caplog.records if record.name == "aiohttp.access"]
    assert [(line["route"], line["status"]) for line in lines] == [
        ("/customers/{customer}", 303),
        ("none", 404),
        ("/login", 200),
    ]
    assert all(line["request"] for line in lines)
    assert "Wang" not in caplog.text
    assert "127.0.0.1" not in json.dumps(lines)
