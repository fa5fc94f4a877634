"""Each row of Kubiya's documented behaviour, through the real API server, operator and verifier (examples/kubiya)."""

import contextlib
import http.client
import itertools
import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.support.backend import Answer, ask
from tests.support.console import token_of
from tests.support.installed_system import (
    InstalledSystem,
    ci_scripts,
    code_of,
    managing,
    run_script,
    system_of_files,
    verifying,
)
from tests.support.kube import eventually
from tests.support.kubectl import apikey
from tests.support.pods import container_of
from tests.support.processes import get
from tests.support.system_rows import proves

ALICE: dict[str, Any] = {"user": "alice@example.com", "groups": ["kubiya-members"]}
AGENTS = "/api/v1/agents/7"
# Of one request for each scope of the catalogue.
REQUESTS = {
    "agents:read": ("GET", "agents"),
    "agents:write": ("POST", "agents"),
    "tasks:read": ("GET", "tasks"),
    "tasks:execute": ("POST", "tasks"),
    "workflows:read": ("GET", "workflows"),
    "workflows:manage": ("PUT", "workflows"),
    "knowledge:read": ("GET", "knowledge"),
    "knowledge:write": ("POST", "knowledge"),
    "runners:read": ("GET", "runners"),
    "runners:manage": ("DELETE", "runners"),
    "integrations:read": ("GET", "integrations"),
    "integrations:write": ("POST", "integrations"),
    "webhooks:manage": ("POST", "webhooks"),
}
# The service itself is asked nothing for them.
OF_THE_KEY_SERVICE = {"keys:read", "keys:manage"}
_names = itertools.count()
kubiya = system_of_files("kubiya", issued="reports")


def issue(kubiya: InstalledSystem, name: str = "", **spec: Any) -> str:
    """The plain key of a new ApiKey of Alice's that may read agents, unless ``spec`` says otherwise."""
    spec = {"owner": ALICE, "scopes": ["agents:read"], **spec}
    return kubiya.issue(name or f"key-{next(_names)}", **spec)


@proves(
    "kubiya",
    "a key has a descriptive name and an optional expiry; it is shown once; a lost key is revoked and replaced",
)
def test_a_key_is_shown_once_and_a_lost_one_is_replaced(kubiya: InstalledSystem) -> None:
    """By Alice with her own rights: printed by create and never again; revoked, and made anew under another name."""
    alice = kubiya.plane.kubeconfig_for(ALICE["user"], ALICE["groups"])
    asked = ["--class", "kubiya", "--owner", ALICE["user"], "--owner-group", "kubiya-members", "--scope", "agents:read"]
    named = ["--display-name", "Alice's command line", "--expires-at", "2036-01-01"]
    here = ("-n", "kubiya")
    eventually(lambda: apikey(alice, "list", *here).status == 0)
    first = apikey(alice, "create", "alice-cli", *asked, *named, "--once", *here)
    assert first.status == 0, first.err
    spec = kubiya.kube.get("kubiya", "alice-cli")["spec"]
    assert (spec["displayName"], spec["expiresAt"]) == ("Alice's command line", "2036-01-01T00:00:00Z")
    kubiya.becomes(AGENTS, first.out.strip(), "allowed")
    eventually(lambda: kubiya.kube.secret("kubiya", "alice-cli") is None)
    again = apikey(alice, "reveal", "alice-cli", *here)
    assert (again.status, again.out) == (1, "")
    assert apikey(alice, "revoke", "alice-cli", "--reason", "lost", "--yes", *here).status == 0
    second = apikey(alice, "create", "alice-cli-2", *asked, "--display-name", "no end", "--once", *here)
    assert second.status == 0, second.err
    assert "expiresAt" not in kubiya.kube.get("kubiya", "alice-cli-2")["status"]
    kubiya.becomes(AGENTS, first.out.strip(), "revoked_key")
    kubiya.becomes(AGENTS, second.out.strip(), "allowed")


