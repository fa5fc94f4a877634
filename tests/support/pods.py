"""What a kubelet hands the container of a Deployment, done by hand: environment and files from real Secrets.

No pod runs beside the embedded control plane. The command of the manifest does, as it stands there.
"""

import base64
import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.support.kube import Kube, Manifest

__all__ = ["container_of"]


@contextlib.contextmanager
def container_of(
    kube: Kube, namespace: str, deployment: str, folder: Path, environment: Mapping[str, str]
) -> Iterator[Path]:
    """Run the first container of a Deployment that the API server holds; the file with its output. ``environment``
    replaces values of the manifest, such as addresses. Everything that it started ends with the context.
    """
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{deployment}"
    pod = kube.request("GET", path)["spec"]["template"]["spec"]
    container = pod["containers"][0]
    variables = {each["name"]: _value(kube, namespace, each) for each in container["env"]}
    unknown = environment.keys() - variables.keys()
    assert not unknown, f"{deployment} has no {unknown}"
    command = [*container["command"], *container["args"]]
    for mount in container.get("volumeMounts", ()):
        here = folder / mount["name"]
        _write_volume(kube, namespace, next(each for each in pod["volumes"] if each["name"] == mount["name"]), here)
        command = [part.replace(mount["mountPath"], str(here)) for part in command]
    output = folder / f"{deployment}.log"
    with output.open("wb") as log:
        popen = subprocess.Popen(
            command,
            env={"PATH": os.environ["PATH"], **variables, **environment},
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    try:
        yield output
    finally:
        os.killpg(popen.pid, signal.SIGKILL)
        popen.wait()


def _value(kube: Kube, namespace: str, variable: Manifest) -> str:
    if "value" in variable:
        return str(variable["value"])
    reference = variable["valueFrom"]["secretKeyRef"]
    return kube.plain_key(namespace, reference["name"], reference["key"])


def _write_volume(kube: Kube, namespace: str, volume: Any, folder: Path) -> None:
    secret = kube.secret(namespace, volume["secret"]["secretName"])
    assert secret is not None
    folder.mkdir()
    for entry, value in secret["data"].items():
        file = folder / entry
        file.touch(mode=0o600)
        file.write_bytes(base64.b64decode(value))
