"""A container's definition: from what inspect tells of it to the body that makes another one just
like it.

Worked out on the raw JSON, so that fields which no version of dockmend has heard of pass through.
What equals the default of the image it was made from is left out: the engine fills it in again, and
a newer image's own default holds where the user set none. The merge that is undone here is moby's
(daemon/commit.go, `merge`; Engine 19.03 to 28).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from dockmend.actions.action import ActionFailed
from dockmend.label_owner import divide
from dockmend.model import REFERENCE_LABEL, as_written, main_network

Raw = Mapping[str, Any]

IMAGE_LABEL = "com.docker.compose.image"
"""Where Compose notes the id of the image it made a container from: `up` makes it anew where it is
another."""

_OF_ENDPOINT_IN_USE = frozenset({
    "NetworkID", "EndpointID", "Gateway", "IPAddress", "IPPrefixLen", "IPv6Gateway",
    "GlobalIPv6Address", "GlobalIPv6PrefixLen", "DNSNames", "MacAddress", "DesiredMacAddress",
})  # fmt: skip
"""What an endpoint holds because it is in use; the rest was asked for."""

_PRIVATE = "rprivate"
"""How a folder of the host is mounted where nobody said how."""

_MAPS = ("ExposedPorts", "Volumes")
_WHOLE = ("User", "WorkingDir", "StopSignal", "Shell", "OnBuild")
JOINING = ("NetworkMode", "PidMode", "IpcMode")
"""Fields of HostConfig that may name another container."""


@dataclass(frozen=True, slots=True)
class Definition:
    """`body` is a create body for the name `name`. `leave`: networks that the engine adds unasked
    and it was not in.

    `unknown_macs`: networks of which nothing tells whether a MAC address was configured. The body
    has none for them.
    """

    name: str
    body: dict[str, Any]
    leave: tuple[str, ...] = ()
    unknown_macs: tuple[str, ...] = ()

    @property
    def losses(self) -> str:
        """What the new container may lack, as a part of a sentence; "" if nothing."""
        if not self.unknown_macs:
            return ""
        named = ", ".join(self.unknown_macs)
        return (
            f"whether its MAC address in {named} was configured cannot be known from here: it "
            "has a new one there"
        )


@dataclass(frozen=True, slots=True)
class References:
    """What a definition is to name. `renamed`: by each reference that it has to another container,
    what is to be written in its place; `gone`: containers of its `volumes-from` that nobody took
    the place of: what it has of them is written out."""

    renamed: Mapping[str, str] = field(default_factory=dict)
    gone: Collection[str] = ()


OWNER_LABELS = "OwnerLabels"
"""In a kept definition, beside the parts of the inspect answer: the keys of the labels that the
owner set."""


def define(
    container: Raw,
    image: Raw | None,
    *,
    reference: str | None = None,
    new_image_id: str | None = None,
    references: References | None = None,
    networks: Mapping[str, Raw] | None = None,
    macs: Mapping[str, str] | None = None,
    owner_labels: Collection[str] = (),
) -> Definition:
    """The definition of `container` (its raw inspect answer), which was made from `image` (the
    same; None: unknown, then nothing is taken for a default).

    `reference`: the image to make it from, where not by the reference it has (where that is an id,
    what was written is noted in a label); `new_image_id`: that image's id, where it is another
    image. `references`: what it is to name in the place of containers that were made anew or are
    gone. `networks`: endpoints it should have beside those that inspect shows. `macs`: by network,
    the configured MAC addresses that are known beside those that `container` tells of ("": none
    was). `owner_labels`: if the image is unknown, the keys of the labels that its owner is known to
    have set: the others may be the image's, and would count as the owner's on the new one.
    """
    config = _config(container, image, owner_labels)
    written = image_reference(container, image)
    if reference is not None:
        config["Image"] = reference
    config["Labels"] = {
        key: value for key, value in config["Labels"].items() if key != REFERENCE_LABEL
    }
    if str(config.get("Image")).startswith("sha256:") and not written.startswith("sha256:"):
        config["Labels"][REFERENCE_LABEL] = written
    if new_image_id is not None and IMAGE_LABEL in (config.get("Labels") or {}):
        config["Labels"] = {**config["Labels"], IMAGE_LABEL: new_image_id}
    host = _host_config(container, references or References())
    endpoints, leave, unknown_macs = _endpoints(container, networks or {}, macs or {})
    body = {**config, "HostConfig": host}
    if endpoints:
        body["NetworkingConfig"] = {"EndpointsConfig": endpoints}
    return Definition(str(container.get("Name", "")).removeprefix("/"), body, leave, unknown_macs)


def none_known(what: str, raw: Mapping[str, Any]) -> Collection[str]:
    """Nobody knows who set the labels of a container: without any that does not matter. Raises
    ActionFailed."""
    if not (raw.get("Config") or {}).get("Labels"):
        return ()
    raise ActionFailed(
        f"cannot {what}: its image is gone, and nobody knows which of its labels are its owner's "
        "and which the image's",
        again=False,
    )


def image_reference(container: Raw, image: Raw | None) -> str:
    """The reference of its image as it was written, by a person or in the definition that it was
    made anew from."""
    config = container.get("Config") or {}
    reference = str(config.get("Image") or "")
    return as_written(reference, divide(config.get("Labels"), labels_of(image)).owner)


# ------------------------------------------------------------------------------------------- Config
def _config(container: Raw, of_image: Raw | None, owner_labels: Collection[str]) -> dict[str, Any]:
    """Config without what came from the image or was made up by the engine."""
    image: Raw = (of_image or {}).get("Config") or {}
    config: dict[str, Any] = dict(container.get("Config") or {})
    mode = str((container.get("HostConfig") or {}).get("NetworkMode") or "")
    if mode.startswith("container:"):  # its owner's names, and naming others is refused
        config.pop("Hostname", None)
        config.pop("Domainname", None)
    elif config.get("Hostname") == str(container.get("Id", ""))[:12]:
        config.pop("Hostname", None)
    # What Compose set stays although its build wrote the same into the image: the next image may
    # not have it.
    labels = config.get("Labels") or {}
    config["Labels"] = (
        {key: value for key, value in labels.items() if key in owner_labels}
        if of_image is None
        else divide(labels, image.get("Labels") or {}).owner
    )
    for key in _MAPS:
        config[key] = _without(config.get(key), image.get(key))
    config["ExposedPorts"] = _with_published(config["ExposedPorts"], container)
    for key in _WHOLE:
        if key in config and config[key] == image.get(key):
            del config[key]
    known = set(image.get("Env") or ())
    config["Env"] = [each for each in config.get("Env") or () if each not in known]
    _command(config, image)
    if (check := _health_check(config.get("Healthcheck"), image.get("Healthcheck"))) is not None:
        config["Healthcheck"] = check
    else:
        config.pop("Healthcheck", None)
    return config


def labels_of(image: Raw | None) -> dict[str, str] | None:
    """All labels of an image (its raw inspect answer); None if there is no image to be asked."""
    return None if image is None else dict((image.get("Config") or {}).get("Labels") or {})


def _without(mine: Raw | None, of_image: Raw | None) -> dict[str, Any]:
    theirs = of_image or {}
    return {
        key: value
        for key, value in (mine or {}).items()
        if key not in theirs or theirs[key] != value
    }


def _with_published(ports: dict[str, Any], container: Raw) -> dict[str, Any]:
    """What is published stays exposed, whatever a newer image exposes."""
    published = (container.get("HostConfig") or {}).get("PortBindings") or {}
    exposed = (container.get("Config") or {}).get("ExposedPorts") or {}
    return {**ports, **{port: exposed[port] for port in published if port in exposed}}


def _command(config: dict[str, Any], image: Raw) -> None:
    """The image's command is inherited only where neither it nor the entry point was set."""
    entry, command = config.get("Entrypoint"), config.get("Cmd")
    if entry != image.get("Entrypoint"):
        if not entry:
            config["Entrypoint"] = [""]  # how an image's entry point is switched off
        return
    if command == image.get("Cmd"):
        config.pop("Cmd", None)
    elif not command:
        return  # the same entry point, set by the user: that switches the image's command off
    config.pop("Entrypoint", None)