@proves("kubiya", "list shows Name, Created, Last used, Expires, Status (Active or Revoked)")
def test_what_a_list_shows(kubiya: InstalledSystem) -> None:
    """In both lists: kubectl apikey's, as Alice, and the columns of kubectl get."""
    plain = issue(kubiya, "listed", expiresAt="2036-01-01T00:00:00Z")
    alice = kubiya.plane.kubeconfig_for(ALICE["user"], ALICE["groups"])

    def shown() -> list[str]:
        lines = apikey(alice, "list", "-n", "kubiya").out.splitlines()
        assert re.split(r" {2,}", lines[0].strip()) == ["NAME", "CREATED", "LAST USED", "EXPIRES", "STATUS"]
        return re.split(r" {2,}", next(line for line in lines if line.startswith("listed ")).strip())

    assert eventually(shown)[2] == "never"
    kubiya.becomes(AGENTS, plain, "allowed")
    name, created, used, expires, status = eventually(
        lambda: row if (row := shown())[2] != "never" else None, within=30
    )
    assert (name, status) == ("listed", "Active")
    assert re.fullmatch(r"\d+[smh] ago", created)
    assert re.fullmatch(r"\d+[smh] ago", used)
    assert re.fullmatch(r"in \d+d", expires)
    kubiya.kube.patch("kubiya", "listed", {"spec": {"revoked": True}})
    eventually(lambda: shown()[-1] == "Revoked")
    kubiya.kube.wait("kubiya", "listed", Active="False/KeyRevoked")
    command = [str(kubiya.plane.kubectl), "--kubeconfig", str(alice), "-n", "kubiya", "get", "apikeys", "listed"]

    def columns() -> str:
        return subprocess.check_output(command, text=True)

    text = eventually(lambda: text if "T" in (text := columns()).splitlines()[1].split()[3] else None, within=60)
    assert re.split(r" {2,}", text.splitlines()[0].strip()) == ["NAME", "STATUS", "EXPIRES", "LAST USED", "AGE"]
    assert text.splitlines()[1].split()[:3] == ["listed", "Revoked", "2036-01-01T00:00:00Z"]


@proves("kubiya", "revoked keys stop at once; applications get authentication errors")
def test_a_revoked_key_stops_at_once(kubiya: InstalledSystem) -> None:
    """200, revoked, 401 with a challenge; and it stays so."""
    plain = issue(kubiya, "lost")
    kubiya.becomes(AGENTS, plain, "allowed")
    kubiya.kube.patch("kubiya", "lost", {"spec": {"revoked": True, "revocationReason": "lost"}})
    answer = kubiya.becomes(AGENTS, plain, "revoked_key")
    assert answer.status == 401
    assert 'UserKey realm="keywright", error="invalid_token"' in answer.headers["www-authenticate"]
    assert kubiya.ask(AGENTS, plain).status == 401


@proves(
    "kubiya",
    "`Authorization: Bearer <key>` and `Authorization: UserKey <key>`; clients read it from the environment "
    "(`KUBIYA_API_KEY`) or a flag",
)
def test_both_schemes_and_every_way_to_a_client(kubiya: InstalledSystem, tmp_path: Path) -> None:
    """No other scheme and no header; from a Deployment's environment and file, and from both CI systems' variables."""
    plain = kubiya.kube.plain_key("kubiya", "reports")
    for scheme in ("Bearer", "UserKey", "userkey"):
        kubiya.becomes(AGENTS, plain, "allowed", scheme=scheme)
    assert code_of(kubiya.ask(AGENTS, plain, scheme="ApiKey")) == "missing_key"
    assert get(kubiya.listen, f"/verify{AGENTS}", X_API_Key=plain)[0] == 401
    base = {"KUBIYA_BASE_URL": f"http://{kubiya.listen}/verify"}
    for deployment, said in {"reports": "agents read", "reports-from-file": "tasks read"}.items():
        with container_of(kubiya.kube, "kubiya", deployment, tmp_path, base) as output:
            eventually(lambda o=output, s=said: s in o.read_text(), what=output.read_text())  # type: ignore[misc]
    for script in ci_scripts(kubiya.folder):
        for key, status in ((plain, 0), (plain[:-1], 22)):
            assert run_script(script, base | {"KUBIYA_API_KEY": key}) == status


