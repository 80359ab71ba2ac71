"""TLS: the server's certificate and its key, read from files, and again when they were renewed.

Connections made before a renewal keep what they began with. Rule: what cannot be used is found out before it takes the place
of what works.
"""

from __future__ import annotations

import logging
import os
import ssl

from ...core.errors import ConfigurationError

logger = logging.getLogger("godwit.server")

CHECK_S = 60.0


class Certificate:
    """`certificate`: a PEM file with the server's certificate first and those that vouch for it behind; `key`: one with its
    private key, without a passphrase; by default in the same file. ConfigurationError when they cannot be used."""

    def __init__(self, certificate: str, key: str | None = None) -> None:
        self._certificate = os.path.abspath(os.path.expanduser(certificate))
        self._key = None if key is None else os.path.abspath(os.path.expanduser(key))
        self._seen = self._look()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(["http/1.1"])
        self._load(self.context)

    def refresh(self) -> bool:
        """Read them again if they have changed; True when new ones are used from now on. What cannot be used is logged, and
        looked at again when it changes."""
        try:
            seen = self._look()
            if seen == self._seen:
                return False
            self._seen = seen
            self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
            self._load(self.context)
        except ConfigurationError as error:
            logger.error("the certificate from before is used on: %s", error.message)
            return False
        logger.info("the certificate in %s is used from now on", self._certificate)
        return True

    def _look(self) -> list[tuple[int, int, int]]:
        try:
            found = [os.stat(path) for path in self._files()]
        except OSError as error:
            raise ConfigurationError(f"{error.filename} cannot be read: {error.strerror}", field="tls_cert") from None
        return [(one.st_ino, one.st_mtime_ns, one.st_size) for one in found]

    def _files(self) -> list[str]:
        return [self._certificate] if self._key is None else [self._certificate, self._key]

    def _load(self, context: ssl.SSLContext) -> None:
        try:
            # Without one it would ask for a passphrase on the terminal.
            context.load_cert_chain(self._certificate, self._key, password=lambda: "")
        except (OSError, ValueError) as error:
            where = " and ".join(self._files())
            told = error.reason if isinstance(error, ssl.SSLError) and error.reason else error
            raise ConfigurationError(
                f"there is no certificate with its key, without a passphrase, in {where}: {told}", field="tls_cert"
            ) from None
