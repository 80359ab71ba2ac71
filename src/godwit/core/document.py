"""Document: what a host keeps beside its sessions, such as environments, vaults, files, webhooks and keys.

Data only. A document belongs to one tenant (None: to none) and is found by its id within its kind, or by one of its keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from .errors import InvalidArgument
from .ids import SessionId

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(dict[str, Any])


class Document(msgspec.Struct, frozen=True):
    """`body`: one JSON object. `revision` counts what was stored of it from 1; 0 for one that is new.

    `keys`: what it is listed by beside its kind. `unique`: values that no other document of its kind and tenant may have.
    `expires_ms`: the wall time from which it is as good as deleted. `session`: the one it goes with, whoever deletes that;
    it may be put before that is made. Times in ms; the store sets `created_ms` and `updated_ms`.
    """

    kind: str
    id: str
    body: bytes
    tenant: str | None = None
    revision: int = 0
    created_ms: int = 0
    updated_ms: int = 0
    archived_ms: int | None = None
    expires_ms: int | None = None
    keys: Mapping[str, str] = {}
    unique: Mapping[str, str] = {}
    session: SessionId | None = None

    def __post_init__(self) -> None:
        if self.tenant == "":
            raise InvalidArgument("a tenant has a name that is not empty, or is None")
        if not self.kind or not self.id:
            raise InvalidArgument("a document needs a kind and an id")
        if both := self.keys.keys() & self.unique.keys():
            raise InvalidArgument(f"keys {sorted(both)} are given twice", keys=sorted(both))

    def data(self) -> dict[str, Any]:
        """The body, decoded anew."""
        return _decoder.decode(self.body)

    def changed(self, data: Mapping[str, Any], **fields: Any) -> Document:
        """The same with another body, and with other `keys`, `unique`, `archived_ms` or `expires_ms` where given."""
        return msgspec.structs.replace(self, body=encode_body(data), **fields)


def encode_body(data: Mapping[str, Any]) -> bytes:
    return _encoder.encode(data)
