"""A key service that is replaced by another: clients that keep their connections go there, and lose no request."""

import http.client
import select
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from keywright.console.run import GRACE_SECONDS, PARTING_SECONDS
from keywright.console.service.served import SETTLE_SECONDS
from keywright_local import ControlPlane
from tests.support.console import console, console_account
from tests.support.installation import OVERLAYS
from tests.support.kube import Kube

# So many that some requests are always on their way.
CLIENTS = 16
SECONDS = 30


@pytest.fixture(scope="module")
def account(own_plane: ControlPlane, own_admin: Kube) -> Path:
    return console_account(own_plane, own_admin, everywhere=True)


def ask_until_it_closes(address: str, pause: float) -> int:
    """How many requests one connection has carried, each answered, before the service closed it between two."""
    connection = http.client.HTTPConnection(address, timeout=SECONDS)
    connection.connect()
    until = time.monotonic() + SECONDS
    for count in range(10**9):
        assert time.monotonic() < until, "it goes on serving"
        if connection.sock is None or select.select([connection.sock], [], [], pause)[0]:
            connection.close()
            return count
        # Nobody is asking: 401 is an answer.
        connection.request("GET", "/v1/classes")
        response = connection.getresponse()
        assert response.status == 401
        response.read()
    raise AssertionError


@pytest.mark.parametrize("pause", [0.0, 0.02], ids=["busy", "with pauses"])
def test_kept_connections_lose_no_request(account: Path, tmp_path: Path, pause: float) -> None:
    """Whoever asks again on a connection that was kept is told with the answer that it was the last one there."""
    with console(account, tmp_path / "log") as service, ThreadPoolExecutor(CLIENTS) as pool:
        asking = [pool.submit(ask_until_it_closes, service.address, pause) for _ in range(CLIENTS)]
        time.sleep(2)
        service.process.popen.terminate()
        assert all(each.result() > 0 for each in asking)
        assert service.process.popen.wait(30) == 0


def test_a_pod_has_the_time_that_this_takes() -> None:
    """It is not killed before the service has parted with its clients and taken back what was begun."""
    deployment, *_ = yaml.safe_load_all((OVERLAYS / "console/console.yaml").read_text())
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    before = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] > before + PARTING_SECONDS + GRACE_SECONDS + SETTLE_SECONDS
