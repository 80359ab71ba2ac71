"""ServerSettings: what a person decides about a server, in code or in `[server]` of a configuration file. Data only."""

from __future__ import annotations

import ipaddress
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from ..core.addresses import place
from ..core.errors import ConfigurationError
from ..models.hints import provider_by_prefix

MIB = 1024 * 1024
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures by a key pair. Those by a shared secret are left out: whoever can check one could sign one."""


class TenantLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What each tenant may use; None for as much as it likes. Who needs no key has no limits.

    `requests_per_s`: requests, in the long run; `burst`: how many of them at once. `runs`: runs that work at once.
    `streams`: open streams at once. `storage`: bytes of the logs of its sessions and of what it keeps beside them, such as
    uploaded files. Rates and streams count in each process of its own.
    """

    requests_per_s: float | None = 100.0
    burst: int = 500
    runs: int | None = None
    streams: int | None = 1000
    storage: int | None = None

    def __post_init__(self) -> None:
        for name in ("requests_per_s", "burst", "runs", "streams", "storage"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ConfigurationError(f"{name} {value} is not greater than 0; leave it out for no limit", field=name)


class JwtSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose tokens are taken for a key. `jwks_url`: where the issuer's public keys are. `issuer`, `audience`: what a token
    has to say. `tenant_claim`, `scopes_claim`, `principal_claim`: where it says who asks and for whom; scopes are a list, or
    one text with spaces. `algorithms`: of `ALGORITHMS`. `leeway_s`: by how much clocks may differ.
    """

    jwks_url: str
    issuer: str
    audience: str
    tenant_claim: str = "tenant"
    scopes_claim: str = "scope"
    principal_claim: str = "sub"
    algorithms: tuple[str, ...] = ("RS256", "ES256", "EdDSA")
    leeway_s: float = 30.0

    def __post_init__(self) -> None:
        found = urlsplit(self.jwks_url)
        near = found.scheme == "http" and _is_loopback(found.hostname or "")
        if found.scheme != "https" and not near:
            raise ConfigurationError(f"jwks_url {self.jwks_url!r} has to begin with https://", field="jwks_url")
        if not self.issuer or not self.audience:
            raise ConfigurationError("a token is only taken from one issuer and for one audience: name both", field="issuer")
        wrong = [name for name in self.algorithms if name not in ALGORITHMS]
        if wrong or not self.algorithms:
            given = ", ".join(wrong) or "none"
            raise ConfigurationError(f"algorithms: {given}; there are {', '.join(ALGORITHMS)}", field="algorithms")
        if self.leeway_s < 0:
            raise ConfigurationError(f"leeway_s {self.leeway_s} is negative", field="leeway_s")


class WebhookSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How webhooks are sent. `timeout_s`: how long one try may take. `retries_s`: how long after a failed try the next one
    is; behind the last the delivery has failed. `at_once`: tries to one endpoint at the same time. `disable_h`: an endpoint
    that has failed for so many hours is disabled. `keep_days`: how long deliveries are kept.
    """

    timeout_s: float = 15.0
    retries_s: tuple[float, ...] = (5, 60, 300, 1800, 7200, 18_000, 36_000)
    at_once: int = 8
    disable_h: float = 72.0
    keep_days: float = 7.0

    def __post_init__(self) -> None:
        for name in ("timeout_s", "at_once", "disable_h", "keep_days"):
            if getattr(self, name) <= 0:
                raise ConfigurationError(f"{name} {getattr(self, name)} is not greater than 0", field=name)
        if any(one < 0 for one in self.retries_s):
            raise ConfigurationError("retries_s holds a number that is negative", field="retries_s")


class ServerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where it listens: `host`, `port` (0 takes a free one). `tls_cert`, `tls_key`: PEM files with its certificate and the
    certificate's key, to speak TLS; the key may stand in the first one.

    Who may ask: `keys`, whether a key is asked for; by default unless the host is loopback, and anything else must. `jwt`:
    tokens that are taken as well. `names`: by which host names it is reached beside its address, when no key is asked for.
    `origins`: web pages that may ask (`https://app.example.org`); none by default. `proxies`: addresses or networks of
    proxies whose `X-Forwarded-For` tells where a request came from, for the logs. `public_url`: its address as browsers
    reach it (`https://agents.example.org`), which logins to MCP servers come back to; by default they come back to this
    machine.

    What is there: `models`, names that clients use and the `provider:model` behind each, where `*` at the end stands for
    any rest and `*` alone for every name. `folder`: where workspaces of sessions are made, by default beside the database.

    How much: `max_runs`, how many runs this process drives at once; the others wait, the one that was started first comes
    next, and None is no limit. `max_body`, `max_upload`, bytes of a request's body, and of a file's; `max_header`, bytes of
    all headers. `tenant`: what each tenant may use.

    How long, in seconds: `heartbeat_s`, how long a stream may be silent; `header_s`, until the headers of a request are
    there; `body_s`, between two pieces of its body; `request_s`, until it is answered (of a file, `upload_s`); `send_s`,
    until a client takes what it is sent; `keep_alive_s`, until a connection at rest is closed; `shutdown_s`, until open
    requests are cut off when it ends. `worker_lease_s`: how long a worker keeps what it took after it was last heard of.
    `agui_on_disconnect`: whether the run that a front end of AG-UI has asked for goes on when that leaves, where it does not
    say so itself.

    Where it goes: `reach`, which hosts and networks beside public ones, and ports beside 80 and 443, webhooks and the
    servers of credentials may be at (`intranet.example`, `10.1.0.0/16`, `127.0.0.1:8080`); see `core.addresses.place`.
    `webhooks`: how they are sent.

    Upkeep: `recover_s`, seconds between two looks for runs nobody drives. `replies_h`: how long answers are kept for
    idempotency keys. `audit_days`: how long the audit log is kept. `archived_days`: after how long archived sessions are
    deleted; None for never.
    """

    host: str = "127.0.0.1"
    port: int = 8642
    tls_cert: str | None = None
    tls_key: str | None = None
    keys: bool | None = None
    jwt: JwtSettings | None = None
    names: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ()
    public_url: str | None = None
    models: dict[str, str] = {}
    folder: str | None = None
    max_runs: int | None = None
    max_body: int = 32 * MIB
    max_upload: int = 512 * MIB
    max_header: int = 64 * 1024
    tenant: TenantLimits = TenantLimits()
    heartbeat_s: float = 15.0
    header_s: float = 15.0
    body_s: float = 30.0
    request_s: float = 120.0
    upload_s: float = 1800.0
    send_s: float = 60.0
    keep_alive_s: float = 75.0
    shutdown_s: float = 10.0
    reach: tuple[str, ...] = ()
    webhooks: WebhookSettings = WebhookSettings()
    worker_lease_s: int = 30
    agui_on_disconnect: Literal["continue", "stop"] = "continue"
    recover_s: float = 30.0
    replies_h: float = 24.0
    audit_days: float = 90.0
    archived_days: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ConfigurationError(f"port {self.port} is not between 0 and 65535", port=self.port, field="port")
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if name != "port" and isinstance(value, int | float) and not isinstance(value, bool) and value <= 0:
                raise ConfigurationError(f"{name} {value} is not greater than 0", field=name)
        if self.tls_key is not None and self.tls_cert is None:
            raise ConfigurationError("tls_key is the key of a certificate: name that under tls_cert", field="tls_key")
        for entry in self.reach:
            place(entry)
        for origin in self.origins:
            found = urlsplit(origin)
            if found.scheme not in ("http", "https") or not found.netloc or origin != f"{found.scheme}://{found.netloc}":
                text = f"origin {origin!r} has to be scheme and host alone, as in https://app.example.org"
                raise ConfigurationError(text, field="origins")
        if self.public_url is not None:
            found = urlsplit(self.public_url)
            near = found.scheme == "http" and _is_loopback(found.hostname or "")
            if (found.scheme != "https" and not near) or not found.hostname or found.query or found.fragment:
                text = f"public_url {self.public_url!r} has to be an https address without a query"
                raise ConfigurationError(text, field="public_url")
        for proxy in self.proxies:
            try:
                ipaddress.ip_network(proxy)
            except ValueError:
                text = f"proxy {proxy!r} is no address and no network, as in 10.0.0.0/8"
                raise ConfigurationError(text, field="proxies") from None
        if self.keys is False and not self.loopback:
            raise ConfigurationError(
                f"a server on {self.host!r} can be reached from elsewhere, so it needs keys", host=self.host, field="keys"
            )

    @property
    def loopback(self) -> bool:
        """Only this machine can reach it."""
        return _is_loopback(self.host)

    @property
    def asks_for_keys(self) -> bool:
        return (not self.loopback or self.jwt is not None) if self.keys is None else self.keys

    def model(self, name: str) -> str:
        """The `provider:model` behind the name a client used. Without one in `models`, a name that tells its provider
        (`claude-...`, `gpt-...`, `o3`, `gemini-...`) gets that one, and any other is taken as it is."""
        found = self.models.get(name)
        if found is not None:
            return found
        starts = [k for k in self.models if k.endswith("*") and name.startswith(k[:-1])]
        if starts:
            return self.models[max(starts, key=len)]
        provider = provider_by_prefix(name)
        return name if ":" in name or provider is None else f"{provider}:{name}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