def _health_check(mine: Raw | None, of_image: Raw | None) -> dict[str, Any] | None:
    """The engine fills each field that is empty from the image's check."""
    if mine is None:
        return None
    return _without(mine, of_image) or None


# --------------------------------------------------------------------------------------- HostConfig
def volume_sources(container: Raw) -> list[str]:
    """The containers whose volumes it takes, as it names them ("NAME or ID[:MODE]")."""
    return [
        str(each).partition(":")[0]
        for each in (container.get("HostConfig") or {}).get("VolumesFrom") or ()
    ]


def _host_config(container: Raw, references: References) -> dict[str, Any]:
    host: dict[str, Any] = dict(container.get("HostConfig") or {})
    renamed = references.renamed
    for key in JOINING:
        mode = str(host.get(key) or "")
        if mode.startswith("container:") and (joined := mode.removeprefix("container:")) in renamed:
            host[key] = f"container:{renamed[joined]}"
    if host.get("Links"):
        links = [link_parts(str(each)) for each in host["Links"]]
        host["Links"] = [f"{renamed.get(name, name)}:{alias}" for name, alias in links]
    declared = _sourced(host, container)
    if references.gone:
        _write_out(
            host,
            [
                each
                for each in container.get("Mounts") or ()
                if each.get("Destination") not in declared
            ],
        )
    else:
        _write_out(host, _anonymous(container, declared))
    if host.get("VolumesFrom"):
        sources = [str(each).partition(":") for each in host["VolumesFrom"]]
        host["VolumesFrom"] = [
            f"{renamed.get(name, name)}{colon}{mode}"
            for name, colon, mode in sources
            if name not in references.gone
        ]
    return host


