"""Container images without a registry and without a builder: files of this machine, packed as an OCI archive.

For what a node needs and nobody publishes here (the sandbox of a pod), and for Debian's programs with the libraries
they need. The layout is that of the OCI image specification 1.1; ``ctr images import`` reads it.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from keywright_local.versions import PinnedVersions

__all__ = ["with_libraries", "write_image"]

_OCI = "application/vnd.oci.image"


def write_image(
    archive: Path,
    *,
    reference: str,
    files: Mapping[str, Path],
    entrypoint: Sequence[str],
    versions: PinnedVersions,
) -> Path:
    """Pack ``files`` (path in the image -> file here) into ``archive`` under the full name ``reference``."""
    layer = _pack(files)
    config = _encode(
        {
            "architecture": versions.platform.partition("-")[2],
            "os": "linux",
            "config": {"Entrypoint": list(entrypoint), "User": "65532:65532", "Env": ["PATH=/usr/sbin:/usr/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
    )
    manifest = _encode(
        {
            "schemaVersion": 2,
            "mediaType": f"{_OCI}.manifest.v1+json",
            "config": _descriptor(f"{_OCI}.config.v1+json", config),
            "layers": [_descriptor(f"{_OCI}.layer.v1.tar", layer)],
        }
    )
    named = {"annotations": {"io.containerd.image.name": reference}}
    index = {"schemaVersion": 2, "manifests": [_descriptor(f"{_OCI}.manifest.v1+json", manifest) | named]}
    with tarfile.open(archive, "w") as tar:
        _add(tar, "oci-layout", _encode({"imageLayoutVersion": "1.0.0"}))
        _add(tar, "index.json", _encode(index))
        for blob in (layer, config, manifest):
            _add(tar, f"blobs/sha256/{_digest(blob).removeprefix('sha256:')}", blob)
    return archive


def with_libraries(program: Path) -> dict[str, Path]:
    """A program of this machine and every library that its loader names, each at the path it has here."""
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=False)
    paths = re.findall(r"(?:=> |^\s+)(/\S+)", listed.stdout, re.MULTILINE)
    return {str(path): Path(path).resolve() for path in (str(program), *paths)}


def _pack(files: Mapping[str, Path]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        folders = {parent for name in files for parent in PurePosixPath(name).parents if parent.name}
        for folder in [*sorted(map(str, folders)), "/tmp"]:
            entry = tarfile.TarInfo(folder.lstrip("/"))
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "/tmp" else 0o755
            tar.addfile(entry)
        for name, source in files.items():
            _add(tar, name.lstrip("/"), source.read_bytes(), mode=0o755)
    return packed.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))


def _descriptor(media_type: str, content: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": _digest(content), "size": len(content)}


def _encode(document: object) -> bytes:
    return json.dumps(document, sort_keys=True).encode()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
