"""The gate before a small real server: what passes, what does not, and what is said while the pages are away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from cti.gate import server
from tests.gate.backend import HOST, NOW, Gated, gated
from tests.gate.test_sip import INVITE, message


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Gated]:
    async with gated(tmp_path) as site:
        yield site


async def until(condition: object) -> None:
    """Wait until a condition holds."""
    assert callable(condition)
    async with asyncio.timeout(15):
        while not condition():
            await asyncio.sleep(0.01)


async def raw(site: Gated, sent: bytes, *, and_close: bool = False) -> bytes:
    """What the gate answers to these bytes, until it closes or falls silent behind a whole answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.gate.port)
    writer.write(sent)
    if and_close:
        writer.write_eof()
    try:
        async with asyncio.timeout(15):
            return await reader.read()
    finally:
        writer.close()


# ── pages ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_request_reaches_the_daemon_with_who_asks_and_without_what_the_client_claims(site: Gated) -> None:
    async with site.http.post(
        URL(f"{site.url}/api/x/%2e%2e/y?q=%E6%9D%8E&r=a+b", encoded=True),
        data=b"body",
        headers={
            "Host": HOST,
            "Origin": f"https://{HOST}",
            "X-Forwarded-For": "6.6.6.6",
            "X-Forwarded-Proto": "http",
            "X-Forwarded-Host": "evil.example",
            "Forwarded": "for=6.6.6.6",
            "X-Real-IP": "6.6.6.6",
            "Connection": "X-Secret-Hop",
            "X-Secret-Hop": "1",
            "TE": "trailers",
            "Proxy-Authorization": "Basic eDp5",
            "Cookie": "callfloor_session=abc",
        },
    ) as answer:
        assert answer.status == 200
        assert answer.headers["X-From"] == "daemon"
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
        assert "aiohttp" not in answer.headers["Server"]
    (seen,) = site.behind.requests
    assert (seen["method"], seen["path"], seen["body"]) == ("POST", "/api/x/%2e%2e/y?q=%E6%9D%8E&r=a+b", b"body")
    headers = seen["headers"]
    assert headers.getall("X-Forwarded-For") == ["127.0.0.1"]
    assert headers.getall("X-Forwarded-Proto") == ["https"]
    assert headers["Host"] == HOST
    assert headers["Origin"] == f"https://{HOST}"
    assert headers["Cookie"] == "callfloor_session=abc"
    for name in ("X-Forwarded-Host", "Forwarded", "X-Real-IP", "X-Secret-Hop", "TE", "Proxy-Authorization"):
        assert name not in headers


async def test_behind_a_trusted_proxy_the_address_is_the_one_that_the_proxy_saw(tmp_path: Path) -> None:
    async with gated(tmp_path, trusted_proxies=("127.0.0.1",)) as site:
        async with site.http.get(f"{site.url}/", headers={"Host": HOST, "X-Forwarded-For": "6.6.6.6, 10.1.2.3"}):
            pass
        assert site.behind.requests[0]["headers"]["X-Forwarded-For"] == "10.1.2.3"


async def test_an_answer_comes_as_it_is_made_and_with_all_its_cookies(site: Gated) -> None:
    async with site.http.get(f"{site.url}/slow") as answer:
        assert await answer.content.readany() == b"first"
        site.behind.requests.append({})
        assert await answer.content.read() == b"second"
    async with site.http.get(f"{site.url}/two-cookies", allow_redirects=False) as answer:
        assert answer.status == 303
        assert answer.headers["Location"] == "/x"
        assert len(answer.headers.getall("Set-Cookie")) == 2
        assert "X-Hop" not in answer.headers


async def test_an_answer_that_was_cut_looks_cut(site: Gated) -> None:
    with pytest.raises(aiohttp.ClientPayloadError):
        async with site.http.get(f"{site.url}/cut") as answer:
            await answer.read()


