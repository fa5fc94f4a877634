"""The URL of a rate limit store, and that its password stays where it is."""

from pathlib import Path

import pytest

from keywright.addresses import Tcp
from keywright.errors import KeywrightError
from keywright.verifier.assembly import assemble
from keywright.verifier.limits.store_address import StoreAddress, parse_store
from keywright.verifier.settings import VerifierSettings
from tests.unit.verifier.test_verify_settings import settle


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("redis://redis.example", StoreAddress(tcp=Tcp("redis.example", 6379))),
        (" redis://10.0.0.1:7000/3\n", StoreAddress(tcp=Tcp("10.0.0.1", 7000), database=3)),
        ("rediss://[::1]:7000/", StoreAddress(tcp=Tcp("::1", 7000), is_tls=True)),
        ("redis://:p%40ss@h", StoreAddress(tcp=Tcp("h", 6379), password="p@ss")),
        ("redis://me:s3@h", StoreAddress(tcp=Tcp("h", 6379), user="me", password="s3")),
    ],
)
def test_urls(text: str, address: StoreAddress) -> None:
    """As Redis clients know them."""
    assert parse_store(text) == address


@pytest.mark.parametrize(
    "text",
    ["redis.example:6379", "http://h", "redis://", "redis://h:port", "redis://h/x", "redis://h?db=1", "redis://h/1/2"],
)
def test_what_is_none(text: str) -> None:
    """One line, for the flag, the environment and the file."""
    with pytest.raises(ValueError, match=r"^not redis://"):
        parse_store(text)
    with pytest.raises(KeywrightError, match=r"--rate-limit-store is not redis://.*: use redis://"):
        settle("--rate-limit-store", text)


def test_a_password_is_not_printed(tmp_path: Path) -> None:
    """Not by repr, str, or an error; and one on the command line is refused, because others can read that."""
    url = "redis://me:hunter2@h:1"
    address = parse_store(url)
    assert "hunter2" not in f"{address} {address!r}"
    with pytest.raises(KeywrightError, match="KEYWRIGHT_RATE_LIMIT_STORE") as refusal:
        settle("--rate-limit-store", url)
    assert "hunter2" not in str(refusal.value)
    assert settle(KEYWRIGHT_RATE_LIMIT_STORE=url).rate_limit_store == address
    with pytest.raises(KeywrightError) as wrong:
        settle(KEYWRIGHT_RATE_LIMIT_STORE="redis://me:hunter2@h:port")
    assert "hunter2" not in str(wrong.value)


async def test_a_file_that_cannot_be_used_is_one_line_at_the_start(tmp_path: Path) -> None:
    """Missing, no text, no URL: each names the file and the flag, and never repeats what is in it."""
    file = tmp_path / "store"
    for content, says in ((None, "No such file"), (b"\xff\xfe", "not text"), (b"hunter2", "not redis://")):
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(KeywrightError, match=says) as refusal:
            assemble(VerifierSettings(rate_limit_store_file=file), [])
        text = str(refusal.value)
        assert str(file) in text
        assert "check --rate-limit-store-file" in text
        assert "hunter2" not in text
