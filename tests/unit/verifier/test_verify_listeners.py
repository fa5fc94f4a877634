"""TCP, TLS and Unix sockets: opened as asked, or refused in one line that says what to do."""

import asyncio
import ipaddress
import socket
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from keywright.addresses import Tcp
from keywright.errors import KeywrightError
from keywright.verifier.http.listener import Unix, listen, tls_context
from tests.unit.verifier.builders import api_key, mint, record
from tests.unit.verifier.wire import Served, read_reply

KEY = mint()
GOOD = b"GET /verify HTTP/1.1\r\nHost: v\r\nX-API-Key: %b\r\n\r\n" % KEY.text.encode()


@pytest.fixture(autouse=True)
def _issued(served: Served) -> None:
    served.verifier.index.put(api_key(record(KEY)))


async def test_a_unix_socket_serves_and_goes_away(served: Served, tmp_path: Path) -> None:
    """Only owner and group get in, from the first moment on; closing removes the file."""
    path = tmp_path / "kw.sock"
    listener = await listen(Unix(path), served.hub.open)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(GOOD)
    assert (await read_reply(reader)).status == 200
    writer.close()
    listener.close()
    assert not path.exists()


async def test_a_stale_socket_is_replaced(served: Served, tmp_path: Path) -> None:
    """What a killed process left behind does not keep the next one from starting."""
    path = tmp_path / "kw.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    listener = await listen(Unix(path), served.hub.open)
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(GOOD)
    assert (await read_reply(reader)).status == 200
    writer.close()
    listener.close()


async def test_a_socket_of_the_living_is_left_alone(served: Served, tmp_path: Path) -> None:
    """Two verifiers do not fight over a path."""
    path = tmp_path / "kw.sock"
    listener = await listen(Unix(path), served.hub.open)
    with pytest.raises(KeywrightError, match=r"another process listens on .*: stop it, or choose another path"):
        await listen(Unix(path), served.hub.open)
    assert path.exists()
    listener.close()


async def test_a_successors_socket_is_left_alone(served: Served, tmp_path: Path) -> None:
    """Whoever stops removes its own socket file, not the one of a process that has replaced it."""
    path = tmp_path / "kw.sock"
    listener = await listen(Unix(path), served.hub.open)
    path.unlink()
    successor = await listen(Unix(path), served.hub.open)
    listener.close()
    assert path.exists()
    successor.close()


async def test_other_files_are_not_removed(served: Served, tmp_path: Path) -> None:
    """A path that is no socket is somebody's file."""
    path = tmp_path / "data"
    path.write_text("precious")
    with pytest.raises(KeywrightError, match="is no socket"):
        await listen(Unix(path), served.hub.open)
    assert path.read_text() == "precious"


@pytest.mark.parametrize("path", ["missing/kw.sock", "l" * 200])
async def test_an_impossible_path_is_one_line(served: Served, tmp_path: Path, path: str) -> None:
    """The line names the path and what kind of path to choose."""
    with pytest.raises(KeywrightError, match="choose a path in a directory that exists"):
        await listen(Unix(tmp_path / path), served.hub.open)


async def test_a_taken_port_is_one_line(served: Served) -> None:
    """The line names the address."""
    with pytest.raises(KeywrightError, match=rf"cannot listen on 127.0.0.1:{served.port}: .*choose another address"):
        await listen(Tcp("127.0.0.1", served.port), served.hub.open)
    with pytest.raises(KeywrightError, match=r"cannot listen on nowhere\.invalid:1: "):
        await listen(Tcp("nowhere.invalid", 1), served.hub.open)


async def test_no_host_means_every_interface(served: Served) -> None:
    """`:PORT` listens on IPv4 and, where there is one, on IPv6."""
    listener = await listen(Tcp("", 0), served.hub.open)
    assert isinstance(listener.address, Tcp)
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.address.port)
    writer.write(GOOD)
    assert (await read_reply(reader)).status == 200
    writer.close()
    listener.close()


async def test_tls_with_client_certificates(served: Served, tmp_path: Path) -> None:
    """With a client CA only its clients get in; keys of everybody else are not even read."""
    authority, server, client = Authority(tmp_path, "ca"), "server", "client"
    stranger = Authority(tmp_path, "other-ca")
    authority.issue(server)
    authority.issue(client)
    stranger.issue("stranger")
    context = tls_context(tmp_path / "server.crt", tmp_path / "server.key", tmp_path / "ca.crt")
    listener = await listen(Tcp("127.0.0.1", 0), served.hub.open, context)
    assert isinstance(listener.address, Tcp)

    async def ask(certificate: str | None) -> int:
        trust = ssl.create_default_context(cafile=tmp_path / "ca.crt")
        if certificate is not None:
            trust.load_cert_chain(tmp_path / f"{certificate}.crt", tmp_path / f"{certificate}.key")
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.address.port, ssl=trust)  # type: ignore[union-attr]
        try:
            writer.write(GOOD)
            return (await read_reply(reader)).status
        finally:
            writer.transport.abort()

    assert await ask("client") == 200
    for certificate in (None, "stranger"):
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            await ask(certificate)
    assert served.verifier.metrics.allowed == 1
    listener.close()


async def test_tls_answers_survive_a_body(served: Served, tmp_path: Path) -> None:
    """The connection is closed after an announced body, and the answer arrives all the same."""
    Authority(tmp_path, "ca").issue("server")
    context = tls_context(tmp_path / "server.crt", tmp_path / "server.key", None)
    listener = await listen(Tcp("127.0.0.1", 0), served.hub.open, context)
    assert isinstance(listener.address, Tcp)
    trust = ssl.create_default_context(cafile=tmp_path / "ca.crt")
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.address.port, ssl=trust)
    writer.write(GOOD[:-2] + b"Content-Length: 5\r\n\r\nhello" + GOOD)
    assert (await read_reply(reader)).status == 200
    assert await reader.read() == b""
    writer.close()
    listener.close()


def test_unusable_tls_files_are_one_line(tmp_path: Path) -> None:
    """Missing, unreadable or mismatched files are named, with the flags to check."""
    Authority(tmp_path, "ca").issue("one")
    Authority(tmp_path, "ca2").issue("two")
    (tmp_path / "rubbish").write_text("rubbish")
    one, key, two = tmp_path / "one.crt", tmp_path / "one.key", tmp_path / "two.key"
    for cert, secret in ((tmp_path / "none", key), (one, tmp_path / "none"), (one, two), (tmp_path / "rubbish", key)):
        with pytest.raises(KeywrightError, match="check --tls-cert and --tls-key"):
            tls_context(cert, secret, None)
    for authority in ("none", "rubbish"):
        with pytest.raises(KeywrightError, match="check --client-ca"):
            tls_context(one, key, tmp_path / authority)


class Authority:
    """A certificate authority in a directory."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._write(name, self._sign(self._name, self._key.public_key(), is_authority=True), self._key)

    def issue(self, name: str) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._write(name, self._sign(subject, key.public_key(), is_authority=False), key)

    def _sign(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, is_authority: bool) -> x509.Certificate:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )

    def _write(self, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        pem = serialization.Encoding.PEM
        (self._directory / f"{name}.crt").write_bytes(certificate.public_bytes(pem))
        secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (self._directory / f"{name}.key").write_bytes(secret)