@proves("kubiya", "permissions of the creating user; limited ones through service accounts")
def test_a_key_may_do_what_its_owner_may(kubiya: InstalledSystem) -> None:
    """What Alice may, as long as she may; a service account with fewer rights makes a limited key of the same scopes."""
    scopes = ["agents:read", "agents:write"]
    alices = issue(kubiya, scopes=scopes)
    nobodys = issue(kubiya, scopes=scopes, owner={"user": "mallory@example.com"})
    limited = issue(kubiya, scopes=scopes, owner={"user": "system:serviceaccount:kubiya:reports"})
    for method in ("GET", "POST"):
        kubiya.becomes(AGENTS, alices, "allowed", method=method)
        kubiya.becomes(AGENTS, nobodys, "forbidden", method=method)
    answer = kubiya.becomes(AGENTS, limited, "allowed")
    assert answer.headers["x-auth-subject"] == "system:serviceaccount:kubiya:reports"
    kubiya.becomes(AGENTS, limited, "forbidden", method="POST")
    path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/kubiya-members"
    binding = kubiya.kube.request("GET", path)
    kubiya.kube.request("DELETE", path)
    try:
        kubiya.becomes(AGENTS, alices, "forbidden")
        kubiya.becomes(AGENTS, limited, "allowed")
    finally:
        binding["metadata"] = {"name": "kubiya-members"}
        kubiya.kube.request("POST", path.rpartition("/")[0], binding)
    kubiya.becomes(AGENTS, alices, "allowed")


@proves(
    "kubiya",
    "scopes: agents:read/write, tasks:read/execute, workflows:read/manage, knowledge:read/write, "
    "runners:read/manage, integrations:read/write, webhooks:manage, admin (everything)",
)
def test_each_scope_opens_its_own_requests_and_no_others(kubiya: InstalledSystem) -> None:
    """A key for each scope of the catalogue, against a request for each; admin passes them all."""
    (manifest,) = kubiya.documents("class.yaml")
    assert {each["name"] for each in manifest["spec"]["scopes"]} == {*REQUESTS, "admin", *OF_THE_KEY_SERVICE}
    for scope, (method, resource) in REQUESTS.items():
        plain = issue(kubiya, scopes=[scope])
        kubiya.becomes(f"/api/v1/{resource}/7", plain, "allowed", method=method)
        assert opened(kubiya, plain) == {scope}
    plain = issue(kubiya, scopes=["admin"])
    kubiya.becomes(AGENTS, plain, "allowed")
    assert opened(kubiya, plain) == set(REQUESTS)
    # Its owner has no right on settings, and the scope alone does not give it.
    assert code_of(kubiya.ask("/api/v1/settings", plain)) == "forbidden"
    allow_settings(kubiya)
    kubiya.becomes("/api/v1/settings", plain, "allowed")
    assert code_of(kubiya.ask("/api/v1/settings", issue(kubiya, scopes=["agents:read"]))) != "allowed"


def opened(kubiya: InstalledSystem, plain: str) -> set[str]:
    """The scopes whose request the key passes; each of the others is refused for want of the scope."""
    found = {
        scope: code_of(kubiya.ask(f"/api/v1/{what}/7", plain, method=method))
        for scope, (method, what) in REQUESTS.items()
    }
    assert set(found.values()) <= {"allowed", "insufficient_scope"}, found
    return {scope for scope, code in found.items() if code == "allowed"}


