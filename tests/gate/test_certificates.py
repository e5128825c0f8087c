"""The office's own authority, and a certificate that changes while connections live."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest

from cti.errors import BadInput, SettingsError
from cti.gate import certificates
from cti.gate.certificates import Names
from cti.gate.tls import TlsFiles
from tests.gate.backend import HOST, gated

NOW = datetime.now(UTC)
SITE = Names((HOST,), ("127.0.0.1",))


def office(folder: Path, *, now: datetime = NOW, names: Names = SITE) -> tuple[Path, Path]:
    """Certificate and key."""
    certificates.make_office(folder, names, now=now)
    return folder / "server.crt", folder / "server.key"


def trusting(folder: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=folder / "ca.crt")


async def serial_seen(port: int, trusted: ssl.SSLContext, name: str = HOST) -> int:
    """The number of the certificate that a browser is shown; the handshake must succeed."""
    _reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusted, server_hostname=name)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return int(certificates.x509.load_der_x509_certificate(shown).serial_number)


async def test_who_trusts_the_offices_authority_reaches_the_site_by_name_and_by_address(tmp_path: Path) -> None:
    certificate, key = office(tmp_path / "tls")
    async with gated(tmp_path, certificate=certificate, key=key) as site:
        trusted = trusting(tmp_path / "tls")
        assert await serial_seen(site.gate.port, trusted) == await serial_seen(site.gate.port, trusted, "127.0.0.1")
        with pytest.raises(ssl.SSLCertVerificationError):
            await serial_seen(site.gate.port, trusted, "other.test")
        with pytest.raises(ssl.SSLCertVerificationError):
            await serial_seen(site.gate.port, ssl.create_default_context())


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
async def test_nothing_older_than_tls_1_2_is_spoken(tmp_path: Path) -> None:
    certificate, key = office(tmp_path / "tls")
    async with gated(tmp_path, certificate=certificate, key=key) as site:
        old = trusting(tmp_path / "tls")
        old.set_ciphers("ALL:@SECLEVEL=0")
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await serial_seen(site.gate.port, old)


async def test_who_begins_no_tls_or_never_ends_its_handshake_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cti.gate.listener.HANDSHAKE_S", 0.3)
    certificate, key = office(tmp_path / "tls")
    async with gated(tmp_path, certificate=certificate, key=key) as site:
        for sent in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", b""):
            reader, writer = await asyncio.open_connection("127.0.0.1", site.gate.port)
            writer.write(sent)
            async with asyncio.timeout(15):
                with contextlib.suppress(ConnectionError):
                    assert not (await reader.read()).startswith(b"HTTP")
            writer.close()
        async with asyncio.timeout(15):
            while site.gate._listeners[0].open_connections:
                await asyncio.sleep(0.01)


async def test_the_authoritys_key_is_of_no_use_for_another_site(tmp_path: Path) -> None:
    office(tmp_path / "tls")
    # What a thief of ca.key would do.
    signing = certificates._load_key(tmp_path / "tls/ca.key")
    authority = certificates.read(tmp_path / "tls/ca.crt")
    forged = certificates._issue(authority, signing, signing.public_key(), Names(("bank.test",)).general, now=NOW)
    (tmp_path / "forged.crt").write_bytes(certificates._pem(forged))
    async with gated(tmp_path, certificate=tmp_path / "forged.crt", key=tmp_path / "tls/ca.key") as site:
        with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree"):
            await serial_seen(site.gate.port, trusting(tmp_path / "tls"), "bank.test")


async def test_a_renewed_certificate_is_shown_to_new_connections_and_old_ones_live_on(tmp_path: Path) -> None:
    certificate, key = office(tmp_path / "tls")
    other, other_key = office(tmp_path / "new")
    async with gated(tmp_path, certificate=certificate, key=key) as site:
        trusted = ssl.create_default_context(cafile=tmp_path / "tls/ca.crt")
        trusted.load_verify_locations(tmp_path / "new/ca.crt")
        url = f"https://127.0.0.1:{site.gate.port}/x"
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusted, limit=1)) as browser:
            headers = {"Host": HOST}
            async with browser.get(url, headers=headers) as answer:
                assert answer.status == 200
            before = await serial_seen(site.gate.port, trusted)
            # Half way of a renewal: the pair does not fit.
            shutil.copy(other, certificate)
            site.gate.reload()
            assert await serial_seen(site.gate.port, trusted) == before
            shutil.copy(other_key, key)
            site.gate.reload()
            after = await serial_seen(site.gate.port, trusted)
            assert after == certificates.read(other).serial_number != before
            connections = site.gate._listeners[0].open_connections
            async with browser.get(url, headers=headers) as answer:
                assert answer.status == 200
            assert site.gate._listeners[0].open_connections <= connections


def test_the_office_renews_in_the_last_thirty_days_for_the_same_names_and_key(tmp_path: Path) -> None:
    certificate, key = office(tmp_path)
    first = certificates.read(certificate)
    secret = key.read_bytes()
    assert not certificates.renew_if_due(certificate, key, now=NOW + timedelta(days=330))
    later = NOW + timedelta(days=340)
    assert certificates.renew_if_due(certificate, key, now=later)
    second = certificates.read(certificate)
    assert certificates.days_left(second, now=later) == pytest.approx(365)
    san = certificates.x509.SubjectAlternativeName
    names = [one.extensions.get_extension_for_class(san) for one in (first, second)]
    assert names[0] == names[1]
    assert key.read_bytes() == secret
    assert not certificates.renew_if_due(certificate, key, now=later)


def test_a_certificate_of_another_authority_is_never_replaced(tmp_path: Path) -> None:
    certificate, key = office(tmp_path / "old", now=NOW - timedelta(days=360))
    office(tmp_path / "own")
    for name in ("ca.crt", "ca.key"):
        shutil.copy(tmp_path / "own" / name, tmp_path / "old" / name)
    before = certificate.read_bytes()
    assert not certificates.renew_if_due(certificate, key, now=NOW)
    assert certificate.read_bytes() == before


def test_keys_are_readable_by_their_owner_only_and_an_authority_is_made_once(tmp_path: Path) -> None:
    office(tmp_path)
    for name in ("ca.key", "server.key"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    with pytest.raises(BadInput):
        office(tmp_path)


@pytest.mark.parametrize("name", ["", "a b", "-x", "*.floor.test", "x" * 64, "floor.test\n", "é.test"])
def test_what_is_no_host_name_is_refused(name: str) -> None:
    with pytest.raises(BadInput):
        Names((name,))


def test_files_that_are_no_certificate_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("no certificate")
    with pytest.raises(SettingsError, match=r"gate\.certificate: .*absent"):
        TlsFiles(tmp_path / "absent", tmp_path / "a").context  # noqa: B018
    with pytest.raises(SettingsError, match=r"gate\.certificate"):
        TlsFiles(tmp_path / "a", tmp_path / "a").context  # noqa: B018
