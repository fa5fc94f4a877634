"""``make demo CONSOLE=1``: the console in a browser, beside an operator and a verifier, until Ctrl-C."""

import contextlib
import shutil
import signal
import subprocess
from pathlib import Path

from addresses import free_address, is_ready
from stage import KEYWRIGHT, NAMESPACE, Stage
from story import Story

__all__ = ["open_console"]

TOKEN_MINUTES = 10


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
    stage.cleanups.enter_context(story.background(command, environment))
    story.expect("console ready", lambda: is_ready(admin), within=90)
    if story.failed:
        return
    token = subprocess.check_output(
        ["kubectl", "create", "token", "guest", "-n", NAMESPACE, f"--duration={TOKEN_MINUTES}m"],
        env=stage.environment,
        text=True,
    )
    kubectl = shutil.which("kubectl", path=stage.environment["PATH"])
    story.say(
        f"\nOpen http://{listen}/ and sign in with this token, which is good for {TOKEN_MINUTES} minutes:\n\n"
        f"{token.strip()}\n\n"
        f"Another one: KUBECONFIG={stage.environment['KUBECONFIG']} {kubectl} create token guest -n {NAMESPACE}\n"
        f"Keys made there work at once: curl -i -H 'Authorization: Bearer …' http://{verifier}/verify\n"
        f"By program: curl -H 'Authorization: Bearer …' http://{listen}/v1/namespaces/{NAMESPACE}/keys\n"
        f"Ctrl-C ends it and leaves nothing behind."
    )
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            signal.pause()
