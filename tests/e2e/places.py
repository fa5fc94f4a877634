"""Where the pods run: on a node of our own, or in a cluster that somebody has named."""

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from keywright_local import ControlPlane, NamedCluster
from keywright_local.node import Node
from tests.e2e.kubectl import Kubectl

__all__ = ["IMAGES", "Images", "Place", "Reference", "named", "own_node"]

#: The environment variable with what `make e2e` has prepared (see ``__main__``), as JSON.
IMAGES = "KEYWRIGHT_E2E_IMAGES"


@dataclass(frozen=True, slots=True)
class Reference:
    """An image by name and tag."""

    name: str
    tag: str

    def __str__(self) -> str:
        return f"{self.name}:{self.tag}"

    def replacing(self, name: str) -> dict[str, str]:
        """An entry of ``images`` in a kustomization."""
        return {"name": name, "newName": self.name, "newTag": self.tag}

    @classmethod
    def parse(cls, text: str) -> "Reference":
        name, _, tag = text.rpartition(":")
        return cls(name, tag)


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """What the pods run, and the archives that bring it to a node of our own."""

    keywright: str
    nginx: str
    archives: list[str] = field(default_factory=list)

    @classmethod
    def prepared(cls) -> "Images":
        return cls(**json.loads(os.environ[IMAGES]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A cluster, the images that it knows, and the control plane if it is ours to stop."""

    kubectl: Kubectl
    keywright: Reference
    nginx: Reference
    plane: ControlPlane | None


@contextlib.contextmanager
def own_node(images: Images) -> Iterator[Place]:
    with Node() as node:
        for archive in images.archives:
            node.load_image(Path(archive))
        yield Place(
            kubectl=Kubectl(node.plane.kubectl, node.plane.kubeconfig),
            keywright=Reference.parse(images.keywright),
            nginx=Reference.parse(images.nginx),
            plane=node.plane,
        )


@contextlib.contextmanager
def named(images: Images, cluster: NamedCluster, folder: Path) -> Iterator[Place]:
    yield Place(
        kubectl=Kubectl(cluster.kubectl, cluster.export_kubeconfig(folder / "kubeconfig")),
        keywright=Reference.parse(images.keywright),
        nginx=Reference.parse(images.nginx),
        plane=None,
    )
