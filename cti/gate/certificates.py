"""An office's own certificate authority: one that can vouch for this site and for nothing else.

The browsers of the office are told once to trust it. It is constrained to the site's own names and addresses, so that
its key, which lies beside the server's for renewals, is of no use against any other site.
"""

from __future__ import annotations

import ipaddress
import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cti.errors import BadInput, SettingsError

CA_DAYS = 3650
SERVER_DAYS = 365
RENEW_BEFORE_DAYS = 30
CA_CERTIFICATE, CA_KEY = "ca.crt", "ca.key"
SERVER_CERTIFICATE, SERVER_KEY = "server.crt", "server.key"

_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")


@dataclass(frozen=True, slots=True)
class Names:
    """What a certificate is for: host names and IP addresses."""

    hosts: tuple[str, ...]
    addresses: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for host in self.hosts:
            if not _HOST.fullmatch(host):
                raise BadInput("name", "not_a_host_name")
        for address in self.addresses:
            try:
                ipaddress.ip_address(address)
            except ValueError:
                raise BadInput("ip", "not_an_address") from None
        if not self.hosts and not self.addresses:
            raise BadInput("name", "missing")

    @property
    def general(self) -> list[x509.GeneralName]:
        """As a certificate lists them."""
        hosts = [x509.DNSName(host) for host in self.hosts]
        return [*hosts, *(x509.IPAddress(ipaddress.ip_address(address)) for address in self.addresses)]

    @property
    def permitted(self) -> list[x509.GeneralName]:
        """As an authority is constrained to them."""
        hosts = [x509.DNSName(host) for host in self.hosts]
        return [*hosts, *(x509.IPAddress(ipaddress.ip_network(address)) for address in self.addresses)]


def make_office(folder: Path, names: Names, *, now: datetime) -> None:
    """An authority and the server's certificate in ``folder``. Raises ``BadInput`` where there is an authority: the
    browsers trust that one."""
    if (folder / CA_KEY).exists() or (folder / CA_CERTIFICATE).exists():
        raise BadInput("folder", "has_an_authority_already")
    folder.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(f"Office authority for {(names.hosts or names.addresses)[0]}"[:64])
    constraints: list[x509.GeneralName] = names.permitted
    # What is not named is not constrained: a kind of name that the site does not use is shut out as a whole.
    excluded: list[x509.GeneralName] = []
    if not names.hosts:
        excluded.append(x509.DNSName(""))
    if not names.addresses:
        excluded += [x509.IPAddress(ipaddress.ip_network("0.0.0.0/0")), x509.IPAddress(ipaddress.ip_network("::/0"))]
    authority = (
        _certificate(subject, subject, key.public_key(), now=now, days=CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(is_authority=True), critical=True)
        .add_extension(x509.NameConstraints(constraints, excluded or None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    server_key = ec.generate_private_key(ec.SECP256R1())
    _write(folder / CA_KEY, _private(key), 0o600)
    _write(folder / CA_CERTIFICATE, _pem(authority), 0o644)
    _write(folder / SERVER_KEY, _private(server_key), 0o600)
    server = _issue(authority, key, server_key.public_key(), names.general, now=now)
    _write(folder / SERVER_CERTIFICATE, _pem(server), 0o644)


def read(path: Path, *, setting: str = "gate.certificate") -> x509.Certificate:
    """The first certificate in a PEM file. Raises ``SettingsError``."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise SettingsError(setting, f"{path} can't be read: {error.strerror}") from None
    except ValueError:
        raise SettingsError(setting, f"{path} holds no certificate") from None


def days_left(certificate: x509.Certificate, *, now: datetime) -> float:
    """Days until it is no longer good; below zero once it isn't."""
    return (certificate.not_valid_after_utc - now) / timedelta(days=1)


def renew_if_due(certificate: Path, key: Path, *, now: datetime) -> bool:
    """Issue the server's certificate anew, for the same names and key, when it is due and its office authority lies
    beside it; whether that was done. Raises ``SettingsError``, ``OSError`` (the folder may not be written)."""
    ca_certificate, ca_key = certificate.parent / CA_CERTIFICATE, certificate.parent / CA_KEY
    if not ca_certificate.is_file() or not ca_key.is_file():
        return False
    old, authority = read(certificate), read(ca_certificate)
    if days_left(old, now=now) > RENEW_BEFORE_DAYS or not _is_issued_by(old, authority):
        return False
    signing, server = _load_key(ca_key), _load_key(key)
    names = old.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    new = _issue(authority, signing, server.public_key(), list(names), now=now)
    _write(certificate, _pem(new), 0o644)
    return True


def _issue(
    authority: x509.Certificate,
    signing: ec.EllipticCurvePrivateKey,
    public: ec.EllipticCurvePublicKey,
    names: list[x509.GeneralName],
    *,
    now: datetime,
) -> x509.Certificate:
    subject = _subject("Callfloor")
    issued = _certificate(authority.subject, subject, public, now=now, days=SERVER_DAYS)
    key_id = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        issued.add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(is_authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id), critical=False)
        .sign(signing, hashes.SHA256())
    )


def _certificate(
    issuer: x509.Name, subject: x509.Name, public: ec.EllipticCurvePublicKey, *, now: datetime, days: int
) -> x509.CertificateBuilder:
    # Clocks of an office differ: good from yesterday on.
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )


def _is_issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise SettingsError("gate.key", f"{path} can't be read: {error.strerror}") from None
    except (ValueError, TypeError):
        raise SettingsError("gate.key", f"{path} holds no private key") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise SettingsError("gate.key", f"{path} is not a key that this program made")
    return key


def _write(path: Path, content: bytes, mode: int) -> None:
    """Whole or not at all, never readable by more than it shall be."""
    new = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    new.replace(path)


def how_to_trust(folder: Path, names: Sequence[str]) -> str:
    """Plain words for the person who made it."""
    authority = folder / CA_CERTIFICATE
    return f"""\
The certificate for {", ".join(names)} is made. Write into the start-up file:

  [gate]
  certificate = "{folder / SERVER_CERTIFICATE}"
  key = "{folder / SERVER_KEY}"

Browsers trust it once they know the office's authority, {authority}. It can vouch for these names only.
Give each computer that file (it is no secret; {CA_KEY} is) and run, as its administrator:

  Windows        certutil -addstore Root ca.crt
                 (a whole domain: Group Policy, Public Key Policies, Trusted Root Certification Authorities)
  macOS          security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain ca.crt
  Debian, Ubuntu cp ca.crt /usr/local/share/ca-certificates/callfloor-office.crt && update-ca-certificates
  Firefox, or Chrome on Linux    Settings, Privacy and security, Certificates, Authorities, Import

The gate renews the server's certificate by itself in its last {RENEW_BEFORE_DAYS} days, while {CA_CERTIFICATE} and
{CA_KEY} lie beside it.
"""
