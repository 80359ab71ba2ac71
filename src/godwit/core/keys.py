"""Keys of model providers: what one is when it is used, what may be told of it, and how a login for one is set up.

Owns the words; leaves out where keys are kept (`host/auth_store.py`) and which of several counts (`models/registry.py`).
Rule: nothing here shows a key, neither whole nor in parts, in `repr` or in an error.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from .errors import ConfigurationError, InvalidArgument

KeyKind = Literal["api_key", "oauth"]
KeyOrigin = Literal["explicit", "stored", "environment"]
"""Where a key comes from; of several the first counts."""
KeyForm = Literal["literal", "command", "variable"]
KeyPlace = Literal["file", "keyring"]

MOST_CHARACTERS = 16_384
_VARIABLE = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
_SAFE = re.compile(r"https://[^/]|http://(127\.0\.0\.1|localhost|\[::1\])([:/]|$)")
_KEY = re.compile(r"[\x21-\x7e]+")


class ProviderKey(msgspec.Struct, frozen=True):
    """A key as it is sent. `bearer`: an access token of OAuth, which every provider gets in the header `Authorization`."""

    value: str
    bearer: bool = False

    def __repr__(self) -> str:
        return "ProviderKey(...)"


class KeyStatus(msgspec.Struct, frozen=True, omit_defaults=True):
    """What may be told of a provider's key.

    `origin`: None when there is none. `form`: how an explicit or stored one is written. `variable`: the one of the
    environment that it is read from. `place`: where a stored one is. `expires_ms`: when an access token ends, in
    milliseconds since 1970; `renewable`: it can be renewed without a person. `missing`: what would have to be set, when the
    provider cannot be asked.
    """

    provider: str
    origin: KeyOrigin | None = None
    kind: KeyKind | None = None
    form: KeyForm | None = None
    variable: str | None = None
    place: KeyPlace | None = None
    expires_ms: int | None = None
    renewable: bool = False
    missing: tuple[str, ...] = ()


class OAuthSettings(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """How a person logs in to a provider: as the client `client_id`, which the provider has given to who uses it here.

    `device_url`: RFC 8628, a code that is typed elsewhere. `authorize_url`: RFC 8252, in a browser here, with PKCE. At least
    one of them. `resource`: what the token is for (RFC 8707). `client_secret_env`: the variable that holds the client's
    secret, for clients that have one. ConfigurationError.
    """

    client_id: str
    token_url: str
    device_url: str | None = None
    authorize_url: str | None = None
    scopes: tuple[str, ...] = ()
    resource: str | None = None
    client_secret_env: str | None = None

    def __post_init__(self) -> None:
        if not self.client_id.strip():
            raise ConfigurationError("client_id is empty: the provider gives one to each application", field="oauth")
        if self.device_url is None and self.authorize_url is None:
            raise ConfigurationError("oauth needs device_url or authorize_url: where a person logs in", field="oauth")
        for name in ("token_url", "device_url", "authorize_url"):
            url = getattr(self, name)
            if url is not None and not _SAFE.match(url):
                raise ConfigurationError(
                    f"{name} {url!r} cannot be used: it has to begin with https://, or to lead to this machine",
                    field="oauth",
                )


def form_of(value: str) -> KeyForm:
    """How a key is written: `!command`, `$NAME`, or itself."""
    if value.startswith("!"):
        return "command"
    return "variable" if _VARIABLE.fullmatch(value) else "literal"


def variable_of(value: str) -> str | None:
    """The variable that `$NAME` names."""
    found = _VARIABLE.fullmatch(value)
    return found[1] if found else None


def checked_value(value: str) -> str:
    """The value without blanks around it, if a key may be written so. InvalidArgument, which does not show it."""
    value = value.strip()
    if not value or (value.startswith("!") and not value[1:].strip()):
        raise InvalidArgument("the key is empty")
    if len(value) > MOST_CHARACTERS:
        raise InvalidArgument(f"the key has {len(value)} characters, more than {MOST_CHARACTERS}: this is no key")
    if form_of(value) == "literal":
        checked_key(value)
    elif "\n" in value or "\0" in value:
        raise InvalidArgument("the command of a key stands on one line")
    return value


def checked_key(key: str) -> str:
    """The key without blanks around it, if it can be sent. InvalidArgument, which does not show it."""
    key = key.strip()
    if not key:
        raise InvalidArgument("the key is empty")
    if not _KEY.fullmatch(key):
        raise InvalidArgument("the key has blanks, line ends or letters that no key has: copy it anew")
    return key
