"""The plain key: built, read from the right, refused with a cause, and never shown whole by accident."""

import base64
import random
import re
import string
import zlib
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from keywright.domain import plainkey
from keywright.domain.plainkey import Malformed, MalformedCause, PlainKey
from tests.unit.domain.examples import key

HELD = key(99)

PREFIXES = st.builds(
    lambda first, rest: "_".join([first, *rest]),
    st.text(string.ascii_lowercase, min_size=2, max_size=8),
    st.lists(st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=5), max_size=2),
)
TAIL = "0" * 43
# Worked out once, apart from the code under test: CRC-32 by zlib, base62 digit by digit.
VECTORS = {
    "kw_live_4hJk29sLmQ0z_" + "A" * 43: "1t4Bza",
    "a1_000000000000_" + "0" * 43: "2EOZy8",
    "acme_prod_eu_zzzzzzzzzzzz_" + "z" * 43: "0Z74gk",
}


def _base62(number: int) -> str:
    alphabet = string.digits + string.ascii_uppercase + string.ascii_lowercase
    return "".join(alphabet[number // 62**place % 62] for place in (5, 4, 3, 2, 1, 0))


@pytest.mark.parametrize(("body", "checksum"), VECTORS.items(), ids=VECTORS)
def test_known_keys_keep_their_checksum(body: str, checksum: str) -> None:
    """The format is a contract: these keys are valid today and for ever."""
    parsed = plainkey.parse(body + checksum)
    assert isinstance(parsed, PlainKey)
    assert parsed.text == body + checksum
    assert _base62(zlib.crc32(body.encode())) == checksum


@pytest.mark.parametrize("prefix", ["kw_live", "a1", "acme_prod_eu", "x" * 20, "a_1_2_3"])
def test_a_generated_key_has_the_documented_form(prefix: str) -> None:
    """``<prefix>_<12 base62>_<43 base62><6 base62>``, whatever underscores the prefix holds."""
    made = key(1, prefix)
    assert re.fullmatch(rf"{prefix}_[0-9A-Za-z]{{12}}_[0-9A-Za-z]{{49}}", made.text)
    assert len(made.text) <= plainkey.MAX_LENGTH


@given(prefix=PREFIXES, rng=st.randoms(use_true_random=False))
def test_what_is_generated_is_read_back(prefix: str, rng: random.Random) -> None:
    """Every key that can be minted is parsed into its own prefix and id."""
    made = plainkey.generate(prefix, rng)
    assert plainkey.parse(made.text) == made
    assert made.prefix == prefix
    assert made.text.startswith(f"{prefix}_{made.key_id}_")


@given(seed=st.integers(0, 50), position=st.integers(0, 200), other=st.characters())
def test_one_wrong_character_is_always_refused(seed: int, position: int, other: str) -> None:
    """A CRC-32 notices every single changed character, wherever it is."""
    made = key(seed, "kw_live").text
    position %= len(made)
    assume(made[position] != other)
    mutated = made[:position] + other + made[position + 1 :]
    assert isinstance(plainkey.parse(mutated), Malformed)


@given(seed=st.integers(0, 50), position=st.integers(0, 200))
def test_two_swapped_neighbours_are_refused(seed: int, position: int) -> None:
    """The usual slip of a typist."""
    made = key(seed, "kw_live").text
    position %= len(made) - 1
    assume(made[position] != made[position + 1])
    swapped = made[:position] + made[position + 1] + made[position] + made[position + 2 :]
    assert isinstance(plainkey.parse(swapped), Malformed)


@given(text=st.text())
def test_any_text_gets_an_answer(text: str) -> None:
    """``parse`` never raises, whatever is presented."""
    assert isinstance(plainkey.parse(text), Malformed)


@pytest.mark.parametrize("space", [" {}", "{} ", "{}\n", "\t{}\r\n", "\u00a0{}", "\u2003{}\u2003"])
def test_white_space_around_a_good_key_is_named(space: str) -> None:
    """Copying a line break along is the commonest accident, and the answer says so."""
    assert plainkey.parse(space.format(key().text)) == Malformed(MalformedCause.WHITE_SPACE)


MISTYPED = {
    "nothing": "",
    "only white space": "  \n",
    "the last character missing": key().text[:-1],
    "one character too many": key().text + "0",
    "the secret without its id": "kw_live_" + TAIL + "000000",
    "no prefix": key().text.removeprefix("kw_live"),
    "a prefix in upper case": key().text.upper(),
    "a prefix that starts with a digit": "1" + key().text,
    "a doubled underscore": key().text.replace("kw_live", "kw__live"),
    "a prefix longer than 20": "x" * 21
    + "_000000000000_"
    + TAIL
    + _base62(zlib.crc32(f"{'x' * 21}_000000000000_{TAIL}".encode())),
    "white space around a wrong key": f" {key().text[:-1]} ",
    "white space inside": key().text.replace("_", "_ ", 1),
    "letters that only look right": key().text.replace("k", "\u043a", 1),
    "digits of another script": key().text[:-1] + "\u0663",
    "a NUL": key().text + "\0",
}


@pytest.mark.parametrize("text", MISTYPED.values(), ids=MISTYPED)
def test_anything_else_is_truncated_or_mistyped(text: str) -> None:
    """One cause for all the rest; it quotes nothing of what was presented."""
    assert plainkey.parse(text) == Malformed(MalformedCause.MISTYPED)


@pytest.mark.parametrize("show", [repr, str, "{}".format, "{!r}".format], ids=["repr", "str", "format", "format!r"])
def test_a_plain_key_shows_only_its_public_part(show: object) -> None:
    """Neither a log line nor a traceback can leak a key by formatting it."""
    made = key()
    assert callable(show)
    shown = show(made)
    assert shown == f"PlainKey(kw_live_{made.key_id}_…)"
    assert made.text[-49:] not in shown


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"api-key": base64.b64encode(HELD.text.encode()).decode()}, HELD),
        ({"other": base64.b64encode(HELD.text.encode()).decode()}, None),
        ({"api-key": base64.b64encode(HELD.text[:-1].encode()).decode()}, None),
        ({"api-key": "%%%"}, None),
        ({"api-key": base64.b64encode("schlüssel".encode()).decode()}, None),
        (None, None),
    ],
    ids=["a key", "another entry", "a truncated key", "not base64", "not ASCII", "no data"],
)
def test_finding_a_key_in_a_secret(data: dict[str, str] | None, expected: PlainKey | None) -> None:
    """Only a well-formed key in the entry that was asked for."""
    assert plainkey.find_in(data, "api-key") == expected


def test_a_terminal_obeys_nothing_that_is_escaped() -> None:
    """Escape sequences, bells, line ends and changes of direction become visible; letters stay what they are."""
    escaped = plainkey.escape("a\x1b[31mb\x07\r\n\u202ec\x9b2J")
    assert escaped == "a\\x1b[31mb\\x07\\r\\n\\u202ec\\x9b2J"
    assert plainkey.escape("München ✓") == "München ✓"


def test_the_mask_is_the_public_face() -> None:
    """As in DESIGN section 3."""
    assert plainkey.mask("kw_live", "4hJk29sLmQ0z") == "kw_live_4hJk29sLmQ0z_…"


def test_the_secret_holds_at_least_256_bits() -> None:
    """62 to the 43rd is more than 2 to the 256th, and every character comes from the given generator."""
    drawn: list[str] = []

    class Counting(random.Random):
        def choice(self, seq: Any) -> Any:
            drawn.append("")
            return super().choice(seq)

    plainkey.generate("kw", Counting(1))
    assert len(drawn) == 12 + 43
    assert len(set(plainkey.ALPHABET)) == 62
    assert 62**43 > 2**256
