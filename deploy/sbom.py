"""Prints what a release consists of: a bill of materials in the CycloneDX format (1.6, JSON).

    python3 deploy/sbom.py [REQUIREMENTS]

dockmend and what requirements/runtime.txt pins, for every platform. What a pin does not say
(licence, who needs whom) comes from the metadata of the packages installed beside this Python,
which is why `make release` runs it in .venv. The hashes of the files that may be installed stay in
requirements/runtime.txt. Two runs at one commit print the same: the only time in it is
SOURCE_DATE_EPOCH, and no number is random.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import sys
import tomllib
import uuid
from importlib import metadata
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parent.parent
ONLY_TO_BUILD = frozenset({"setuptools"})


def normalized(name: str) -> str:
    """A package's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(text: str) -> dict[str, str]:
    """Of a requirements file: name -> version."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", text, re.MULTILINE)
    return {normalized(name): version for name, version in found}


def component(name: str, version: str, kind: str = "library") -> dict[str, Any]:
    """The entry of one package."""
    purl = f"pkg:pypi/{name}@{version}"
    entry: dict[str, Any] = {
        "type": kind,
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
    }
    if licence := licence_of(name):
        entry["licenses"] = [licence]
    return entry


def licence_of(name: str) -> dict[str, Any] | None:
    """What the installed package says of its licence: an SPDX expression, or the words that it
    uses."""
    try:
        told = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return None
    if expression := told.get("License-Expression"):
        return {"expression": expression}
    classifiers = [
        each.rpartition(" :: ")[2]
        for each in told.get_all("Classifier", [])
        if each.startswith("License")
    ]
    words = (told.get("License") or "").strip()
    name_of_it = classifiers[0] if classifiers else words.partition("\n")[0][:100]
    return {"license": {"name": name_of_it}} if name_of_it else None


def needs(name: str, known: dict[str, str]) -> list[str]:
    """The pinned packages that the installed one needs, whichever platform; extras do not count."""
    try:
        asked = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return []
    names = {
        normalized(re.split(r"[^A-Za-z0-9._-]", each)[0])
        for each in asked
        if "extra ==" not in each
    }
    return sorted(f"pkg:pypi/{each}@{known[each]}" for each in names & known.keys())


def bill(requirements: str, version: str, when: int | None) -> dict[str, Any]:
    """The document. `when`: seconds since the epoch; None: it says no time."""
    known = {name: pin for name, pin in pins(requirements).items() if name not in ONLY_TO_BUILD}
    own = component("dockmend", version, "application")
    parts = [component(name, pinned) for name, pinned in sorted(known.items())]
    stamp = (
        {} if when is None else {"timestamp": dt.datetime.fromtimestamp(when, dt.UTC).isoformat()}
    )
    content = json.dumps([own, parts], sort_keys=True)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, content)}",
        "version": 1,
        "metadata": {**stamp, "component": own},
        "components": parts,
        "dependencies": [
            {"ref": own["bom-ref"], "dependsOn": needs("dockmend", known)},
            *({"ref": part["bom-ref"], "dependsOn": needs(part["name"], known)} for part in parts),
        ],
    }


def main() -> None:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else TOP / "requirements" / "runtime.txt"
    version = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]["version"]
    when = os.environ.get("SOURCE_DATE_EPOCH")
    json.dump(bill(path.read_text(), version, int(when) if when else None), sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
