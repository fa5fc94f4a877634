"""``make demo``: the main job on a real API server, told with commands that a person could repeat.

What is printed behind ``$`` is what runs. Every step states what it expects; the exit status is 0 only if all of it
came true. ``KEEP=1`` leaves everything running until Ctrl-C; ``CONSOLE=1`` opens the console in place of the story.
"""

import os
import shutil
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "local"))

from addresses import free_address, is_ready
from console import open_console
from keywright_local import LocalClusterError, named_cluster
from stage import KEYWRIGHT, NAMESPACE, ROOT, Stage, embedded, named
from story import Story, Terminal


def main() -> int:
    terminal = Terminal()
    try:
        cluster = named_cluster()
        if cluster is not None and has_console():
            sys.exit("demo: CONSOLE=1 plays on a control plane of its own, so leave CLUSTER out")
        with embedded(terminal) if cluster is None else named(terminal, cluster) as stage, stage.cleanups:
            return play(Story(terminal, stage.environment, ROOT), stage)
    except LocalClusterError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def play(story: Story, stage: Stage) -> int:
    verifier = prepare(story, stage)
    if not story.failed and has_console():
        open_console(story, stage, verifier)
        return 1 if story.failed else 0
    if not story.failed:
        tell(story, verifier)
    story.summarise()
    if os.environ.get("KEEP") == "1" and not story.failed:
        keep(story, stage, verifier)
    return 1 if story.failed else 0


def has_console() -> bool:
    return os.environ.get("CONSOLE") == "1"


def prepare(story: Story, stage: Stage) -> str:
    """Install, start both processes, and return the verifier's address."""
    story.chapter("Install")
    if not stage.is_embedded:
        had_crds = story.quietly("kubectl get crd apikeys.keywright.dev")
        if not had_crds:
            stage.cleanups.callback(story.quietly, "kubectl delete -f crds/ --wait=false")
        if not story.quietly("kubectl get apikeyclass standard"):
            stage.cleanups.callback(story.quietly, "kubectl delete apikeyclass standard")
        stage.cleanups.callback(story.quietly, f"kubectl delete namespace {NAMESPACE} --wait=false")
    story.run("kubectl apply -f crds/")
    if stage.is_embedded:
        story.run("kubectl apply -f deploy/rbac/namespace.yaml -f deploy/rbac/ -f deploy/admission/")
    story.run("kubectl wait --for=condition=Established crd/apikeys.keywright.dev crd/apikeyclasses.keywright.dev")
    story.run(f"kubectl create namespace {NAMESPACE}")
    story.environment["NAMESPACE"] = NAMESPACE
    story.run('kubectl config set-context --current --namespace="$NAMESPACE"')

    story.chapter("Start the operator and a verifier")
    verify, admin, probes = (free_address() for _ in range(3))
    operator_environment = {**stage.environment, "KUBECONFIG": str(stage.kubeconfig_of("keywright-operator"))}
    stage.cleanups.enter_context(
        story.background(
            [KEYWRIGHT, "operator", "--namespace", NAMESPACE, "--health-listen", probes], operator_environment
        )
    )
    stage.cleanups.enter_context(
        story.background(
            [KEYWRIGHT, "verifier", "--listen", verify, "--admin-listen", admin, "--namespace", NAMESPACE],
            stage.environment,
        )
    )
    story.expect("operator ready", lambda: is_ready(probes), within=90)
    story.expect("verifier ready", lambda: is_ready(admin), within=90)
    return verify


def tell(story: Story, verifier: str) -> None:
    """The story. ``$VERIFIER`` stands for the address in the commands."""
    story.environment["VERIFIER"] = f"http://{verifier}/verify"
    secret = "kubectl get secret {} -o jsonpath='{{.data.api-key}}' | base64 -d"

    story.chapter("A class and three ApiKeys become Secrets")
    started = time.monotonic()
    if story.quietly("kubectl get apikeyclass standard"):
        story.run("kubectl apply -f examples/quickstart/keys.yaml")
    else:
        story.run("kubectl apply -f examples/quickstart/")
    story.run("kubectl wait --for=condition=Ready apikey --all --timeout=60s")
    story.record("three keys issued", time.monotonic() - started)
    # First, while it is there: on a slow machine ten seconds are soon over.
    story.capture("TEN_SECONDS", secret.format("ten-seconds"))
    story.run("kubectl get apikeys")
    story.run("kubectl get secrets")
    for name in ("ci-deploy", "reports"):
        story.capture(name.upper().replace("-", "_"), secret.format(name))
    story.say("The hash is in status, the plain key only in the Secret:")
    story.run("kubectl get apikey ci-deploy -o jsonpath='{.status.keys[0].hash}{\"\\n\"}'")

    story.chapter("A request passes")
    story.request('curl -si -H "Authorization: Bearer $CI_DEPLOY" $VERIFIER', 200)
    story.request('curl -si -H "X-API-Key: $REPORTS" $VERIFIER', 200)
    story.chapter("A wrong key does not")
    story.request('curl -si -H "Authorization: Bearer kw_live_guess" $VERIFIER', 401)
    story.request("curl -si $VERIFIER", 401)

    story.chapter("Suspend and resume")
    story.run("""kubectl patch apikey reports --type=merge -p '{"spec":{"suspended":true}}'""")
    story.await_status("suspended key refused", "$REPORTS", 401, "suspended_key")
    story.run("""kubectl patch apikey reports --type=merge -p '{"spec":{"suspended":false}}'""")
    story.await_status("resumed key accepted", "$REPORTS", 200)

    story.chapter("Revoke")
    patch = """{"spec":{"revoked":true,"revocationReason":"left on a train"}}"""
    story.run(f"kubectl patch apikey ci-deploy --type=merge -p '{patch}'", waits=False)
    story.await_status("revoked key refused", "$CI_DEPLOY", 401, "revoked_key")
    story.request('curl -si -H "Authorization: Bearer $CI_DEPLOY" $VERIFIER', 401)

    story.chapter("Expire")
    story.say("ten-seconds was issued for ten seconds")
    story.await_status("expired key refused", "$TEN_SECONDS", 401, "expired_key")

    story.chapter("Delete")
    story.run("kubectl delete apikey reports", waits=False)
    story.await_status("deleted key refused", "$REPORTS", 401, "invalid_key")
    story.say("(the garbage collector learns of new resource types every 30 s: on a new cluster this takes a moment)")
    story.expect("Secret of the deleted key gone", lambda: not story.quietly("kubectl get secret reports"), within=90)
    story.run("kubectl get apikeys,secrets")
    story.run("kubectl get events --field-selector involvedObject.kind=ApiKey --sort-by=.lastTimestamp")


def keep(story: Story, stage: Stage, verifier: str) -> None:
    story.say(
        f"\nKEEP=1: everything stays up. In another terminal:\n"
        f"  export KUBECONFIG={stage.environment['KUBECONFIG']}\n"
        f"  export PATH={Path(shutil.which('kubectl', path=stage.environment['PATH']) or '').parent}:$PATH\n"
        f"  kubectl get apikeys\n"
        f"  curl -i -H 'Authorization: Bearer …' http://{verifier}/verify\n"
        f"Ctrl-C ends it and leaves nothing behind."
    )
    signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    # Whom a shell has put into the background is told to ignore Ctrl-C, and then nothing would end this.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # A kill of the demo must run the cleanups as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    sys.exit(main())
