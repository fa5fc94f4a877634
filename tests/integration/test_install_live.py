"""Installed for real, with the processes run as their Deployments say and with no rights but those that were installed."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from kubernetes.client.exceptions import ApiException

from keywright_local import ControlPlane
from keywright_local.packaging_tools import PackagingTools
from tests.integration.conftest import ROOT
from tests.support.console import Answer, ask, make_account
from tests.support.history import first_installation
from tests.support.installation import CHART, OVERLAYS, SYSTEM, by_name, kubectl, kustomize
from tests.support.kube import Kube, Manifest, eventually, status_of
from tests.support.people import allowed, succeeds
from tests.support.processes import BIN, Process, free_address, get, start, wait_ready

APPS = f"/apis/apps/v1/namespaces/{SYSTEM}/deployments"


@contextmanager
def cluster() -> Iterator[tuple[ControlPlane, Kube]]:
    """A control plane with nothing in it but three namespaces."""
    with ControlPlane() as plane:
        admin = Kube(plane.kubeconfig)
        try:
            for name in ("payments", "orders", "elsewhere"):
                admin.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
            yield plane, admin
        finally:
            admin.close()


@contextmanager
def running(plane: ControlPlane, admin: Kube, component: str, folder: Path) -> Iterator[tuple[Process, str, str]]:
    """The process of a Deployment, ready, as its service account; only addresses and mounted files are replaced.
    With it come the addresses of its probes and of what it is there for.
    """
    pod = admin.request("GET", f"{APPS}/keywright-{component}")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    probes, listen = free_address(), free_address()
    arguments = []
    for argument in container["args"]:
        name, _, value = argument.partition("=")
        match name:
            case "--health-listen" | "--admin-listen":
                value = probes
            case "--listen":
                value = listen
            case "--session-key-file":
                (folder / "session").write_bytes(os.urandom(32))
                value = str(folder / "session")
            case "--rules":
                data = admin.request("GET", f"/api/v1/namespaces/{SYSTEM}/configmaps/keywright-verifier-rules")["data"]
                (folder / "rules.yaml").write_text(data[Path(value).name])
                value = str(folder / "rules.yaml")
        arguments.append(f"{name}={value}" if value else name)
    account = plane.kubeconfig_for_service_account(SYSTEM, pod["serviceAccountName"])
    with start([BIN / "keywright", *arguments], kubeconfig=account, log=folder / f"{component}.log") as process:
        wait_ready(process, probes)
        yield process, probes, listen


def create_key(admin: Kube, namespace: str) -> None:
    """For half a minute policies may answer 503: until the API server has read the schemas that have only just come."""
    eventually(
        lambda: succeeds(lambda: admin.apikey(namespace, "key")),
        within=90,
        what="an API server that knows its policies",
    )


def refused(request: str, kube: Kube) -> bool:
    with pytest.raises(ApiException) as error:
        kube.request("GET", request)
    return int(error.value.status or 0) == 403


def test_the_operator_of_one_namespace_has_rights_in_one(tmp_path: Path) -> None:
    """It issues there, and can neither issue nor read a Secret elsewhere, its own namespace included."""
    with cluster() as (plane, admin):
        applied = kubectl(plane, "apply", "--server-side", "-k", OVERLAYS / "single-namespace")
        assert (applied.returncode, applied.stderr) == (0, "")
        with running(plane, admin, "operator", tmp_path):
            for place in ("elsewhere", "payments"):
                create_key(admin, place)
            admin.wait("payments", "key", Active="True")
        assert status_of(admin.get("elsewhere", "key")) == {"Ready": "Unknown/Pending"}  # the CRD's default
        assert admin.secret("elsewhere", "key") is None
        operator = Kube(plane.kubeconfig_for_service_account(SYSTEM, "keywright-operator"))
        try:
            assert operator.plain_key("payments", "key").startswith("kw_")
            for place in ("elsewhere", SYSTEM):
                assert refused(f"/api/v1/namespaces/{place}/secrets", operator)
            assert refused("/apis/keywright.dev/v1alpha1/apikeys", operator)
        finally:
            operator.close()


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """What could be installed first, before there was a console."""
    folder = first_installation(tmp_path / "first")
    if folder is None:
        pytest.skip("the history of this checkout holds no chart without a console: fetch all of it")
    return folder


def test_helm_installs_upgrades_and_uninstalls(first: Path, tools: PackagingTools, tmp_path: Path) -> None:
    """From the first chart there was, by the commands of the guides: what was set stays, and operator and verifier work with
    what this chart grants them; what is left afterwards is CRDs and keys.
    """
    with cluster() as (plane, admin):
        verifier = ["--set=verifier.enabled=true", "--set=verifier.tls.enabled=false"]
        flags = [*verifier, "--set=verifier.namespaces={payments}", "--set=operator.replicas=3"]
        old = str(first / "deploy/chart/keywright")
        helm(tools, plane, tmp_path, "install", "keywright", old, "--create-namespace", *flags)
        for place in ("payments", "elsewhere"):
            create_key(admin, place)
        variables = {"PATH": f"{tools.helm.parent}:{os.environ['PATH']}", **helm_variables(plane, tmp_path)}
        console = "docs/guides/console.md"
        pages = (("docs/upgrading.md", "## By Helm"), (console, "With Helm:"), (console, "### Before Kubernetes 1.36"))
        for page, heading in pages:
            run_commands(commands_of(page, heading), variables, ROOT)
        assert admin.request("GET", f"{APPS}/keywright-operator")["spec"]["replicas"] == 3
        (container,) = admin.request("GET", f"{APPS}/keywright-console")["spec"]["template"]["spec"]["containers"]
        assert {"--namespace=payments", "--namespace=orders"} < set(container["args"])
        with ExitStack() as stack:
            stack.enter_context(running(plane, admin, "operator", tmp_path))
            _, _, listen = stack.enter_context(running(plane, admin, "verifier", tmp_path))
            for place in ("payments", "elsewhere"):
                admin.wait(place, "key", Active="True")
            plain = admin.plain_key("payments", "key")
            eventually(lambda: get(listen, "/verify/orders", X_API_Key=plain)[0] == 200)
            assert get(listen, "/verify/orders", X_API_Key=admin.plain_key("elsewhere", "key"))[0] == 401
        manifest = helm(tools, plane, tmp_path, "get", "manifest", "keywright")
        helm(tools, plane, tmp_path, "uninstall", "keywright")
        eventually(
            lambda: left(plane, manifest) == {"CustomResourceDefinition"}, within=60, what="gone but for the CRDs"
        )
        assert admin.plain_key("payments", "key") == plain


#: How to install in a way of docs/upgrading.md, and what finds differences to what is installed.
WAYS = {
    "## By kustomize": (
        "kubectl apply --server-side -k ../my-keywright; kubectl apply --server-side -k ../my-verifier",
        "kubectl diff --server-side -k ../my-keywright; kubectl diff --server-side -k ../my-verifier",
    ),
    "## By hand": (
        "kubectl apply -f crds/; kubectl apply -f deploy/rbac/namespace.yaml -f deploy/rbac/ -f deploy/admission/",
        "kubectl diff -f crds/ -f deploy/rbac/ -f deploy/admission/",
    ),
}


@pytest.mark.parametrize("way", WAYS, ids=("kustomize", "hand"))
def test_the_commands_of_the_guide_upgrade(first: Path, tmp_path: Path, way: str) -> None:
    """Over the first version, without a conflict or a warning; nothing of this one is missing then, and no key."""
    guide = (ROOT / "docs/guides/install.md").read_text()
    kustomizations = re.findall(r"```text\n(.*?)```", guide, re.DOTALL)[:2]
    for name, text in zip(("my-keywright", "my-verifier"), kustomizations, strict=True):
        (tmp_path / name).mkdir()
        (tmp_path / name / "kustomization.yaml").write_text(text)
    install, differences = WAYS[way]
    checkout = tmp_path / "keywright"
    with cluster() as (plane, admin):
        search = f"{plane.kubectl.parent}:{BIN}:{os.environ['PATH']}"
        variables = {"KUBECONFIG": str(plane.kubeconfig), "PATH": search}
        check_out(first, checkout)
        run_commands(install, variables, checkout)
        create_key(admin, "payments")
        check_out(ROOT, checkout)
        with pytest.raises(AssertionError, match="ClusterRole"):
            run_commands(differences, variables, checkout)
        assert run_commands(commands_of("docs/upgrading.md", way), variables, checkout) == ""
        run_commands(differences, variables, checkout)
        assert admin.get("payments", "key")


def check_out(source: Path, folder: Path) -> None:
    """What a checkout holds of what is installed, in place of what was there."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("deploy", "crds"):
        shutil.copytree(source / name, folder / name)


