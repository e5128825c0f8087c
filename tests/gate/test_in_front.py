"""The examples for nginx and Caddy do what they say: they hold TLS, and the gate behind them is as strict as ever."""

from __future__ import annotations

import asyncio
import re
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import aiohttp
import pytest

from cti.gate.certificates import Names, make_office
from cti.phone_pass import COOKIE
from tests.e2e.site import free_port
from tests.gate.backend import HOST, Gated, gated
from tests.gate.test_sip import message

ROOT = Path(__file__).parents[2]
Proxy = Literal["nginx", "caddy"]


def nginx_arguments(folder: Path, gate: int, port: int, plain: int) -> list[str]:
    """The example with the names, ports and paths of this test, inside the smallest possible nginx.conf."""
    text = (ROOT / "config/nginx/callfloor.conf").read_text()
    text = re.sub(r"(?m)^.*\[::\].*\n", "", text.replace("floor.example", HOST))
    text = text.replace("listen 443", f"listen 127.0.0.1:{port}").replace("listen 80", f"listen 127.0.0.1:{plain}")
    text = text.replace("server 127.0.0.1:8443", f"server 127.0.0.1:{gate}")
    text = re.sub(r"ssl_certificate     .*;", f"ssl_certificate {folder / 'server.crt'};", text)
    text = re.sub(r"ssl_certificate_key .*;", f"ssl_certificate_key {folder / 'server.key'};", text)
    (folder / "callfloor.conf").write_text(text)
    temporary = "\n".join(
        f"{kind}_temp_path {folder / kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder / 'pid'}; error_log {folder / 'error.log'}; events {{}}\n"
        f"http {{ access_log off;\n{temporary}\ninclude {folder / 'callfloor.conf'}; }}\n"
    )
    return ["-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]


def caddy_arguments(folder: Path, gate: int, port: int, plain: int) -> list[str]:
    text = (ROOT / "config/caddy/Caddyfile").read_text().replace("reverse_proxy 127.0.0.1:8443", "reverse_proxy GATE")
    tls = f"\ttls {folder / 'server.crt'} {folder / 'server.key'}\n\tbind 127.0.0.1\n"
    text = text.replace("floor.example {\n", f"{HOST}:{port} {{\n{tls}").replace("GATE", f"127.0.0.1:{gate}")
    text = text.replace("{\n\tservers", f"{{\n\tadmin off\n\thttp_port {plain}\n\thttps_port {port}\n\tservers", 1)
    (folder / "Caddyfile").write_text(text)
    return ["run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


@asynccontextmanager
async def in_front(proxy: Proxy, gate: int, folder: Path) -> AsyncIterator[str]:
    """The proxy's https address."""
    program = shutil.which(proxy)
    if program is None:
        pytest.skip(f"{proxy} is not installed: apt-get install {proxy}")
    port, plain = free_port(), free_port()
    make = nginx_arguments if proxy == "nginx" else caddy_arguments
    make_office(folder, Names((HOST,), ("127.0.0.1",)), now=datetime.now(UTC))
    environment = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    with (folder / "output").open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            program, *make(folder, gate, port, plain), env=environment, stdout=output, stderr=output
        )
    try:
        async with asyncio.timeout(30):
            while True:
                assert process.returncode is None, (folder / "output").read_text()
                try:
                    _reader, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                except ConnectionError:
                    await asyncio.sleep(0.05)
        yield f"https://{HOST}:{port}"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


class Local(aiohttp.abc.AbstractResolver):
    """``floor.test`` is this machine."""

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[aiohttp.abc.ResolveResult]:
        assert host == HOST
        return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": 2, "proto": 0, "flags": 0}]

    async def close(self) -> None:
        return


@pytest.mark.parametrize("proxy", ["nginx", "caddy"])
async def test_pages_desks_and_phones_come_through_with_the_visitors_own_address(proxy: Proxy, tmp_path: Path) -> None:
    folder = tmp_path / "proxy"
    folder.mkdir()
    folder.chmod(0o755)
    tmp_path.chmod(0o755)
    async with gated(tmp_path, trusted_proxies=("127.0.0.1",)) as site, in_front(proxy, site.gate.port, folder) as url:
        _answer_to(site, url)
        trusted = ssl.create_default_context(cafile=folder / "ca.crt")
        connector = aiohttp.TCPConnector(ssl=trusted, resolver=Local())
        headers = {"Origin": url}
        async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as browser:
            claims = {"X-Forwarded-For": "6.6.6.6", "X-Real-IP": "6.6.6.6"}
            async with browser.post(f"{url}/api/x?q=1", data=bytes(500_000), headers=headers | claims) as answer:
                assert (await answer.json())["length"] == 500_000
                assert answer.headers["Strict-Transport-Security"]
            seen = site.behind.requests[-1]["headers"]
            assert seen["X-Forwarded-For"] == "127.0.0.1"
            assert seen["X-Forwarded-Proto"] == "https"
            assert seen["Host"] == url.removeprefix("https://")

            async with browser.ws_connect(f"{url}/sip/pbx1", protocols=["sip"], headers=with_pass(site, url)) as phone:
                await phone.send_str(message().decode())
                assert (await phone.receive_str()).startswith("SIP/2.0 200")
                await phone.send_str(message(sender="<sip:bo@127.0.0.1>;tag=1").decode())
                assert (await phone.receive()).data == 1008
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await browser.ws_connect(f"{url}/sip/pbx1", protocols=["sip"], headers=headers)
            assert refused.value.status == 403

            await site.behind.stop()
            async with browser.get(f"{url}/desk", headers={"Accept": "text/html"}) as answer:
                assert answer.status == 503
                assert "The pages are away; calls go on" in await answer.text()


def _answer_to(site: Gated, origin: str) -> None:
    """The gate's own address is known only once the proxy has a port."""
    site.gate._origins = frozenset({origin})
    site.gate._hosts = frozenset({origin.removeprefix("https://")})


def with_pass(site: Gated, origin: str) -> dict[str, str]:
    return {"Origin": origin, "Cookie": f"{COOKIE}={site.sign()}"}
