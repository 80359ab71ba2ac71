"""Credentials: what one is, and how its document says it. Leaves out who keeps them (`vaults.py`) and how their tokens are
renewed (`token_renewal.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from ..core.document import Document
from .oauth import Client

CREDENTIAL = "credential"
"""Kind of documents."""

Method = Literal["bearer", "oauth"]
Secret = Mapping[str, str]


class Credential(msgspec.Struct, frozen=True):
    """What may be shown of it. `url`: of the server it is for. `client`: how a token is renewed, if it can be. `revision`:
    grows with each change."""

    id: str
    vault: str
    method: Method
    url: str
    title: str | None
    metadata: dict[str, str]
    created_ms: int
    updated_ms: int
    archived_ms: int | None
    revision: int
    expires_ms: int | None = None
    client: Client | None = None


class CredentialBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """A credential's document. `place`: the address as it is compared."""

    vault: str
    method: Method
    url: str
    place: str
    title: str | None = None
    metadata: dict[str, str] = {}
    expires_ms: int | None = None
    client: Client | None = None


def body_of(document: Document) -> CredentialBody:
    return _decoder.decode(document.body)


def current_token(method: Method, secret: Secret) -> str:
    return secret["token" if method == "bearer" else "access_token"]


_decoder = msgspec.json.Decoder(CredentialBody)
