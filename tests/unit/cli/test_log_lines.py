"""Log lines: for people or machines, and a plain key is cut out of both, should one ever get there."""

import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.cli import logs
from keywright.domain.plainkey import redact
from tests.unit.domain.examples import key

PLAIN = key(3)


@pytest.fixture(autouse=True)
def _root_logger_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    root.handlers.clear()
    yield
    root.handlers[:], level = before
    root.setLevel(level)


def _logged(capsys: pytest.CaptureFixture[str], form: str, message: object, *arguments: object) -> str:
    logs.configure(form=form, level="info")
    logging.getLogger("keywright.test").warning(message, *arguments)
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


SENTENCES = {
    "alone": "{}",
    "in a sentence": "the key {} was refused",
    "quoted": "key={!r}",
    "in a header": "Authorization: Bearer {}\r\n",
    "in JSON": '{{"key": "{}"}}',
    "in a URL": "https://x/?key={}&a=b",
    "twice": "{0} and {0}",
}


@pytest.mark.parametrize("form", ["human", "json"])
@pytest.mark.parametrize("sentence", SENTENCES.values(), ids=SENTENCES)
def test_a_plain_key_is_cut_out(sentence: str, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Its public part stays, so that one can find out whose it was."""
    line = _logged(capsys, form, sentence.format(PLAIN.text))
    assert PLAIN.text[-49:] not in line
    assert f"kw_live_{PLAIN.key_id}_[redacted]" in line


@pytest.mark.parametrize("form", ["human", "json"])
def test_a_key_in_an_argument_or_a_traceback_is_cut_out_too(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Wherever in the record it is."""
    line = _logged(capsys, form, "refused %s", PLAIN.text)
    try:
        int(PLAIN.text)
    except ValueError:
        logging.getLogger("keywright.test").exception("trouble")
    line += capsys.readouterr().err
    assert PLAIN.text[-49:] not in line
    assert line.count("[redacted]") >= 2
    assert "Traceback" in line


def test_a_line_for_machines_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    """Time with its zone, level, logger, message; also when the text holds line breaks."""
    line = _logged(capsys, "json", "first\nsecond: %s", "Grüße")
    assert line.count("\n") == 1
    read = json.loads(line)
    assert read.pop("time").endswith("+00:00")
    assert read == {"level": "warning", "logger": "keywright.test", "message": "first\nsecond: Grüße"}


def test_a_line_for_people_has_time_level_and_text(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing else."""
    clock, level, text = _logged(capsys, "human", "payments/a: issued").split(maxsplit=2)
    assert (len(clock), level, text) == (8, "WARNING", "payments/a: issued\n")


def test_the_framework_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    """kopf logs whole objects at DEBUG; not even ``--log-level debug`` lets that out."""
    logs.configure(form="human", level="debug")
    logging.getLogger("kopf.objects").debug("spec: %s", PLAIN.text)
    logging.getLogger("asyncio").info("x")
    logging.getLogger("keywright").debug("ours")
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "ours" in captured.err


@given(
    seed=st.integers(0, 10**6), before=st.text(max_size=5), after=st.sampled_from(["", " ", "\n", '"', "'", "…", "_"])
)
def test_no_generated_key_gets_through(seed: int, before: str, after: str) -> None:
    """Whatever stands around it."""
    plain = key(seed)
    assert plain.text[-49:] not in redact(before + plain.text + after)


def test_other_long_words_stay() -> None:
    """Hashes, UIDs, fingerprints and masked keys are wanted in logs."""
    for text in (
        "sha256:" + "a" * 64,
        "$argon2id$v=19$m=8,t=1,p=1$c2l4dGVlbiBieXRlcyBvaw$a+iToRyWyRFmq79Cb25gV7L2RyRiwVhnaq1wwJAQRfU",
        "00000000-0000-4000-8000-000000000001",
        "kw_live_4hJk29sLmQ0z_…",
    ):
        assert redact(text) == text
