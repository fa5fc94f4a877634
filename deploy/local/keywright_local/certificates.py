"""A certificate authority of the control plane's own, alive as long as the plane.

Users of a Kubernetes API server are whatever its client certificates say: the
common name is the user, each organization a group. Keys are EC P-256, which
takes about a millisecond to make, so a test may have as many users as it likes.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

__all__ = ["CertificateAuthority", "KeyPair", "make_signing_key"]

_VALIDITY = dt.timedelta(days=365)
# Clocks of containers and hosts drift apart; a certificate is born a bit older.
_CLOCK_SKEW = dt.timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPair:
    """A certificate, or a bare public key, and the private key to it, both PEM."""

    public: bytes
    private: bytes = field(repr=False)


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def make_signing_key() -> KeyPair:
    """A key without certificate, for the signing of service account tokens."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return KeyPair(public=public, private=_private_pem(key))


def _key_usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )


def _start_certificate(subject: x509.Name, key: ec.EllipticCurvePublicKey, now: dt.datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + _VALIDITY)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


class CertificateAuthority:
    """Issues the server's certificate and those of its users."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self._certificate = certificate
        self._key = key

    @classmethod
    def create(cls, common_name: str, *, now: dt.datetime) -> Self:
        """Make a new authority that signs itself, valid for a year."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        certificate = (
            _start_certificate(name, key.public_key(), now)
            .issuer_name(name)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(is_authority=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate, key)

    @property
    def key_pair(self) -> KeyPair:
        """The authority's own certificate and key."""
        public = self._certificate.public_bytes(serialization.Encoding.PEM)
        return KeyPair(public=public, private=_private_pem(self._key))

    def issue_for_client(self, user: str, groups: Sequence[str], *, now: dt.datetime) -> KeyPair:
        """A certificate that makes its bearer ``user``, a member of ``groups``."""
        attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, user))
        return self._issue(attributes, ExtendedKeyUsageOID.CLIENT_AUTH, [], now=now)

    def issue_for_server(self, names: Sequence[str], addresses: Sequence[str], *, now: dt.datetime) -> KeyPair:
        """A certificate for a server that is reached by these names and IP addresses."""
        subject = [x509.NameAttribute(NameOID.COMMON_NAME, names[0])]
        alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
        alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        return self._issue(subject, ExtendedKeyUsageOID.SERVER_AUTH, alternatives, now=now)

    def _issue(
        self,
        subject: Sequence[x509.NameAttribute[str]],
        usage: x509.ObjectIdentifier,
        alternatives: Sequence[x509.GeneralName],
        *,
        now: dt.datetime,
    ) -> KeyPair:
        key = ec.generate_private_key(ec.SECP256R1())
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = (
            _start_certificate(x509.Name(subject), key.public_key(), now)
            .issuer_name(self._certificate.subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(is_authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(authority, critical=False)
        )
        if alternatives:
            names = x509.SubjectAlternativeName(alternatives)
            builder = builder.add_extension(names, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        public = certificate.public_bytes(serialization.Encoding.PEM)
        return KeyPair(public=public, private=_private_pem(key))
