"""One JSON line a decision, which says who wanted what and never holds a key."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keywright.domain import plainkey
from keywright.verifier.audit.audit import LINES_A_SECOND, Audit, Case
from keywright.verifier.audit.sink import AuditSink
from keywright.verifier.rules.originals import Source
from keywright.verifier.settings import VerifierSettings
from keywright.verifier.verdicts import INVALID, MALFORMED_MISTYPED
from tests.unit.verifier.builders import CHEAP, api_key, at, mint, record, with_other_secret
from tests.unit.verifier.wire import Served, serving, until

KEY, OTHER = mint(1), mint(2)
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
RULES = """\
rules:
- {path: /healthz, allow: anonymous}
- {path: /api/*, methods: [GET]}
- {path: /admin/*, scopes: [admin]}
"""
OWNED: dict[str, Any] = {
    "status": {"effective": {"owner": {"user": 'al"ice@example.com'}}},
    "spec": {"owner": {"user": 'al"ice@example.com'}},
}


class Log:
    """An audit log that is being written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def text(self) -> str:
        return self.path.read_text() if self.path.exists() else ""

    async def lines(self, count: int) -> list[dict[str, Any]]:
        """The lines, as soon as there are so many; their time is left out. Anything more than that is an error."""
        async with asyncio.timeout(5):
            while self.text.count("\n") < count:
                await asyncio.sleep(0.02)
        found = [json.loads(each) for each in self.text.splitlines()]
        assert len(found) == count
        for each in found:
            assert each.pop("time")[-1] == "Z"
        return found


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    """Whatever a test does, no plain key and no part of one is in its log."""
    found = Log(tmp_path / "audit.jsonl")
    yield found
    assert found.text.isascii()
    for key in (KEY.text, OTHER.text, with_other_secret(KEY)):
        assert key[-49:] not in found.text
        assert key[-43:-6] not in found.text


def settings(log: Log, rules: str | None = None, **more: Any) -> VerifierSettings:
    file = log.path.with_name("rules.yaml")
    if rules is not None:
        file.write_text(rules)
    return VerifierSettings(argon2_workers=2, audit=log.path, rules=file if rules is not None else None, **more)


async def test_an_allowed_request(log: Log) -> None:
    """Who it was (owner, display name, key), what was asked for, which rule let it pass, and how to find its trace."""
    async with serving(settings(log, RULES)) as served:
        manifest = api_key(record(KEY), **OWNED)
        manifest["spec"]["displayName"] = "CI déploy\n"
        served.verifier.index.put(manifest)
        await served.ask(
            ("X-API-Key", KEY.text), ("traceparent", TRACEPARENT), target="/verify/api/agents?page=2", method="GET"
        )
        assert await log.lines(1) == [
            {
                "verdict": "allowed",
                "code": "allowed",
                "status": 200,
                "actor": 'al"ice@example.com',
                "agent": "CI déploy\n",
                "key": "payments/ci-deploy",
                "class": "standard",
                "keyId": KEY.key_id,
                "method": "GET",
                "path": "/api/agents",
                "rule": 1,
                "peer": "127.0.0.1",
                "trace": TRACE,
            }
        ]


async def test_without_owner_and_display_name_the_key_speaks_for_itself(log: Log) -> None:
    """As in the identity headers. Without rules there is no number of one."""
    async with serving(settings(log)) as served:
        served.verifier.index.put(api_key(record(KEY)))
        await served.present(KEY.text)
        (line,) = await log.lines(1)
    assert (line["actor"], line["agent"]) == ("apikey:payments/ci-deploy", "ci-deploy")
    assert line.keys().isdisjoint({"rule", "trace", "path", "method"})


@pytest.mark.parametrize(
    ("text", "how", "code", "names"),
    [
        (KEY.text, {"spec": {"revoked": True}}, "revoked_key", {"keyId", "actor", "agent", "key", "class"}),
        (KEY.text, {"spec": {"suspended": True}}, "suspended_key", {"keyId", "actor", "agent", "key", "class"}),
        (KEY.text, {"spec": {"expiresAt": at(-5)}}, "expired_key", {"keyId", "actor", "agent", "key", "class"}),
        (with_other_secret(KEY), {}, "invalid_key", {"keyId"}),
        (OTHER.text, {}, "invalid_key", {"keyId"}),
        (KEY.text[:-1] + "-", {}, "malformed_key", set()),
        (KEY.text[:-1], {}, "malformed_key", set()),
        ("hunter2", {}, "malformed_key", set()),
    ],
)
async def test_a_refused_key(log: Log, text: str, how: dict[str, Any], code: str, names: set[str]) -> None:
    """Whose key it was is said once its secret is proven; before that only the id, which is public, and only of what
    has the form of a key.
    """
    async with serving(settings(log)) as served:
        served.verifier.index.put(api_key(record(KEY), **how))
        await served.present(text)
        (line,) = await log.lines(1)
    assert (line["verdict"], line["code"], line["status"]) == ("refused", code, 401)
    assert line["detail"]
    assert line.keys() & {"keyId", "actor", "agent", "key", "class"} == names
    assert "hunter2" not in log.text


async def test_what_a_key_may_not_do(log: Log) -> None:
    """403 names the key and the rule; an anonymous request names nobody; no key at all is a line as well."""
    async with serving(settings(log, RULES)) as served:
        served.verifier.index.put(api_key(record(KEY)))
        await served.present(KEY.text, target="/verify/admin/x", method="DELETE")
        await served.present(KEY.text, target="/verify/healthz")
        await served.ask(target="/verify/api/a")
        await served.present(KEY.text, target="/verify/api//a")
        scope, anonymous, missing, odd = await log.lines(4)
    assert (scope["code"], scope["rule"], scope["method"], scope["actor"]) == (
        "insufficient_scope",
        2,
        "DELETE",
        "apikey:payments/ci-deploy",
    )
    assert (anonymous["verdict"], anonymous["rule"], anonymous.get("actor")) == ("allowed", 0, None)
    assert (missing["code"], missing["status"], missing["path"]) == ("missing_key", 401, "/api/a")
    assert (odd["code"], odd["path"], "rule" in odd, "actor" in odd) == ("invalid_request", "/api//a", False, False)


async def test_the_true_status_stands_there(log: Log) -> None:
    """Also where nginx is told another one."""
    async with serving(settings(log)) as served:
        served.watch.synced.clear()
        assert (await served.ask(target="/verify?deny=nginx")).status == 403
        (line,) = await log.lines(1)
    assert (line["code"], line["status"]) == ("unavailable", 503)


async def test_two_keys_at_once_are_nobodys(log: Log) -> None:
    """Which of them it was about cannot be told."""
    async with serving(settings(log)) as served:
        await served.ask(("X-API-Key", KEY.text), ("Authorization", f"Bearer {OTHER.text}"))
        (line,) = await log.lines(1)
    assert (line["code"], "keyId" in line) == ("invalid_request", False)


@pytest.mark.parametrize("rules", [None, RULES])
@pytest.mark.parametrize(
    ("source", "headers"),
    [
        (Source.ORIGINAL, {"X-Original-URI": "/api/a?key=b", "X-Original-Method": "GET"}),
        (Source.FORWARDED, {"X-Forwarded-Uri": "/api/a?b", "X-Forwarded-Method": "GET", "X-Forwarded-Host": "a.b"}),
    ],
)
async def test_the_original_request_is_the_proxys(
    log: Log, source: Source, headers: dict[str, str], rules: str | None
) -> None:
    """By the same source as for rules, also where there are none."""
    async with serving(settings(log, rules, request_from=source)) as served:
        served.verifier.index.put(api_key(record(KEY)))
        assert (await served.ask(("X-API-Key", KEY.text), *headers.items())).status == 200
        (line,) = await log.lines(1)
    assert (line["method"], line["path"]) == ("GET", "/api/a")


@pytest.mark.parametrize(
    "values",
    [
        [TRACEPARENT.upper()],
        [TRACEPARENT, TRACEPARENT],
        [f"00-{'0' * 32}-00f067aa0ba902b7-01"],
        [f"00-{TRACE}-{'0' * 16}-01"],
        [f"ff-{TRACE}-00f067aa0ba902b7-01"],
        [TRACE],
        ['"},{"x":"'],
    ],
)
async def test_a_trace_that_is_none_is_left_out(log: Log, values: list[str]) -> None:
    """A client can send anything. It changes no verdict either."""
    async with serving(settings(log)) as served:
        served.verifier.index.put(api_key(record(KEY)))
        reply = await served.ask(("X-API-Key", KEY.text), *(("traceparent", each) for each in values))
        assert reply.status == 200
        (line,) = await log.lines(1)
    assert "trace" not in line


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/verify/" + b"a" * 300, "/" + "a" * 255 + "…"),
        (b'/verify/caf\xc3\xa9\xff"\\', '/café\\xff"\\'),
        (b"/verify/k/" + KEY.text.encode() + b"/x", f"/k/{KEY.text[:-49]}[redacted]/x"),
        (b"/verify/k/" + KEY.text.replace("_", "%5F").encode(), f"/k/{KEY.text[:-49].replace('_', '%5F')}[redacted]"),
        (b"/verify/a?key=" + KEY.text.encode(), "/a"),
    ],
)
async def test_a_path_is_cut_escaped_and_free_of_keys(log: Log, target: bytes, path: str) -> None:
    """It is the one thing in a line that a client writes."""
    async with serving(settings(log)) as served:
        await served.send(b"GET %b HTTP/1.1\r\nHost: v\r\n\r\n" % target)
        (line,) = await log.lines(1)
    assert line["path"] == path


async def test_what_is_no_decision_has_no_line(log: Log) -> None:
    """Nor does it repeat the one before: errors of plain HTTP are counted in metrics."""
    async with serving(settings(log)) as served:
        await served.ask(target="/other")
        await served.send(b"NONSENSE\r\n\r\n")
        await served.ask()
        await served.ask(target="/verify2")
        await asyncio.sleep(0.3)
        assert [each["code"] for each in await log.lines(1)] == ["missing_key"]


async def test_lines_of_keys_that_are_proven_meanwhile_are_not_mixed_up(log: Log) -> None:
    """Many at once, of which some wait for an argon2 run: each line is about its own request."""
    keys = [mint(seed) for seed in range(10, 22)]
    async with serving(settings(log)) as served:
        served.verifier.index.put(api_key(record(KEY), name="fast", uid="fast"))
        for each in keys:
            name = each.key_id.lower()
            served.verifier.index.put(api_key(record(each, hashed=CHEAP), name=name, uid=name))
        presented = [one for each in keys for one in (each, KEY, OTHER)]
        await asyncio.gather(*(served.present(each.text, target=f"/verify/{each.key_id}") for each in presented))
        lines = await log.lines(len(presented))
    for line in lines:
        code = "invalid_key" if line["keyId"] == OTHER.key_id else "allowed"
        assert (line["path"], line["code"]) == (f"/{line['keyId']}", code)


async def test_a_flood_is_summarised(log: Log) -> None:
    """So many lines of one verdict and peer in a second, then one that counts; other verdicts are not drowned."""
    async with serving(settings(log)) as served:
        audit = served.verifier.audit
        assert audit is not None
        _, writer = await served.connect()
        raw = b"GET /verify HTTP/1.1\r\nHost: v\r\nX-API-Key: nonsense\r\n\r\n"
        writer.write(raw * (LINES_A_SECOND + 30))
        await served.ask()
        await until(lambda: max(audit._counts.values()) == LINES_A_SECOND + 30)
        audit.summarise()
        lines = await log.lines(LINES_A_SECOND + 2)
        assert audit.summarised == 30
    assert [each["code"] for each in lines].count("missing_key") == 1
    assert lines[-1] == {"verdict": "refused", "code": "malformed_key", "count": 30, "peer": "127.0.0.1"}


def test_the_memory_of_a_flood_is_bounded(tmp_path: Path) -> None:
    """However many addresses a flood comes from, and each second begins anew."""
    audit = Audit(AuditSink(tmp_path / "log"), {})
    wanted = sum(audit.wants(INVALID, f"10.0.{n >> 8}.{n & 255}") for n in range(60_000))
    assert wanted == 1024 + LINES_A_SECOND
    assert len(audit._counts) == 1025
    assert audit.wants(MALFORMED_MISTYPED, "10.0.0.1")
    audit.summarise()
    assert audit.wants(INVALID, "10.0.0.1")
    assert audit.summarised == 60_000 - wanted


def test_allowed_requests_are_sampled_and_refused_ones_are_not(tmp_path: Path) -> None:
    """A line says how many it stands for, so that they can be added up."""
    chances = iter([0.009, 0.01, 0.5])
    audit = Audit(AuditSink(tmp_path / "log"), {}, allowed=0.01, chance=lambda: next(chances))
    assert [audit.wants(None, "p") for _ in range(3)] == [True, False, False]
    assert audit.wants(INVALID, "p")
    audit.start()
    audit.tell(None, Case("p"))
    audit.tell(INVALID, Case("p"))
    audit.close()
    allowed, refused = (json.loads(each) for each in (tmp_path / "log").read_text().splitlines())
    assert allowed["rate"] == 0.01
    assert "rate" not in refused
    nothing = Audit(AuditSink(tmp_path / "log"), {}, allowed=0.0, chance=lambda: 0.0)
    assert not nothing.wants(None, "p")


@pytest.mark.parametrize("step", [-3600.0, 3600.0])
def test_times_follow_the_clock(tmp_path: Path, step: float) -> None:
    """In UTC and to the millisecond, also after the clock was set."""
    now = [1_800_000_000.25]
    audit = Audit(AuditSink(tmp_path / "log"), {}, wall_clock=lambda: now[0])
    audit.start()
    audit.tell(INVALID, Case("p"))
    now[0] += step
    audit.tell(INVALID, Case("p"))
    audit.close()
    hour = 8 + int(step / 3600)
    times = [json.loads(each)["time"] for each in (tmp_path / "log").read_text().splitlines()]
    assert times == ["2027-01-15T08:00:00.250Z", f"2027-01-15T{hour:02d}:00:00.250Z"]


def test_a_key_has_the_shape_that_is_cut_out() -> None:
    """The pattern that keeps keys out of paths is the form of DESIGN section 4."""
    assert plainkey.SECRET_LENGTH + plainkey.CHECKSUM_LENGTH == 49


async def test_off_costs_nothing(served: Served, log: Log) -> None:
    """No file, no display names in memory, no further header that is read."""
    assert served.verifier.audit is None
    assert served.hub.watched.carriers == {b"authorization", b"x-api-key"}
    assert not served.hub.watched.telling
    manifest = api_key(record(KEY), spec={"displayName": "CI"})
    served.verifier.index.put(manifest)
    assert served.verifier.index.entries[KEY.key_id.encode()].agent is None