def allow_settings(kubiya: InstalledSystem) -> None:
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    rules = [{"apiGroups": ["kubiya.example"], "resources": ["settings"], "verbs": ["get"]}]
    kubiya.kube.request("POST", f"{rbac}/clusterroles", {"metadata": {"name": "kubiya-settings"}, "rules": rules})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "kubiya-settings"}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": ALICE["user"]}
    binding = {"metadata": {"name": "kubiya-settings"}, "roleRef": reference, "subjects": [subject]}
    kubiya.kube.request("POST", f"{rbac}/clusterrolebindings", binding)


@proves("kubiya", "a key can be made programmatically with an existing key")
def test_a_key_makes_a_key(kubiya: InstalledSystem, tmp_path: Path) -> None:
    """By REST, with a key of Alice's that has keys:manage: the new one is hers, works at once, and is no more than the
    first. A key without that scope makes none. A program without a key takes the token of a service account.
    """
    maker = {"Authorization": f"UserKey {issue(kubiya, scopes=['keys:manage', 'agents:read'])}"}
    reader = {"Authorization": f"UserKey {issue(kubiya, scopes=['agents:read'])}"}
    looker = {"Authorization": f"UserKey {issue(kubiya, scopes=['keys:read', 'agents:read'])}"}
    keys = "/v1/namespaces/kubiya/keys"
    wanted = {"displayName": "Made by a key", "scopes": ["agents:read"]}
    account = {"Authorization": f"Bearer {token_of(kubiya.kube, 'kubiya', 'provisioner')}"}
    with managing(kubiya, tmp_path, namespaces=["kubiya"]) as service:
        # The class's limits do not count an account, which may find out when the key service has its rights.
        eventually(lambda: service.ask("GET", keys, headers=account).status == 200, within=30)
        eventually(lambda: service.ask("GET", keys, headers=maker).status == 200)
        made = service.ask("POST", keys, body=wanted, headers=maker)
        assert (made.status, made.fields["cache-control"]) == (201, "no-store")
        kubiya.becomes(AGENTS, made.body["key"], "allowed")
        assert kubiya.kube.get("kubiya", made.body["name"])["spec"]["owner"] == ALICE
        assert kubiya.kube.secret("kubiya", made.body["name"]) is None
        for more in (
            {"scopes": ["agents:write"]},
            {"scopes": ["admin"]},
            {"scopes": ["keys:manage"]},
            {"owner": {"user": "system:serviceaccount:kubiya:reports"}},
        ):
            assert service.ask("POST", keys, body=wanted | more, headers=maker).status == 403
        eventually(lambda: service.ask("GET", keys, headers=looker).status == 200)
        for other in (reader, looker):
            refused = service.ask("POST", keys, body=wanted, headers=other)
            assert (refused.status, refused.code) == (403, "insufficient_scope")
        own = {"className": "kubiya", "owner": {"user": "system:serviceaccount:kubiya:provisioner"}}
        plain = service.ask("POST", keys, body=wanted | own, headers=account).body["key"]
        kubiya.becomes(AGENTS, plain, "forbidden")  # its owner has no rights on agents
        assert service.ask("POST", keys, body=wanted | own | {"owner": ALICE}, headers=account).status == 403
        assert (
            service.ask("POST", f"{keys}/{made.body['name']}/revoke", body={"reason": "lost"}, headers=maker).status
            == 200
        )
        kubiya.becomes(AGENTS, made.body["key"], "revoked_key")