def commands_of(page: str, heading: str) -> str:
    """The first commands of a page after a heading."""
    found = re.search(r"```sh\n(.*?)```", (ROOT / page).read_text().partition(heading)[2], re.DOTALL)
    assert found is not None
    return found[1]


def run_commands(commands: str, variables: Mapping[str, str], folder: Path) -> str:
    """Run them in a shell, in a checkout; answer what they complained about."""
    environment = {**os.environ, **variables}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stderr


def test_the_console_acts_where_it_was_installed_to(tools: PackagingTools, tmp_path: Path) -> None:
    """It makes a key as whoever asks, in the namespace that it serves. Without constrained impersonation it acts as those
    who are named, and tells others what is missing.
    """
    with cluster() as (plane, admin):
        flags = (
            "--set=console.enabled=true",
            "--set=console.namespaces={payments}",
            "--set=console.tls.enabled=false",
            # What is refused at first is asked for over and over.
            "--set=console.rateLimit=10000",
        )
        helm(tools, plane, tmp_path, "install", "keywright", str(CHART), "--create-namespace", *flags)
        tokens = {name: make_account(admin, "payments", name, "edit") for name in ("provisioner", "stranger")}
        keys = "/v1/namespaces/payments/keys"
        with ExitStack() as stack:
            stack.enter_context(running(plane, admin, "operator", tmp_path))
            create_key(admin, "payments")
            _, _, address = stack.enter_context(running(plane, admin, "console", tmp_path))
            for name, token in tokens.items():
                made = eventually(
                    lambda t=token, n=name: is_made(ask(address, "POST", keys, token=t, body={"name": n})),  # type: ignore[misc]
                    within=60,
                )
                assert made["namespace"] == "payments"
            elsewhere = ask(address, "POST", "/v1/namespaces/elsewhere/keys", token=tokens["provisioner"], body={})
            assert (elsewhere.status, elsewhere.code) == (404, "not_found")
        named = ("--set=console.impersonation=Named", "--set=console.named.serviceAccounts={payments/provisioner}")
        helm(tools, plane, tmp_path, "upgrade", "keywright", str(CHART), *flags, *named)
        with running(plane, admin, "console", tmp_path) as (_, _, address):
            eventually(lambda: ask(address, "GET", keys, token=tokens["provisioner"]).status == 200, within=30)
            eventually(lambda: ask(address, "GET", keys, token=tokens["stranger"]).code == "unavailable", within=30)


