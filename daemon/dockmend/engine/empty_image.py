"""An image of no bytes as an archive that the engine loads: pure, the same bytes each time.

Imported images bear the time at which they were made. Two that came at once under one name were two
images, of which one stayed without a name; loaded twice, this one is the same image (Docker image
specification v1.2).
"""

from __future__ import annotations

import hashlib
import io
import tarfile

import msgspec

LAYER = bytes(1024)  # two zero blocks: the end of an archive, and nothing before it
EPOCH = "1970-01-01T00:00:00Z"


def archive(reference: str, architecture: str, os: str) -> bytes:
    """What `docker load` takes. `reference` (repository:tag) makes it an image of its own among
    empty ones."""
    layer = hashlib.sha256(LAYER).hexdigest()
    config = msgspec.json.encode(
        {
            "architecture": architecture,
            "os": os,
            "created": EPOCH,
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer}"]},
            "history": [{"created": EPOCH, "comment": f"dockmend: {reference}"}],
        }
    )
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [reference], "Layers": [f"{layer}.tar"]}]
    return _tar(
        {f"{layer}.tar": LAYER, name: config, "manifest.json": msgspec.json.encode(manifest)}
    )


def _tar(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as pack:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            pack.addfile(member, io.BytesIO(content))
    return packed.getvalue()