async def test_a_long_upload_passes_in_pieces_and_one_without_end_does_not(
    site: Gated, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site.http.post(f"{site.url}/import", data=bytes(3_000_000)) as answer:
        assert (await answer.json())["length"] == 3_000_000
    monkeypatch.setattr(server, "LONGEST_BODY", 200_000)

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(50_000)

    try:
        async with site.http.post(f"{site.url}/import", data=endless()) as answer:
            assert answer.status == 413
    except aiohttp.ClientConnectionError:
        pass  # the gate closed while more was being sent
    async with site.http.post(f"{site.url}/import", data=bytes(200_001)) as answer:
        assert answer.status == 413
    assert len(site.behind.requests) == 1


async def test_while_the_daemon_is_dead_people_and_scripts_are_told_so_and_afterwards_all_is_well(site: Gated) -> None:
    await site.behind.stop()
    for accept, language, said in (
        ("text/html", "de, en;q=0.5", "The pages are away; calls go on"),
        ("text/html", "zh-CN", "页面暂时无法打开；通话照常进行"),
        ("text/html", "zh-TW", "頁面暫時無法開啟；通話照常進行"),
    ):
        async with site.http.get(f"{site.url}/desk", headers={"Accept": accept, "Accept-Language": language}) as answer:
            assert answer.status == 503
            assert answer.headers["Retry-After"] == "5"
            assert said in await answer.text()
    async with site.http.post(f"{site.url}/api/desk/state", data=b"{}") as answer:
        assert answer.status == 503
        assert (await answer.json(content_type="application/json"))["code"] == "pages_away"
    async with site.http.get(f"{site.url}/gate/health") as answer:
        assert answer.status == 200
    await site.behind.start()
    async with site.http.get(f"{site.url}/x") as answer:
        assert answer.status == 200


async def test_a_daemon_that_takes_connections_and_answers_none_is_known_to_be_away(
    site: Gated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "PROBE_S", 0.2)
    monkeypatch.setattr(server, "PROBE_EVERY_S", 0.05)
    await site.behind.stop()
    # What SIGSTOP leaves: the kernel takes the connection, nobody reads.
    stopped = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", site.behind.port)

    async def is_silent() -> bool:
        async with site.http.get(f"{site.url}/gate/health") as answer:
            return bool((await answer.json())["is_daemon_silent"])

    async with asyncio.timeout(15):
        while not await is_silent():
            await asyncio.sleep(0.05)
    async with site.http.get(f"{site.url}/desk", headers={"Accept": "text/html"}) as answer:
        assert answer.status == 503
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await site.desk()
    assert refused.value.status == 503
    stopped.close()


async def test_health_tells_a_stranger_nothing_but_that_the_gate_lives(tmp_path: Path) -> None:
    async with gated(tmp_path, trusted_proxies=("127.0.0.1",)) as site:
        async with site.http.get(f"{site.url}/gate/health", headers={"X-Forwarded-For": "10.1.2.3"}) as answer:
            assert await answer.json() == {"status": "ok"}
        async with site.http.head(f"{site.url}/gate/health", headers={"Host": "anything"}) as answer:
            assert answer.status == 200


async def test_another_name_for_the_site_leads_to_its_own(site: Gated) -> None:
    async with site.http.get(f"{site.url}/desk?a=1", headers={"Host": "10.0.0.5"}, allow_redirects=False) as answer:
        assert answer.status == 307
        assert answer.headers["Location"] == f"https://{HOST}/desk?a=1"
    async with site.http.post(f"{site.url}/login", headers={"Host": "evil.example"}) as answer:
        assert answer.status == 421
    assert site.behind.requests == []


# ── desks ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_desk_socket_passes_both_ways_with_its_cookie_and_tells_how_it_ended(site: Gated) -> None:
    async with site.desk() as desk:
        assert desk.protocol == "callfloor.desk.1"
        await desk.send_str("李")
        assert await desk.receive_str() == "heard 李"
        # A page that leaves says so, and the desk's server acts on it.
        await desk.close(code=1001)
    await until(lambda: site.behind.desk_codes == [1001])
    headers = site.behind.requests[0]["headers"]
    assert headers["Cookie"] == "callfloor_session=abc"
    assert headers["X-Forwarded-For"] == "127.0.0.1"
    async with site.desk() as desk:
        await desk.send_str("x")
        await desk.receive_str()
        await site.behind.desk_sockets[-1].close(code=4401, message=b"no session")
        ended = await desk.receive()
        assert (ended.type, ended.data, ended.extra) == (aiohttp.WSMsgType.CLOSE, 4401, "no session")


async def test_what_is_no_websocket_never_opens_one_behind(site: Gated) -> None:
    for path in ("/desk/socket", "/sip/pbx1", "/sip", "/sip/"):
        async with site.http.get(site.url + path) as answer:
            assert answer.status == 426
    assert site.behind.requests == []


async def test_a_desk_socket_of_another_site_is_refused_by_the_daemon_through_the_gate(site: Gated) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await site.desk(origin="https://evil.example")
    assert refused.value.status == 403


async def test_a_daemon_that_dies_sends_its_desks_to_their_next_attempt(site: Gated) -> None:
    async with site.desk() as desk:
        await desk.send_str("x")
        await desk.receive_str()
        for connection in list(site.behind.desk_sockets):
            assert connection._req is not None
            assert connection._req.transport is not None
            connection._req.transport.abort()
        ended = await desk.receive()
        assert (ended.type, ended.data) == (aiohttp.WSMsgType.CLOSE, 1012)
    await site.behind.stop()
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await site.desk()
    assert refused.value.status == 503


# ── phones ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_phone_with_a_pass_reaches_its_pbx_also_while_the_pages_are_dead(site: Gated) -> None:
    async with site.phone() as phone:
        assert phone.protocol == "sip"
        await phone.send_str(message().decode())
        assert (await phone.receive_str()).startswith("SIP/2.0 200")
    assert site.behind.sip_frames == [message().decode()]


@pytest.mark.parametrize(
    ("changes", "path", "origin", "status"),
    [
        ({"until": NOW - 1}, "/sip/pbx1", f"https://{HOST}", 403),
        ({"pbx": "pbx2"}, "/sip/pbx1", f"https://{HOST}", 403),
        ({}, "/sip/pbx2", f"https://{HOST}", 403),
        ({}, "/sip/pbx1", "https://evil.example", 403),
        ({}, "/sip/pbx9", f"https://{HOST}", 404),
        ({}, "/sip", f"https://{HOST}", 404),
        ({}, "/sip/pbx1/..", f"https://{HOST}", 404),
        ({}, "/sip/PBX1", f"https://{HOST}", 404),
    ],
)
async def test_without_the_right_pass_from_a_page_of_ours_there_is_no_way_to_a_pbx(
    site: Gated, changes: dict[str, object], path: str, origin: str, status: int
) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await site.phone(site.sign(**changes), path=path, origin=origin)
    assert refused.value.status == status
    assert site.behind.sip_sockets == []


async def test_a_phone_is_refused_without_any_pass_or_the_subprotocol(site: Gated) -> None:
    for cookie in ("", "x.y", "; callfloor_phone=x"):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await site.phone(cookie)
        assert refused.value.status == 403
    headers = {"Host": HOST, "Origin": f"https://{HOST}", "Cookie": f"callfloor_phone={site.sign()}"}
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await site.http.ws_connect(f"{site.url}/sip/pbx1", headers=headers)
    assert refused.value.status == 400


async def test_a_log_out_ends_the_phones_socket_and_its_pass(site: Gated, monkeypatch: pytest.MonkeyPatch) -> None:
    async with site.phone() as phone, site.phone(site.sign(session="s2")) as other:
        site.log_out("s1")
        site.gate.reload()
        ended = await phone.receive()
        assert (ended.type, ended.data) == (aiohttp.WSMsgType.CLOSE, 4401)
        await other.send_str(message().decode())
        assert (await other.receive_str()).startswith("SIP/2.0 200")
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await site.phone()
    assert refused.value.status == 403


@pytest.mark.parametrize(
    "frame",
    [
        message(sender="<sip:bo@127.0.0.1>;tag=1").decode(),
        message(INVITE, sender="<sip:bo@127.0.0.1>;tag=1").decode(),
        message().decode() * 2,
        "no sip at all",
    ],
)
async def test_a_phone_that_speaks_for_another_is_cut_off_and_the_pbx_hears_nothing(site: Gated, frame: str) -> None:
    async with site.phone() as phone:
        await phone.send_str(frame)
        ended = await phone.receive()
        assert (ended.type, ended.data) == (aiohttp.WSMsgType.CLOSE, 1008)
    assert site.behind.sip_frames == []


async def test_a_phone_that_floods_or_sends_too_much_at_once_is_cut_off(site: Gated) -> None:
    async with site.phone() as phone:
        for _ in range(int(server.SIP_AT_ONCE) + 20):
            await phone.send_str("\r\n\r\n")
        while (ended := await phone.receive()).type is aiohttp.WSMsgType.TEXT:
            pass
        assert ended.data == 1008
    async with site.phone() as phone:
        await phone.send_str("x" * 100_000)
        assert (await phone.receive()).data == 1009


async def test_one_log_in_gets_a_few_phone_sockets_and_no_more(site: Gated) -> None:
    phones = [await site.phone() for _ in range(server.PHONES_PER_LOGIN)]
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await site.phone()
    assert refused.value.status == 429
    await phones[0].close()

    async def is_let_in() -> bool:
        try:
            await site.phone()
        except aiohttp.WSServerHandshakeError:
            return False
        return True

    async with asyncio.timeout(15):
        while not await is_let_in():
            await asyncio.sleep(0.02)


async def test_a_stopping_gate_sends_phones_and_desks_to_the_next_one(tmp_path: Path) -> None:
    async with gated(tmp_path) as site, site.phone() as phone, site.desk() as desk:
        closing = asyncio.create_task(site.gate.close())
        for socket in (phone, desk):
            ended = await socket.receive()
            assert (ended.type, ended.data) == (aiohttp.WSMsgType.CLOSE, 1012)
        await closing


# ── hostile bytes ─────────────────────────────────────────────────────────────────────────────────────────

HEAD = f"GET / HTTP/1.1\r\nHost: {HOST}\r\n".encode()


@pytest.mark.parametrize(
    "sent",
    [
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Content-Length: +5\r\n\r\nhello",
        HEAD + b"X: a\r\n b\r\n\r\n",
        HEAD + b"X: a\nY: b\0\r\n\r\n",
        HEAD + b"X" * 20_000 + b": a\r\n\r\n",
        HEAD + b"".join(b"X%d: a\r\n" % number for number in range(300)) + b"\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: " + HOST.encode() + b"\r\nHost: evil.example\r\n\r\n",
        b"GET http://evil.example/ HTTP/1.1\r\nHost: " + HOST.encode() + b"\r\n\r\n",
        b"CONNECT 127.0.0.1:5038 HTTP/1.1\r\nHost: " + HOST.encode() + b"\r\n\r\n",
        b"TRACE / HTTP/1.1\r\nHost: " + HOST.encode() + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"REGISTER sip:ann@127.0.0.1 SIP/2.0\r\n\r\n",
    ],
)
async def test_what_two_servers_could_read_in_two_ways_never_reaches_the_second(site: Gated, sent: bytes) -> None:
    answer = await raw(site, sent, and_close=True)
    assert not answer.startswith(b"HTTP/1.1 2")
    assert site.behind.requests == []


async def test_who_says_nothing_or_never_ends_a_head_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cti.gate.listener.FIRST_REQUEST_S", 0.2)
    async with gated(tmp_path) as site:
        front = site.gate._listeners[0]
        front._first_request_s = 0.2
        assert await raw(site, b"") == b""
        assert await raw(site, HEAD + b"X: a") == b""
        await until(lambda: front.open_connections == 0)


async def test_one_address_may_hold_so_many_connections_and_no_more(tmp_path: Path) -> None:
    async with gated(tmp_path, connections_per_address=2) as site:
        held = [await asyncio.open_connection("127.0.0.1", site.gate.port) for _ in range(2)]
        await until(lambda: site.gate._listeners[0].open_connections == 2)
        assert await raw(site, HEAD + b"\r\n") == b""
        held[0][1].close()
        await until(lambda: site.gate._listeners[0].open_connections == 1)
        answer = await raw(site, HEAD + b"Connection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])
        held[1][1].close()


async def test_plain_http_is_led_to_the_site_and_an_acme_clients_answer_is_served(tmp_path: Path) -> None:
    folder = tmp_path / "acme/.well-known/acme-challenge"
    folder.mkdir(parents=True)
    (folder / "tok-en_1").write_text("tok-en_1.thumb")
    (tmp_path / "acme/secret").write_text("secret")
    async with gated(tmp_path, redirect_port=0, acme_folder=tmp_path / "acme") as site:
        plain = f"http://127.0.0.1:{site.gate.redirect_port}"
        async with site.http.get(f"{plain}/desk?a=1", allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (308, f"https://{HOST}/desk?a=1")
        async with site.http.post(f"{plain}/login", allow_redirects=False) as answer:
            assert answer.status == 403
        async with site.http.get(f"{plain}/.well-known/acme-challenge/tok-en_1") as answer:
            assert await answer.text() == "tok-en_1.thumb"
        for path in ("/.well-known/acme-challenge/absent", "/.well-known/acme-challenge/..%2f..%2fsecret"):
            async with site.http.get(plain + path, allow_redirects=False) as answer:
                assert answer.status in (404, 308)
                assert "secret" not in await answer.text()
    assert site.behind.requests == []