def _write_out(host: dict[str, Any], mounts: list[Raw]) -> None:
    """What is mounted without being written down, as if it had been: a volume by its name, a folder
    by its path."""
    for mount in mounts:
        kind, where = mount.get("Type"), mount.get("Destination")
        if source := mount.get("Name") if kind == "volume" else mount.get("Source"):
            shared = mount.get("Propagation") if kind == "bind" else None
            options = ([] if mount.get("RW", True) else ["ro"]) + (
                [] if shared in (None, "", _PRIVATE) else [shared]
            )
            mode = f":{','.join(options)}" if options else ""
            host["Binds"] = [*(host.get("Binds") or ()), f"{source}:{where}{mode}"]


def link_parts(said: str) -> tuple[str, str]:
    """The name and the alias of `/db:/web/alias`, as inspect writes what was asked for as
    `db:alias`."""
    target, _, place = said.partition(":")
    return target.removeprefix("/"), place.rpartition("/")[2]


def _sourced(host: dict[str, Any], container: Raw) -> set[str]:
    """Names the anonymous volumes among `HostConfig.Mounts`; returns every path that is mounted by
    name or by path."""
    in_use = {each.get("Destination"): each for each in container.get("Mounts") or ()}
    mounts = []
    for mount in host.get("Mounts") or ():
        found = in_use.get(mount.get("Target"))
        anonymous = mount.get("Type") == "volume" and not mount.get("Source") and found is not None
        mounts.append({**mount, "Source": found["Name"]} if anonymous and found else mount)
    if mounts:
        host["Mounts"] = mounts
    return {str(each.get("Target")) for each in mounts} | {
        _destination(each) for each in host.get("Binds") or ()
    }


def _destination(bind: str) -> str:
    """The path within the container of `SOURCE:PATH[:OPTIONS]`."""
    parts = bind.split(":")
    return parts[1] if len(parts) > 1 else parts[0]


def _anonymous(container: Raw, declared: set[str]) -> list[Raw]:
    """Volumes that were made for a `VOLUME` or a bare `--volume PATH`: in use, and nowhere written
    down by name.

    What came by `volumes-from` and is no volume of its own comes that way again.
    """
    of_config = (container.get("Config") or {}).get("Volumes") or {}
    by_reference = bool((container.get("HostConfig") or {}).get("VolumesFrom"))
    return [
        mount
        for mount in container.get("Mounts") or ()
        if mount.get("Type") == "volume"
        and mount.get("Destination") not in declared
        and (not by_reference or mount.get("Destination") in of_config)
    ]


# ----------------------------------------------------------------------------------------- networks
def _endpoints(
    container: Raw, wanted: Mapping[str, Raw], macs: Mapping[str, str]
) -> tuple[dict[str, Any], tuple[str, ...], tuple[str, ...]]:
    """What it asks of each network, those it is to leave, and those of which the MAC address is not
    known."""
    host = container.get("HostConfig") or {}
    main = main_network(host.get("NetworkMode"))
    if main.startswith("container:") or (container.get("Config") or {}).get("NetworkDisabled"):
        return {}, (), ()
    told = (container.get("NetworkSettings") or {}).get("Networks") or {}
    known = {
        name: _mac(container, each or {}, name == main, macs.get(name))
        for name, each in told.items()
    }
    endpoints = {name: _endpoint(container, each or {}, known[name]) for name, each in told.items()}
    endpoints |= {name: dict(each) for name, each in wanted.items() if name not in endpoints}
    leave = () if main in endpoints or main in ("host", "none") else (main,)
    return endpoints, leave, tuple(name for name, mac in known.items() if mac is None)


def _endpoint(container: Raw, told: Raw, mac: str | None) -> dict[str, Any]:
    short_id = str(container.get("Id", ""))[:12]
    asked = {key: value for key, value in told.items() if key not in _OF_ENDPOINT_IN_USE and value}
    if aliases := [each for each in asked.pop("Aliases", ()) if each != short_id]:
        asked["Aliases"] = aliases
    if any(asked.get("IPAMConfig", {}).values()):
        asked["IPAMConfig"] = {key: value for key, value in asked["IPAMConfig"].items() if value}
    else:
        asked.pop("IPAMConfig", None)
    if mac:
        asked["MacAddress"] = mac
    return asked


def _mac(container: Raw, told: Raw, main: bool, known: str | None) -> str | None:
    """The MAC address that was configured, "" if none was; None if nothing tells. Inspect tells the
    main network's."""
    if main:
        return str((container.get("Config") or {}).get("MacAddress") or "")
    # forgotten by the engine where it was disconnected since
    desired = told.get("DesiredMacAddress")
    if desired or known:
        return str(desired or known)
    return None if desired is None and known is None else ""
