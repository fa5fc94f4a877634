"""``make demo CONSOLE=1``: the console in a browser, beside an operator and a verifier, until Ctrl-C."""

import contextlib
import shutil
import signal
import subprocess
import time
from pathlib import Path

from addresses import free_address, is_ready
from stage import KEYWRIGHT, NAMESPACE, Stage
from story import Story

__all__ = ["open_console"]

TOKEN_MINUTES = 10
SIGN_IN = "sign-in"
"""The Secret that the token is bound to: it is as good as nobody's when this is gone."""


def open_console(story: Story, stage: Stage, verifier: str) -> None:
    """Run the console as its own service account, say where it is and how to sign in, and wait for the end."""
    story.chapter("A class, a person, and some keys")
    story.run("kubectl apply -f deploy/demo/console.yaml")
    story.run("kubectl wait --for=condition=Active apikey --all --timeout=90s")
    story.run(
        """kubectl patch apikey old-laptop --type=merge -p '{"spec":{"revoked":true,"revocationReason":"lost"}}'"""
    )

    story.chapter("Start the console")
    story.say("It may act as others, for what it does and nothing else: deploy/rbac/console.yaml.")
    story.run("kubectl create serviceaccount keywright-console -n keywright-system")
    account = "--serviceaccount=keywright-system:keywright-console"
    for role in ("keywright-console", "keywright-console-acting"):
        story.run(f"kubectl create clusterrolebinding {role} --clusterrole={role} {account}")
    for role in ("keywright-verifier", "keywright-console-keys", "keywright-console-secrets"):
        story.run(f"kubectl create rolebinding {role} --clusterrole={role} {account}")
    story.run(f"kubectl create rolebinding usage -n keywright-system --clusterrole=keywright-usage-publisher {account}")
    listen, admin = free_address(), free_address()
    flags = ["--namespace", NAMESPACE, "--listen", listen, "--admin-listen", admin]
    command: list[str | Path] = [KEYWRIGHT, "console", *flags]
    environment = {**stage.environment, "KUBECONFIG": str(stage.kubeconfig_of("keywright-console"))}
    log = stage.cleanups.enter_context(story.background(command, environment))
    story.expect("console ready", lambda: is_ready(admin), within=90)
    if story.failed:
        return
    token = make_token(story, stage)
    kubectl = shutil.which("kubectl", path=stage.environment["PATH"])
    story.say(
        f"\nOpen http://{listen}/ and sign in with this token, which is good once, for {TOKEN_MINUTES} minutes:\n\n"
        f"{token}\n\n"
        f"Another one: KUBECONFIG={stage.environment['KUBECONFIG']} {kubectl} create token guest -n {NAMESPACE}\n"
        f"Keys made there work at once: curl -i -H 'Authorization: Bearer …' http://{verifier}/verify\n"
        f"By program: curl -H 'Authorization: Bearer …' http://{listen}/v1/namespaces/{NAMESPACE}/keys\n"
        f"Ctrl-C ends it and leaves nothing behind."
    )
    with contextlib.suppress(KeyboardInterrupt):
        use_up(story, log)
        while True:
            signal.pause()


def make_token(story: Story, stage: Stage) -> str:
    """A token of the guest that ends with a Secret, so that it can be ended before its time."""
    story.quietly(f"kubectl create secret generic {SIGN_IN} -n {NAMESPACE}")
    bound = [f"--duration={TOKEN_MINUTES}m", "--bound-object-kind=Secret", f"--bound-object-name={SIGN_IN}"]
    command = ["kubectl", "create", "token", "guest", "-n", NAMESPACE, *bound]
    return subprocess.check_output(command, env=stage.environment, text=True).strip()


def use_up(story: Story, log: Path) -> None:
    """Wait until somebody has signed in, and end the token. The console and the API server remember it for some
    seconds more; the session goes on without it.
    """
    while ": signed in" not in log.read_text():
        time.sleep(0.1)
    while not story.quietly(f"kubectl delete secret {SIGN_IN} -n {NAMESPACE} --ignore-not-found"):
        time.sleep(1)
    story.say("Somebody has signed in: the token is used up.")
