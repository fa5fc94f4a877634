"""What reaches terminals and pipes."""

import json
import re

import pytest
import yaml

from keywright.api.standing import Tone
from keywright.domain.apikey import Status
from keywright.kubectl.output import print_documents, print_fields, print_table, say
from tests.unit.api.manifests import manifest
from tests.unit.domain.examples import key, record

EVIL = "a\x1b[31mb\x07\r\n\u202ec\x9b2J"


def test_a_terminal_obeys_nothing_that_users_wrote(capsys: pytest.CaptureFixture[str]) -> None:
    """Escape sequences, bells, line ends and changes of direction are shown, not sent."""
    say(EVIL)
    print_table(("NAME",), [(Tone.PLAIN, (EVIL,))])
    print_documents([manifest(displayName=EVIL)], "json")
    print_documents([manifest(displayName=EVIL)], "yaml")
    captured = capsys.readouterr()
    shown = captured.out + captured.err
    assert "a\\x1b[31mb" in shown
    assert not any(each in shown for each in "\x1b\x07\r\u202e\x9b")


def test_markup_of_the_table_library_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    """A display name cannot colour itself, or hide."""
    print_table(("NAME",), [(Tone.PLAIN, ("[red]x[/red] :smile:",))])
    assert "[red]x[/red] :smile:" in capsys.readouterr().out


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_documents_hold_no_hash(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nor a fingerprint; and what was handed in still has them."""
    plain = record(key())
    found = manifest(Status(keys=(plain,), current_key_id=plain.id))
    print_documents([found], form, is_list=True)
    shown = capsys.readouterr().out
    document = json.loads(shown) if form == "json" else yaml.safe_load(shown)
    assert document["items"][0]["status"]["keys"][0]["id"] == plain.id
    assert plain.hash not in shown
    assert str(plain.fingerprint) not in shown
    assert "argon2" not in shown
    assert found["status"]["keys"][0]["hash"] == plain.hash


def test_names_are_what_kubectl_takes(capsys: pytest.CaptureFixture[str]) -> None:
    """One a line."""
    print_documents([manifest()], "name", is_list=True)
    assert capsys.readouterr().out == "apikey.keywright.dev/ci\n"


def test_nothing_is_cut_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    """Programs want it whole, whatever the width of the terminal that they were started from."""
    print_table(("NAME", "OWNER"), [(Tone.RED, ("n" * 63, "o" * 253))])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert "o" * 253 in lines[1]
    assert "\x1b" not in lines[1]


@pytest.mark.parametrize("is_terminal", [False, True], ids=["pipe", "terminal"])
def test_no_line_ends_in_blanks(
    is_terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is copied or compared has none, whatever else is in the column. Colours stay."""
    if is_terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.delenv("NO_COLOR", raising=False)
    print_table(("NAME", "STATUS"), [(Tone.RED, ("a", "Failed (SecretMissing)")), (Tone.AMBER, ("longer", "x"))])
    print_fields([("Name", Tone.PLAIN, "a"), ("Status", Tone.RED, "Revoked")])
    out = capsys.readouterr().out
    assert ("\x1b[31m" in out) is is_terminal
    lines = re.sub(r"\x1b\[[0-9;]*m", "", out).splitlines()
    assert len(lines) == 5
    assert lines == [each.rstrip() for each in lines]
