"""What a sandbox may be asked for, as data: the policy, the promises, and what is hidden and passed on by default.

Leaves out how any of it is done, and what holds on a machine (`godwit.workspaces.sandboxes`). Rules: a promise that is not
here cannot be demanded; the text of a promise in `PROMISES` is what its tests prove, no more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from .errors import ConfigurationError
from .hosts import ANY, entry
from .packages import package

Promise = Literal[
    "writes_confined",
    "attributes_confined",
    "secrets_hidden",
    "settings_kept",
    "network_off",
    "network_limited",
    "processes_isolated",
    "no_survivors",
    "limits_enforced",
]
PROMISES: dict[Promise, str] = {
    "writes_confined": "the command makes, changes, renames and removes files nowhere but in the workspace, its temporary "
    "folder and `writable`",
    "attributes_confined": "nor does it change modes, owners, times or extended attributes of files elsewhere",
    "secrets_hidden": "files in hidden places cannot be opened, by whatever name",
    "settings_kept": "godwit's own files in the workspace, `.godwit` and the database, cannot be made, changed or removed",
    "network_off": "no address can be reached, the loopback's and socket files included; only its own loopback is there",
    "network_limited": "no address can be reached but those of the hosts in `allowed_hosts`, through a proxy of godwit's "
    "that judges each before it connects",
    "processes_isolated": "processes outside cannot be seen, signalled or traced",
    "no_survivors": "nothing the command started lives on when it has ended",
    "limits_enforced": "the limits that the policy sets hold",
}
"""Each promise, and what it says of a command."""
Backend = Literal["auto", "bubblewrap", "landlock", "none"]

_PLACE = re.compile(r"(?:/[^/\0]+)+")
_NAME = re.compile(r"(?:[A-Za-z_][A-Za-z0-9_]*)?\*?")


class SandboxPolicy(msgspec.Struct, frozen=True, omit_defaults=True):
    """How commands are confined.

    `backend`: `auto` takes the strongest that works here; one that is named must work, or the session does not start.
    `network`: whether commands may reach one. `allowed_hosts`: the hosts that they may reach without it, see `core.hosts`;
    a list demands `network_limited`. `denied_hosts`: hosts that they may not reach although the list names them.
    `unix_sockets`: whether they may use unix sockets without one; some are
    others' and lead out, so `network_off` cannot be promised then. Paths are absolute or begin with `~`. `writable`:
    folders beside the workspace and its temporary folder that may be written. `readable`: paths that may be read
    although they are hidden by default. `hidden`: paths that cannot be read, beside those hidden by default (`HIDDEN`).
    Where one path lies within another, the inner one counts; what does not exist is passed over. `environment`: names of
    our variables that are passed on, `*` at the end allowed; None is the built-in list (`ENVIRONMENT`); what looks like
    a credential is passed on only by its full name. `memory_bytes` (of address space), `cpu_s` (of processor time):
    limits of each process; `file_bytes`: of each file that is written; `processes`: of the command. `packages`: what is
    installed before the first command, such as `pip:pandas==2.2.0`, see `core.packages`. `require`: promises
    that must hold here, or the session does not start. ConfigurationError.
    """

    backend: Backend = "auto"
    network: bool = False
    allowed_hosts: tuple[str, ...] = ()
    denied_hosts: tuple[str, ...] = ()
    unix_sockets: bool = False
    writable: tuple[str, ...] = ()
    readable: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    environment: tuple[str, ...] | None = None
    links: tuple[tuple[str, str], ...] = ()
    memory_bytes: int | None = None
    processes: int | None = None
    file_bytes: int | None = None
    cpu_s: int | None = None
    packages: tuple[str, ...] = ()
    require: tuple[Promise, ...] = ()

    def __post_init__(self) -> None:
        for name in ("memory_bytes", "processes", "file_bytes", "cpu_s"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ConfigurationError(f"sandbox {name}={value!r} must be more than 0", limit=name, value=value)
        for name in ("writable", "readable", "hidden"):
            for path in getattr(self, name):
                if not path.startswith(("/", "~")) or "\0" in path:
                    raise ConfigurationError(
                        f"sandbox {name} path {path!r} is not absolute: begin it with / or ~", field=name, path=path
                    )
        for name in self.environment or ():
            if not name or not _NAME.fullmatch(name):
                raise ConfigurationError(
                    f"sandbox environment {name!r} is no name of a variable (a * may stand at its end)", name=name
                )
        for place, folder in self.links:
            if not _PLACE.fullmatch(place) or "/.." in place or "/./" in f"{place}/":
                raise ConfigurationError(
                    f"sandbox links place {place!r} is not a plain absolute path",
                    field="links",
                    path=place,
                )
            if folder.startswith(("/", "~")) or not folder or ".." in folder.split("/") or "\0" in folder:
                raise ConfigurationError(
                    f"sandbox links folder {folder!r} is not a path within the workspace", field="links", path=folder
                )
        unknown = [promise for promise in self.require if promise not in PROMISES]
        if unknown:
            raise ConfigurationError(
                f"sandbox requires {unknown[0]!r}, which is no promise: take {', '.join(PROMISES)}", promise=unknown[0]
            )
        for option in ("network", "unix_sockets"):
            for promise in ("network_off", "network_limited"):
                if getattr(self, option) and promise in self.require:
                    raise ConfigurationError(
                        f"sandbox requires {promise} and has {option}=True: choose one", promise=promise
                    )
        for text in (*self.allowed_hosts, *self.denied_hosts):
            entry(text)
        for text in self.packages:
            package(text)
        for one, what in (("network", "the whole network"), ("unix_sockets", "unix sockets, which may lead anywhere")):
            if getattr(self, one) and (self.allowed_hosts or (self.denied_hosts and one == "network")):
                lists = "allowed_hosts" if self.allowed_hosts else "denied_hosts"
                raise ConfigurationError(f"sandbox has {lists} and {one}=True ({what}): choose one", field=lists)
        if self.allowed_hosts and "network_off" in self.require:
            raise ConfigurationError("sandbox requires network_off and has allowed_hosts: choose one", promise="network_off")

    @property
    def demands(self) -> tuple[Promise, ...]:
        """What must hold, or nothing is run: what is required, and a list of hosts by itself."""
        limited: tuple[Promise, ...] = ("network_limited",) if self.allowed_hosts else ()
        return tuple(dict.fromkeys((*self.require, *limited)))


def sandbox_policy(table: Mapping[str, Any], where: str = "[sandbox]") -> SandboxPolicy:
    """The policy a table of a configuration file describes; its keys are the fields of `SandboxPolicy`.

    `where`: what messages name as the place. ConfigurationError: an unknown key, a value that does not fit.
    """
    known = SandboxPolicy.__struct_fields__
    for key in table:
        if key not in known:
            raise ConfigurationError(f"{where}: unknown key {key!r}; known are {', '.join(known)}", key=key)
    try:
        return msgspec.convert(dict(table), SandboxPolicy)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at ")
        key = path.strip("`").removeprefix("$").lstrip(".").partition("[")[0]
        raise ConfigurationError(f"{where} {key}: {problem}" if key else f"{where}: {problem}", key=key) from None
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error.message}", **error.details) from None


_LIMITS = ("memory_bytes", "processes", "file_bytes", "cpu_s")
_STRICTER = ("hidden", *_LIMITS, "denied_hosts", "require")


def only_stricter(given: SandboxPolicy) -> tuple[SandboxPolicy, tuple[str, ...]]:
    """What of a policy can only confine more, and the fields that were left out because they may confine less.

    For settings of a folder that an agent can write in.
    """
    default = SandboxPolicy()
    left_out = tuple(
        name
        for name in SandboxPolicy.__struct_fields__
        if name not in _STRICTER and getattr(given, name) != getattr(default, name)
    )
    return SandboxPolicy(**{name: getattr(given, name) for name in _STRICTER}), left_out


def tightened(base: SandboxPolicy, more: SandboxPolicy) -> SandboxPolicy:
    """The base with what `more` hides, denies, limits and requires on top; the lower limit counts. A whole network of which
    hosts are denied is a list of all others. ConfigurationError when that contradicts itself."""
    changed: dict[str, Any] = {
        "hidden": tuple(dict.fromkeys((*base.hidden, *more.hidden))),
        "denied_hosts": tuple(dict.fromkeys((*base.denied_hosts, *more.denied_hosts))),
        "require": tuple(dict.fromkeys((*base.require, *more.require))),
    }
    if base.network and more.denied_hosts:
        changed |= {"network": False, "unix_sockets": False, "allowed_hosts": (ANY,)}
    for name in _LIMITS:
        limits = [limit for one in (base, more) if (limit := getattr(one, name)) is not None]
        changed[name] = min(limits, default=None)
    return SandboxPolicy(**{name: changed.get(name, getattr(base, name)) for name in SandboxPolicy.__struct_fields__})


def combined(own: SandboxPolicy, standing: SandboxPolicy) -> SandboxPolicy:
    """An agent's own policy with a person's standing one: what is opened by either is open, what is hidden, limited and
    required by either is. Of a backend and a list of variables the agent's counts, where it names one; a network that the
    agent has closed by requiring `network_off` stays closed, and a list of hosts for which it requires `network_limited`
    stays as it is; otherwise one that either limits to hosts is limited to those that any of the two names.
    ConfigurationError when they contradict each other."""
    closed = "network_off" in own.require or "network_limited" in own.require
    hosts = own.allowed_hosts if closed else tuple(dict.fromkeys((*own.allowed_hosts, *standing.allowed_hosts)))
    if own.denied_hosts and standing.network and not closed and not hosts:
        hosts = (ANY,)
    opened = {
        "backend": standing.backend if own.backend == "auto" else own.backend,
        "network": not hosts and (own.network or (standing.network and not closed)),
        "allowed_hosts": hosts,
        "unix_sockets": not hosts and (own.unix_sockets or (standing.unix_sockets and not closed)),
        "writable": tuple(dict.fromkeys((*own.writable, *standing.writable))),
        "readable": tuple(dict.fromkeys((*own.readable, *standing.readable))),
        "environment": standing.environment if own.environment is None else own.environment,
        "links": tuple(dict.fromkeys((*own.links, *standing.links))),
        "packages": tuple(dict.fromkeys((*own.packages, *standing.packages))),
    }
    return tightened(msgspec.structs.replace(own, **opened), standing)


HIDDEN: tuple[str, ...] = (
    # keys and tokens
    "~/.ssh", "~/.gnupg", "~/.netrc", "~/.git-credentials", "~/.config/git/credentials", "~/.config/gh", "~/.config/hub",
    "~/.config/glab-cli", "~/.aws", "~/.azure", "~/.oci", "~/.config/gcloud", "~/.config/doctl", "~/.config/hcloud",
    "~/.config/rclone", "~/.config/openstack", "~/.boto", "~/.s3cfg", "~/.fly", "~/.kube", "~/.minikube", "~/.docker",
    "~/.colima", "~/.lima", "~/.orbstack", "~/.rd",
    "~/.config/containers/auth.json", "~/.vault-token", "~/.terraformrc", "~/.terraform.d", "~/.npmrc", "~/.yarnrc.yml",
    "~/.pypirc", "~/.config/pypoetry/auth.toml", "~/.gem/credentials", "~/.cargo/credentials",
    "~/.cargo/credentials.toml", "~/.m2/settings.xml", "~/.m2/settings-security.xml", "~/.gradle/gradle.properties",
    "~/.composer/auth.json", "~/.nuget/NuGet/NuGet.Config", "~/.pgpass", "~/.my.cnf", "~/.mylogin.cnf",
    "~/.huggingface/token", "~/.cache/huggingface/token", "~/.claude/.credentials.json", "~/.claude.json",
    "~/.codex/auth.json", "~/.gemini/oauth_creds.json", "~/.config/github-copilot", "~/.config/op", "~/.config/sops",
    "~/.config/age",
    # stores of passwords, and what runs beside a desktop
    "~/.password-store", "~/.local/share/keyrings", "~/.local/share/kwalletd", "~/.config/1Password", "~/.1password",
    "~/.config/Bitwarden", "~/.config/keepassxc", "~/.pki", "~/.Xauthority", "~/.ICEauthority",
    # what was typed
    "~/.bash_history", "~/.zsh_history", "~/.history", "~/.sh_history", "~/.ash_history",
    "~/.local/share/fish/fish_history", "~/.python_history", "~/.node_repl_history", "~/.psql_history",
    "~/.mysql_history", "~/.sqlite_history", "~/.rediscli_history", "~/.viminfo",
    # browsers and mail
    "~/.mozilla", "~/.thunderbird", "~/.config/google-chrome", "~/.config/chromium", "~/.config/BraveSoftware",
    "~/.config/microsoft-edge", "~/.config/vivaldi", "~/.config/opera", "~/.cache/mozilla", "~/snap/firefox",
    "~/snap/chromium", "~/.var/app", "~/Library/Keychains", "~/Library/Cookies",
    "~/Library/Application Support/Google/Chrome", "~/Library/Application Support/Firefox",
    # the system's
    "/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/sudoers", "/etc/sudoers.d", "/etc/ssl/private",
    "/etc/krb5.keytab", "/etc/kubernetes", "/etc/rancher", "/etc/wireguard", "/etc/wpa_supplicant",
    "/etc/NetworkManager/system-connections", "/var/spool/cron", "/var/lib/docker", "/var/lib/containerd",
    "/var/lib/kubelet", "/var/lib/lxd", "/var/lib/incus", "/var/snap/lxd", "/var/lib/sss", "/var/backups",
    # what others keep for the moment, and the sockets of services
    "/tmp", "/var/tmp", "/run", "/dev/shm", "/mnt/c/Users",
)  # fmt: skip
"""Hidden by default, where they exist; beside them the homes of other users and the keys of the ssh server."""

ENVIRONMENT: tuple[str, ...] = (
    "PATH", "HOME", "PWD", "SHELL", "USER", "LOGNAME", "HOSTNAME", "LANG", "LANGUAGE", "LC_*", "TZ", "TERM", "TMPDIR",
    "COLORTERM", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "PAGER", "EDITOR", "VISUAL",
    "CI", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "SOURCE_DATE_EPOCH", "MANPATH", "INFOPATH",
    # certificates
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO",
    "NIX_SSL_CERT_FILE",
    # Python
    "VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "PYTHONPATH", "PYTHONHOME", "PYTHONUTF8", "PYTHONIOENCODING",
    "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTHONHASHSEED", "PYTHONWARNINGS", "PYENV_ROOT", "PYENV_VERSION",
    "UV_PYTHON", "UV_CACHE_DIR", "PIP_CACHE_DIR",
    # JavaScript
    "NODE_ENV", "NODE_PATH", "NODE_OPTIONS", "NVM_DIR", "NVM_BIN", "VOLTA_HOME", "FNM_DIR", "PNPM_HOME", "BUN_INSTALL",
    "DENO_DIR", "COREPACK_HOME",
    # Rust, Go, Java and their kin
    "CARGO_HOME", "CARGO_TARGET_DIR", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "RUSTFLAGS", "RUST_BACKTRACE", "RUST_LOG",
    "GOPATH", "GOROOT", "GOBIN", "GOCACHE", "GOMODCACHE", "GOFLAGS", "GOTOOLCHAIN", "GOOS", "GOARCH", "CGO_ENABLED",
    "JAVA_HOME", "JDK_HOME", "MAVEN_HOME", "M2_HOME", "GRADLE_HOME", "GRADLE_USER_HOME", "ANDROID_HOME",
    "ANDROID_SDK_ROOT", "DOTNET_ROOT", "DOTNET_CLI_TELEMETRY_OPTOUT", "GEM_HOME", "GEM_PATH", "RBENV_ROOT",
    "RBENV_VERSION", "ASDF_DIR", "ASDF_DATA_DIR", "MISE_DATA_DIR", "SDKMAN_DIR", "GHCUP_INSTALL_BASE_PREFIX", "OPAMROOT",
    # C and building
    "CC", "CXX", "CPP", "LD", "AR", "CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS", "CPATH", "LIBRARY_PATH",
    "LD_LIBRARY_PATH", "PKG_CONFIG_PATH", "CMAKE_PREFIX_PATH", "CMAKE_GENERATOR", "MAKEFLAGS", "NIX_PATH",
    "NIX_PROFILES", "LOCALE_ARCHIVE", "HOMEBREW_PREFIX", "SDKROOT", "DEVELOPER_DIR",
)  # fmt: skip
"""Passed on by default, besides what the session's own `environment` gives."""

CREDENTIAL = re.compile(
    r"(?:^|_)(?:API_?KEY|ACCESS_KEY|PRIVATE_KEY|SECRET|CREDENTIALS?|PASSWD|PASSPHRASE)(?:_|$)"
    r"|(?:^|_)TOKENS?$|_KEY$|PASSWORD",
    re.IGNORECASE,
)
"""A variable with such a name is passed on only by its full name."""