@proves("kubiya", "distinct errors: missing key, invalid key, insufficient permissions, rate limited, invalid format")
def test_each_error_has_its_own_code(kubiya: InstalledSystem) -> None:
    """Status, code and a text of their own."""
    plain = issue(kubiya)
    kubiya.becomes(AGENTS, plain, "allowed")
    foreign = issue(kubiya, "foreign")
    kubiya.becomes(AGENTS, foreign, "allowed")
    kubiya.kube.delete("kubiya", "foreign")
    missing = ask(kubiya.listen, [], target=f"/verify{AGENTS}")
    answers = {
        "missing_key": (401, missing),
        "invalid_key": (401, kubiya.becomes(AGENTS, foreign, "invalid_key")),
        "insufficient_scope": (403, kubiya.ask(AGENTS, plain, method="DELETE")),
        "forbidden": (403, kubiya.ask("/api/v1/nowhere", plain)),
        "malformed_key": (401, kubiya.ask(AGENTS, plain[:-1])),
        "rate_limited": (429, over_the_limit(kubiya, plain)),
    }
    assert {code: (each.status, code_of(each)) for code, (_, each) in answers.items()} == {
        code: (status, code) for code, (status, _) in answers.items()
    }
    assert len({each.body for _, each in answers.values()}) == len(answers)
    assert "error=" not in missing.headers["www-authenticate"]
    assert 'scope="agents:write"' in answers["insufficient_scope"][1].headers["www-authenticate"]


def over_the_limit(kubiya: InstalledSystem, plain: str) -> Answer:
    """Ask without a pause until it is refused."""
    for _ in range(1000):
        if (answer := kubiya.ask(AGENTS, plain)).status != 200:
            return answer
    raise AssertionError("nothing was refused")