def is_made(answer: Answer) -> Manifest | None:
    """What was made. The API server may not know of all roles and policies yet, and refuses meanwhile."""
    assert answer.status in (201, 403, 503), answer
    return dict(answer.body) if answer.status == 201 else None


@pytest.mark.parametrize("way", ["kustomize", "helm"])
def test_the_shared_verifier_trusts_its_own_namespace_unless_told(
    tools: PackagingTools, tmp_path: Path, way: str
) -> None:
    """Whoever may make keys elsewhere gets nowhere, and the verifier's account cannot even read them."""
    with cluster() as (plane, _):
        if way == "kustomize":
            for overlay in (OVERLAYS / "operator", OVERLAYS / "verifier-gateway"):
                assert kubectl(plane, "apply", "--server-side", "-k", overlay).returncode == 0
        else:
            flags = ("--set=verifier.enabled=true", "--create-namespace")
            helm(tools, plane, tmp_path, "install", "keywright", str(CHART), *flags)
        account = Kube(plane.kubeconfig_for_service_account(SYSTEM, "keywright-verifier"))
        try:
            listing = f"/apis/keywright.dev/v1alpha1/namespaces/{SYSTEM}/apikeys"
            allowed(lambda: account.request("GET", listing))
            assert refused("/apis/keywright.dev/v1alpha1/namespaces/payments/apikeys", account)
            assert refused("/apis/keywright.dev/v1alpha1/apikeys", account)
        finally:
            account.close()


def test_what_the_guide_takes_away_leaves_the_keys(tmp_path: Path) -> None:
    """The commands of the guide, after both overlays: what is left is CRDs and keys."""
    guide = (ROOT / "docs/guides/install.md").read_text().partition("## Taking it away")[2]
    commands = re.findall(r"```sh\n(.*?)```", guide, re.DOTALL)[-1]
    with cluster() as (plane, admin):
        overlays = tuple(OVERLAYS / each for each in ("operator", "verifier-gateway", "console"))
        for overlay in overlays:
            assert kubectl(plane, "apply", "--server-side", "-k", overlay).returncode == 0
        create_key(admin, "payments")
        search = f"{plane.kubectl.parent}:{os.environ['PATH']}"
        run_commands(commands, {"KUBECONFIG": str(plane.kubeconfig), "PATH": search}, ROOT)
        manifest = kustomize(plane, *overlays)
        eventually(
            lambda: left(plane, manifest) == {"CustomResourceDefinition"}, within=60, what="gone but for the CRDs"
        )
        assert admin.get("payments", "key")


def left(plane: ControlPlane, manifest: str) -> set[str]:
    """Kinds of those objects of a manifest that are still there."""
    done = kubectl(plane, "get", "--ignore-not-found", "-o", "name", "-f", "-", text=manifest)
    assert done.returncode == 0, done.stderr
    kinds = {name.partition("/")[0].partition(".")[0] for name in done.stdout.split()}
    known = {each["kind"].lower(): each["kind"] for each in by_name(manifest).values()}
    return {known[kind] for kind in kinds}


def helm_variables(plane: ControlPlane, folder: Path) -> dict[str, str]:
    """What leads helm to the control plane, and away from what somebody has set up for himself."""
    own = {f"HELM_{kind}_HOME": str(folder / kind) for kind in ("CACHE", "CONFIG", "DATA")}
    return {"KUBECONFIG": str(plane.kubeconfig), **own}


def helm(tools: PackagingTools, plane: ControlPlane, folder: Path, *arguments: str) -> str:
    """Run helm in the system namespace; answer what it printed."""
    environment = {**os.environ, **helm_variables(plane, folder)}
    command: list[str | Path] = [tools.helm, *arguments, f"--namespace={SYSTEM}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout
