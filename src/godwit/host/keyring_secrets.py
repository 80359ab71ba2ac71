"""The keyring of the operating system, by the library `keyring`, which is loaded when it is first used.

It comes with `godwit[keyring]`. Leaves out which secrets go there (`auth_store.py`).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import msgspec

from ..core.errors import ConfigurationError


def usable() -> bool:
    """Whether there is a keyring here that keeps secrets."""
    try:
        library = import_module("keyring")
        return float(library.get_keyring().priority) >= 1
    except Exception:  # a backend may fail in any way, and then it is none
        return False


class KeyringSecrets:
    """`file`: the file whose secrets these are; another one has its own."""

    def __init__(self, file: str) -> None:
        self._service = f"godwit {file}"

    def get(self, provider: str) -> dict[str, str] | None:
        """ConfigurationError when the keyring cannot be read."""
        raw = self._call("get_password", provider)
        if raw is None:
            return None
        try:
            return msgspec.json.decode(raw, type=dict[str, str])
        except msgspec.MsgspecError:
            return None

    def put(self, provider: str, secret: dict[str, str]) -> None:
        """ConfigurationError."""
        self._call("set_password", provider, msgspec.json.encode(secret).decode())

    def remove(self, provider: str) -> None:
        """Also when it is not there. ConfigurationError."""
        if self._call("get_password", provider) is not None:
            self._call("delete_password", provider)

    def _call(self, name: str, *arguments: str) -> Any:
        try:
            library = import_module("keyring")
        except ImportError:
            raise ConfigurationError(
                "this key is in the keyring, and the library for that is not installed: pip install 'godwit[keyring]', or "
                f"godwit login {arguments[0]} --file"
            ) from None
        try:
            return getattr(library, name)(self._service, *arguments)
        except Exception as error:  # what backends raise differs; and their texts are not ours to trust
            raise ConfigurationError(
                f"the keyring refuses ({type(error).__name__}): unlock it, or keep the key in a file with "
                f"godwit login {arguments[0]} --file"
            ) from None