@proves(
    "kubiya",
    '"invalid key" has four causes to tell apart: extra spaces, revoked, expired, another control plane',
)
def test_the_four_causes_of_an_invalid_key(kubiya: InstalledSystem) -> None:
    """Each is told in the answer, which holds nothing of the key."""
    plain, revoked, expired = (issue(kubiya, name) for name in ("intact", "revoked", "expired"))
    for each in (plain, revoked, expired):
        kubiya.becomes(AGENTS, each, "allowed")
    kubiya.kube.patch("kubiya", "revoked", {"spec": {"revoked": True}})
    past = (datetime.now(UTC) - timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    kubiya.kube.patch("kubiya", "expired", {"spec": {"expiresAt": past}})
    kubiya.kube.create({"kind": "ApiKeyClass", "metadata": {"name": "staging"}, "spec": {"prefix": "kubiya_staging"}})
    other = kubiya.issue("of-staging", className="staging")
    causes = {
        f" {plain}": ("malformed_key", "surrounding white space"),
        f"{plain}\N{NO-BREAK SPACE}".encode().decode("latin-1"): ("malformed_key", "surrounding white space"),
        revoked: ("revoked_key", "has been revoked"),
        expired: ("expired_key", "has expired"),
        other: ("malformed_key", "has the prefix of another class"),
    }
    for presented, (code, detail) in causes.items():
        answer = kubiya.becomes(AGENTS, presented, code)
        assert answer.status == 401
        assert detail in answer.body
        assert plain not in answer.body


@proves("kubiya", "100 a minute and 5,000 a day per key, bursts of at most 20 in 10 s; `Retry-After`")
def test_the_three_limits(kubiya: InstalledSystem, tmp_path: Path) -> None:
    """All three are announced and the burst is refused after 20; each of the others, alone in a class like this one,
    after exactly as many as it says; and each key has its own."""
    plain, another = issue(kubiya), issue(kubiya)
    kubiya.becomes(AGENTS, another, "allowed")
    first = kubiya.becomes(AGENTS, plain, "allowed")
    assert first.headers["ratelimit-policy"] == '"minute";q=100;w=60, "day";q=5000;w=86400, "burst";q=20;w=10'
    refused = over_the_limit(kubiya, plain)
    assert (refused.status, code_of(refused)) == (429, "rate_limited")
    assert '"burst";r=0' in refused.headers["ratelimit"]
    assert 1 <= int(refused.headers["retry-after"]) <= 11
    assert kubiya.ask(AGENTS, another).status == 200
    # The last request that passed was the 20th of at most ten seconds: a slow machine may have let in more over time.
    assert passed_within(kubiya, issue(kubiya), seconds=10) <= 20
    (manifest,) = kubiya.documents("class.yaml")
    limits = {each["name"]: each for each in manifest["spec"]["rateLimits"]}
    for name in ("minute", "day"):
        spec = manifest["spec"] | {"rateLimits": [limits[name]]}
        kubiya.kube.create({"kind": "ApiKeyClass", "metadata": {"name": f"kubiya-{name}"}, "spec": spec})
    chosen = ("--class", "kubiya-minute", "--class", "kubiya-day")
    with verifying("kubiya", kubiya.plane, tmp_path, *chosen, namespaces=["kubiya"]) as (listen, _):
        for name in ("minute", "day"):
            key = issue(kubiya, className=f"kubiya-{name}")
            passed, last = use_up(listen, key)
            assert passed == limits[name]["requests"]
            assert 1 <= int(last.getheader("retry-after") or 0) <= {"minute": 62, "day": 88200}[name]


def passed_within(kubiya: InstalledSystem, plain: str, *, seconds: float) -> int:
    """How many of the requests pass that are made, answers included, within this time of the first that did."""
    kubiya.becomes(AGENTS, plain, "allowed")
    start, passed = datetime.now(UTC), 1
    while datetime.now(UTC) - start < timedelta(seconds=seconds - 1):
        passed += kubiya.ask(AGENTS, plain).status == 200
    return passed


def use_up(listen: str, plain: str) -> tuple[int, http.client.HTTPResponse]:
    """Ask on one connection until a limit is used up: how many passed, and the refusal."""
    headers = {"Authorization": f"UserKey {plain}"}

    def known() -> bool:
        # The scope that it lacks keeps the request from being counted.
        return (
            code_of(ask(listen, [*headers.items()], method="DELETE", target=f"/verify{AGENTS}")) == "insufficient_scope"
        )

    eventually(known, what="the key is known")
    with contextlib.closing(http.client.HTTPConnection(listen, timeout=15)) as connection:
        for passed in range(10_000):
            connection.request("GET", f"/verify{AGENTS}", headers=headers)
            response = connection.getresponse()
            response.read()
            if response.status != 200:
                assert response.status == 429
                return passed, response
    raise AssertionError("nothing was refused")


@proves("kubiya", "rotate every 90 days; watch usage for what looks suspicious")
def test_rotation_and_what_there_is_to_watch(kubiya: InstalledSystem) -> None:
    """When the key will be rotated is in status and metrics; use and refusals are in audit lines and metrics."""
    status = kubiya.kube.get("kubiya", "reports")["status"]
    issued, rotated = (datetime.fromisoformat(status[each]) for each in ("issuedAt", "rotateAt"))
    assert rotated - issued == timedelta(days=90)
    series = 'keywright_apikey_rotation_timestamp_seconds{namespace="kubiya",name="reports"}'
    shown = eventually(
        lambda: [line for line in get(kubiya.operator_metrics, "/metrics")[2].splitlines() if line.startswith(series)]
    )
    assert float(shown[0].split()[-1]) == rotated.timestamp()
    plain = kubiya.kube.plain_key("kubiya", "reports")
    kubiya.becomes(AGENTS, plain, "allowed")
    refused = kubiya.ask(AGENTS, plain, method="DELETE")
    assert refused.status == 403

    def told() -> list[tuple[str, str]] | None:
        lines = [each for each in kubiya.audit_lines() if each.get("key") == "kubiya/reports"]
        found = [(each["verdict"], each["code"]) for each in lines if each["agent"] == "Weekly reports"]
        return found if found[-1:] == [("refused", "insufficient_scope")] else None

    assert ("allowed", "allowed") in eventually(told)
    figures = get(kubiya.metrics, "/metrics")[2]
    for code in ("allowed", "insufficient_scope"):
        counted = re.findall(rf'^keywright_verifier_decisions_total{{code="{code}".*}} (\S+)$', figures, re.MULTILINE)
        assert sum(map(float, counted)) >= 1
