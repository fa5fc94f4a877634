"""Rules follow their file: taken whole, refused whole, and never half written."""

import logging
import os
from pathlib import Path

import pytest

from keywright.addresses import Tcp
from keywright.verifier.http.listener import listen
from keywright.verifier.settings import VerifierSettings
from tests.unit.verifier.builders import api_key, mint, record
from tests.unit.verifier.wire import Served, serving

KEY = mint()
OPEN, CLOSED, WRONG = "rules: [{path: /*}]", "rules: [{path: /none}]", "rules: [{path: /*, rolls: [x]}]"


async def status(served: Served) -> int:
    return (await served.present(KEY.text, target="/verify/a")).status


def look_twice(served: Served) -> None:
    """What was seen once only may be half written."""
    assert served.verifier.rules is not None
    served.verifier.rules.look()
    served.verifier.rules.look()


def readiness(served: Served) -> bytes | None:
    admin = served.verifier.admin_hub.answer
    return admin.__self__._unready()  # type: ignore[attr-defined, no-any-return]


async def test_a_missing_file_is_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Not ready, 503, one line; and as soon as it is there, it counts."""
    file = tmp_path / "rules.yaml"
    async with serving(VerifierSettings(rules=file)) as served:
        served.verifier.index.put(api_key(record(KEY)))
        assert (await served.present(KEY.text, target="/verify/a")).code == "unavailable"
        assert (await served.ask(target="/verify/a")).code == "unavailable"
        assert b"no rules yet" in (readiness(served) or b"")
        assert caplog.messages == [
            f"{file}: cannot be read: No such file or directory: put it there, or check --rules",
            f"no rules were taken from {file}: not ready until there are",
        ]
        look_twice(served)
        assert len(caplog.messages) == 2
        file.write_text(OPEN)
        look_twice(served)
        assert (await status(served), readiness(served)) == (200, None)


async def test_wrong_rules_are_refused_whole(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The ones of before stay, with a line for each mistake, and it shows in the metrics."""
    file = tmp_path / "rules.yaml"
    file.write_text(OPEN)
    async with serving(VerifierSettings(rules=file)) as served:
        rules, metrics = served.verifier.rules, served.verifier.metrics
        assert rules is not None
        served.verifier.index.put(api_key(record(KEY)))
        for wrong in (WRONG, "", "rules: ["):
            file.write_text(wrong)
            look_twice(served)
            assert (await status(served), rules.is_current) == (200, False)
        file.unlink()
        look_twice(served)
        assert (await status(served), rules.is_current) == (200, False)
        assert f"{file}: rules[0].rolls: there is no such field: use path" in caplog.text
        assert f"no rules were taken from {file}: those of before stay in force" in caplog.messages
        file.write_text(CLOSED)
        look_twice(served)
        assert (await status(served), rules.is_current) == (403, True)
        assert (metrics.rules_taken, metrics.rules_refused) == (2, 4)


async def test_half_a_file_is_not_taken(tmp_path: Path) -> None:
    """The first lines of a file may be rules too, and wider ones: it has to stand still between two looks."""
    file = tmp_path / "rules.yaml"
    file.write_text(CLOSED)
    async with serving(VerifierSettings(rules=file)) as served:
        assert served.verifier.rules is not None
        served.verifier.index.put(api_key(record(KEY)))
        file.write_text(OPEN)
        served.verifier.rules.look()
        assert await status(served) == 403
        file.write_text(CLOSED + "\n")
        look_twice(served)
        assert await status(served) == 403


async def test_a_configmap_swaps_a_link(tmp_path: Path) -> None:
    """The kubelet moves a link to another folder; neither the file's name nor, here, its time or size tell of it."""
    for folder, text in (("one", OPEN), ("two", CLOSED.replace("none", "n")[: len(OPEN)].ljust(len(OPEN)))):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "rules.yaml").write_text(text)
        os.utime(tmp_path / folder / "rules.yaml", (0, 0))
    data = tmp_path / "..data"
    data.symlink_to("one")
    file = tmp_path / "rules.yaml"
    file.symlink_to("..data/rules.yaml")
    async with serving(VerifierSettings(rules=file)) as served:
        served.verifier.index.put(api_key(record(KEY)))
        assert await status(served) == 200
        (tmp_path / "..new").symlink_to("two")
        (tmp_path / "..new").rename(data)
        look_twice(served)
        assert await status(served) == 403


async def test_what_is_no_file_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A pipe would hold up every request."""
    os.mkfifo(tmp_path / "pipe")
    async with serving(VerifierSettings(rules=tmp_path / "pipe")) as served:
        assert (await served.ask()).code == "unavailable"
    assert "this is no file: check --rules" in caplog.text


async def test_rules_that_never_decide_are_pointed_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The first that matches decides, but nobody writes another behind it on purpose."""
    file = tmp_path / "rules.yaml"
    file.write_text("rules: [{path: /a/*}, {path: /a/b, roles: [admin]}]")
    caplog.set_level(logging.INFO)
    async with serving(VerifierSettings(rules=file)):
        assert caplog.messages[1:] == [
            f"judging by the 2 rules of {file}",
            f"{file}: rules[1] never decides: rules[0] stands before it",
        ]


async def test_the_metrics_tell_whether_the_file_counts(tmp_path: Path) -> None:
    """A gauge to be warned by, only where there are rules."""
    (tmp_path / "rules.yaml").write_text(OPEN)
    for settings, expected in (
        (VerifierSettings(rules=tmp_path / "rules.yaml"), b"keywright_verifier_rules_current 1\n"),
        (VerifierSettings(), None),
    ):
        async with serving(settings) as served:
            hub = served.verifier.admin_hub
            listener = await listen(Tcp("127.0.0.1", 0), hub.open)
            assert isinstance(listener.address, Tcp)
            admin = Served(served.verifier, served.watch, listener.address.port, hub)
            body = (await admin.ask(target="/metrics")).body
            await admin.close()
            listener.close()
            await hub.stop(0)
            assert (b"rules_current" in body) == (expected is not None)
            assert expected is None or expected in body
