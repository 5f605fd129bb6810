"""A volume that a restore makes: a row of the journal proves that it is dockmend's until all of it
is there.

The engine gives a volume no id, and answers "make it" with the one of that name that is there
already. So the volume bears a label that no other one has, and the row says which. What lacks it is
somebody else's, whatever it is called.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from dockmend.errors import EngineError, NotFound
from dockmend.model import Volume
from dockmend.owned import OwnedObject
from dockmend.ownership import STILL_MAKING, Ownership
from dockmend.snapshots.manifest import SnapshotError

FROM_LABEL, BY_LABEL = "dockmend.restored-from", "dockmend.restored-by"
"""Labels of a restored volume: of which snapshot, and by which restore (state folder's id /
chance)."""
DROPPED_LABELS = frozenset({
    "com.docker.volume.anonymous",  # `docker volume prune` would remove the restored volume
    BY_LABEL,  # of the volume that the snapshot was taken of
})  # fmt: skip


async def make(
    own: Ownership,
    name: str,
    driver: str,
    options: Mapping[str, str],
    labels: Mapping[str, str],
    snapshot: str,
    owner: str,
) -> OwnedObject:
    """Makes the volume; its row is on disk before. `labels`: those of the volume that the snapshot
    was taken of.

    Raises SnapshotError if a volume of that name is there; EngineError, JournalError.
    """
    mark = f"{own.objects.instance}/{secrets.token_hex(8)}"
    kept = {key: value for key, value in labels.items() if key not in DROPPED_LABELS}
    row = await own.claim("volume", name, owner, "restored", mark=mark)
    try:
        volume = await own.engine.create_volume(
            name, driver, options, kept | {FROM_LABEL: snapshot, BY_LABEL: mark}
        )
    except EngineError as error:
        if not error.unanswered:
            own.forget(row)
        raise
    if not proves(row, volume):
        own.forget(row)
        raise SnapshotError(
            f"there is a volume {name} already: it was made just now, by somebody else", again=False
        )
    return row


def proves(row: OwnedObject, volume: Volume) -> bool:
    return row.name == volume.name and volume.labels.get(BY_LABEL) == row.mark


def rows_of(own: Ownership, name: str) -> list[OwnedObject]:
    """Of volumes of this name that restores made and have not handed over."""
    return [row for row in own.objects.here("restored") if row.name == name]


async def hand_over(own: Ownership, row: OwnedObject) -> None:
    """It is its user's from now on; on disk when this returns, so that no later dockmend takes it
    for a leftover.

    Raises JournalError, and then it is still dockmend's.
    """
    own.journal.remove_owned(row.id)
    await own.journal.committed()
    own.objects.drop(row)


async def remove(own: Ownership, row: OwnedObject) -> bool:
    """Removes the volume of a row; False if it is not there, or if what bears its name is somebody
    else's.

    Raises EngineError, also while a container refers to it: then the row stays.
    """
    try:
        volume = await own.engine.inspect_volume(row.name)
    except NotFound:
        if own.clock() >= row.made_at + STILL_MAKING:  # else the engine may still be making it
            own.forget(row)
        return False
    proven = proves(row, volume)
    if proven:
        await own.engine.remove_volume(row.name)
    own.forget(row)
    return proven
