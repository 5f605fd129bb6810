"""Addresses as rules write them: of a container in a network, and of a network itself.

They are kept as text, in the one way that each is written, as the engine takes them.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Annotated, Any, Literal

from pydantic import PlainValidator, WithJsonSchema

from dockmend.rules.value_types import wrong_type


def _address(version: Literal[4, 6]) -> Any:
    def check(value: Any) -> str:
        example = "10.0.0.5" if version == 4 else "fd00::5"
        try:
            address = ip_address(value) if isinstance(value, str) else None
        except ValueError:
            address = None
        if address is None or address.version != version:
            raise wrong_type(f"an IPv{version} address such as {example}")
        return str(address)

    return check


def _subnets(value: Any) -> tuple[str, ...]:
    texts = value if isinstance(value, list | tuple) else [value]
    try:
        return tuple(str(ip_network(one if isinstance(one, str) else "")) for one in texts)
    except ValueError:
        raise wrong_type("a subnet such as 10.5.0.0/24, or a list of them") from None


_TEXT_SCHEMA = {"type": "string", "minLength": 1}
IPv4 = Annotated[str, PlainValidator(_address(4)), WithJsonSchema(_TEXT_SCHEMA)]
IPv6 = Annotated[str, PlainValidator(_address(6)), WithJsonSchema(_TEXT_SCHEMA)]
Subnets = Annotated[
    tuple[str, ...],
    PlainValidator(_subnets),
    WithJsonSchema(
        {"anyOf": [_TEXT_SCHEMA, {"type": "array", "items": _TEXT_SCHEMA, "minItems": 1}]}
    ),
]
