"""Two operators at once over the same ApiKeys."""

from pathlib import Path

from keywright.domain import hashing
from keywright_local import ControlPlane
from tests.integration.conftest import Namespaces
from tests.support.audit import requests
from tests.support.kube import Kube, eventually
from tests.support.processes import operator

KEYS = 100


def test_two_operators_mint_each_key_once(
    own_plane: ControlPlane, own_admin: Kube, make_namespace: Namespaces, tmp_path: Path
) -> None:
    """100 ApiKeys under two operators: each has one record, one Secret written once, and the hash proves the key."""
    namespace = make_namespace(own_admin)
    own_admin.create(
        {
            "kind": "ApiKeyClass",
            "metadata": {"name": "cheap"},
            "spec": {"hashing": {"argon2id": {"memoryKiB": 1024, "iterations": 1}}},
        }
    )
    with operator(own_plane.kubeconfig, tmp_path / "a"), operator(own_plane.kubeconfig, tmp_path / "b"):
        for number in range(KEYS):
            own_admin.apikey(namespace, f"key-{number}", className="cheap")
        eventually(lambda: all(each["status"]["phase"] == "Active" for each in own_admin.list(namespace)), within=60)
        for manifest in own_admin.list(namespace):
            records = manifest["status"]["keys"]
            assert [each["state"] for each in records] == ["Current"]
            assert hashing.verify(records[0]["hash"], own_admin.plain_key(namespace, manifest["metadata"]["name"]))
    writes = [
        each.verb
        for each in requests(own_plane.audit_log)
        if each.resource == "secrets" and each.namespace == namespace and each.code < 300
    ]
    assert writes.count("create") == KEYS
    assert "update" not in writes
