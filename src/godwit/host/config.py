"""Config: what a person sets once, in files, for all sessions or for those of one folder.

    ~/.config/godwit/config.toml       the person's own (XDG_CONFIG_HOME is heeded; GODWIT_CONFIG names another)
    <workspace>/.godwit/config.toml    the folder's

Owns where the files are, how they are read, and what a folder's file may do. Leaves out what a section means. To add one:
an entry in `SECTIONS`, which says how it is read and what is left of it in a folder that is not trusted, and a field for
each file's in `Config`, `user_<section>` and `project_<section>`.

Rules a change must keep: an agent can write in its folder, so the folder's file may only make things stricter unless the
person's own file trusts the folder; what it may not do is told, not done and not hidden; an error names file and line, and
nothing of a wrong file is used. The library reads no file by itself; the command line does.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from ..core.errors import ConfigurationError
from ..core.hooks import HookSpec
from ..core.rules import Permissions, Verdict
from ..core.sandbox import SandboxPolicy, combined, only_stricter
from ..engine.permissions import Layer, Standing

USER_FILE = os.path.join("godwit", "config.toml")
PROJECT_FILE = os.path.join(".godwit", "config.toml")
MAX_FILE = 1024 * 1024
_STRICTNESS: tuple[Verdict, ...] = ("allow", "ask", "deny")


class PermissionSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[permissions]`: rules, and the verdict where none matches; None leaves that to the agent."""

    allow: tuple[str, ...] = ()
    ask: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    default: Verdict | None = None

    @property
    def rules(self) -> Permissions:
        return Permissions(self.allow, self.ask, self.deny)


class Notice(msgspec.Struct, frozen=True):
    """Something of a file that is not used, and why."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


class Config(msgspec.Struct, frozen=True):
    """What the files say together. `user` and `project`: the files that were read. `trusted`: the folder's file counts as
    the person's own. `notices`: what of it is not used."""

    user: str | None = None
    project: str | None = None
    trusted: bool = False
    notices: tuple[Notice, ...] = ()
    user_permissions: PermissionSection = PermissionSection()
    project_permissions: PermissionSection = PermissionSection()
    user_hooks: tuple[HookSpec, ...] = ()
    project_hooks: tuple[HookSpec, ...] = ()
    user_sandbox: SandboxPolicy = SandboxPolicy()
    project_sandbox: SandboxPolicy = SandboxPolicy()

    @property
    def sandbox(self) -> SandboxPolicy:
        """What is added to the sandbox of each agent; of a folder that is not trusted only what confines more."""
        return combined(self.project_sandbox, self.user_sandbox)

    @property
    def default(self) -> Verdict | None:
        """The stricter one of the files' defaults; of a trusted folder its own."""
        own, user = self.project_permissions.default, self.user_permissions.default
        if own is None or user is None:
            return own if user is None else user
        return own if self.trusted else stricter(own, user)

    @property
    def hooks(self) -> tuple[HookSpec, ...]:
        """The person's, then the folder's; one of the same id takes the place of the one before."""
        return tuple({spec.id: spec for spec in (*self.user_hooks, *self.project_hooks)}.values())

    @property
    def standing(self) -> Standing:
        """Its rules, as the engine takes them: the person's as `config`, the folder's as `project`."""
        sections = (("config", self.user_permissions), ("project", self.project_permissions))
        return Standing(tuple(Layer(name, section.rules) for name, section in sections), self.default)


Configs = Config | Callable[[str | None], Config] | None
"""One for all, or what gives that of a folder; None for none."""


def hooks_of(config: Configs, workspace: str | None) -> tuple[HookSpec, ...]:
    """What hooks are called in a folder. What gives the configuration may raise ConfigurationError."""
    if config is None:
        return ()
    return (config if isinstance(config, Config) else config(workspace)).hooks


def standing_of(config: Configs) -> Callable[[str | None], Standing]:
    """What rules hold in a folder. What it gives may raise ConfigurationError."""
    if config is None:
        return lambda _: Standing()
    if isinstance(config, Config):
        one = config.standing
        return lambda _: one
    return lambda workspace: config(workspace).standing


def sandbox_of(config: Configs) -> Callable[[str | None], SandboxPolicy]:
    """What is added to the sandboxes of sessions in a folder. What it gives may raise ConfigurationError."""
    if config is None:
        return lambda _: SandboxPolicy()
    if isinstance(config, Config):
        one = config.sandbox
        return lambda _: one
    return lambda workspace: config(workspace).sandbox


def stricter(one: Verdict, other: Verdict) -> Verdict:
    return max(one, other, key=_STRICTNESS.index)


# --- sections -----------------------------------------------------------------------------------------------------------


Left = list[tuple[str, Any, str]]
"""What is not used: its key, its value, and what is said of it."""


@dataclass(frozen=True)
class Section:
    """A section of the files. `read`: the file's, from what TOML made of it; its errors name file and line. `untrusted`:
    what is left of a folder's that is not trusted, with what is not used."""

    read: Callable[[File, Any], Any]
    untrusted: Callable[[Any], tuple[Any, Left]]


_NOT_TRUSTED = "is not used: this folder may only deny and ask, unless your own file lists it under trusted"


def _permissions(file: File, given: Any) -> PermissionSection:
    found = file.table("permissions", given, PermissionSection)
    for key in ("allow", "ask", "deny"):
        for rule in getattr(found, key):
            try:
                Permissions(deny=(rule,))
            except ConfigurationError as error:
                raise file.error("permissions", key, error.message, rule) from None
    return found


def _only_stricter(given: PermissionSection) -> tuple[PermissionSection, Left]:
    left: Left = [("allow", rule, f"allow {rule!r} {_NOT_TRUSTED}") for rule in given.allow]
    default = given.default
    if default == "allow":
        left.append(("default", default, f"default 'allow' {_NOT_TRUSTED}"))
        default = None
    return PermissionSection((), given.ask, given.deny, default), left


def _hooks(file: File, given: Any) -> tuple[HookSpec, ...]:
    if not isinstance(given, list):
        raise file.error("", "hooks", "hooks are written as [[hooks]] tables")
    from .hook_settings import hooks_from_toml

    return tuple(hooks_from_toml(file.text, file.path, source="config"))


def _no_hooks(given: tuple[HookSpec, ...]) -> tuple[tuple[HookSpec, ...], Left]:
    return (), [("", None, f"its {len(given)} hook(s) are not called: they run commands, and this folder is not trusted")]


def _sandbox(file: File, given: Any) -> SandboxPolicy:
    return file.table("sandbox", given, SandboxPolicy)


def _only_confining(given: SandboxPolicy) -> tuple[SandboxPolicy, Left]:
    kept, left_out = only_stricter(given)
    why = "is not used: this folder may only confine more, unless your own file lists it under trusted"
    return kept, [(name, None, f"{name} {why}") for name in left_out]


SECTIONS: dict[str, Section] = {
    "permissions": Section(_permissions, _only_stricter),
    "hooks": Section(_hooks, _no_hooks),
    "sandbox": Section(_sandbox, _only_confining),
}


# --- files --------------------------------------------------------------------------------------------------------------


def user_file(environment: Mapping[str, str] | None = None) -> str | None:
    """Where the person's own file is or would be; None when GODWIT_CONFIG is set and empty."""
    known = os.environ if environment is None else environment
    named = known.get("GODWIT_CONFIG")
    if named is not None:
        return os.path.expanduser(named) or None
    base = known.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(base):
        base = os.path.join(known.get("HOME") or os.path.expanduser("~"), ".config")
    return os.path.join(base, USER_FILE)


def load(workspace: str | os.PathLike[str] | None = None, *, environment: Mapping[str, str] | None = None) -> Config:
    """What holds for sessions in this folder. ConfigurationError, beginning with file and line."""
    known = os.environ if environment is None else environment
    path = user_file(known)
    user = None if path is None else _read(path, required="GODWIT_CONFIG" in known)
    root = None if workspace is None else os.path.realpath(workspace)
    project = None if root is None else _read(os.path.join(root, PROJECT_FILE), required=False)
    if project is not None and user is not None and os.path.samefile(project.path, user.path):
        project = None
    within = user is not None and root is not None and _lies_in(os.path.realpath(user.path), root)
    trusted = user is not None and root is not None and not within and root in _trusted_folders(user)
    notices: list[Notice] = []
    kept: dict[str, Any] = {}
    for source, prefix, free in ((user, "user", not within), (project, "project", trusted)):
        if source is None:
            continue
        for name, section in SECTIONS.items():
            if name not in source.content:
                continue
            found = section.read(source, source.content[name])
            if not free:
                found, left = section.untrusted(found)
                for key, value, text in left:
                    line = source.line(name if key else "", key or name, value)
                    notices.append(Notice(source.path, line, text))
            kept[f"{prefix}_{name}"] = found
    if within and user is not None and notices:
        notices.insert(
            0, Notice(user.path, 1, "this file lies in the workspace, where an agent can write: it is not trusted")
        )
    if project is not None and "trusted" in project.content:
        notices.append(Notice(project.path, project.line("", "trusted"), "trusted is read from your own file only"))
    return Config(
        None if user is None else user.path, None if project is None else project.path, trusted, tuple(notices), **kept
    )


def _lies_in(path: str, folder: str) -> bool:
    return os.path.commonpath([path, folder]) == folder


def _trusted_folders(user: File) -> list[str]:
    given = user.content.get("trusted", [])
    if not isinstance(given, list) or not all(isinstance(folder, str) for folder in given):
        raise user.error("", "trusted", "trusted has to be a list of folders")
    found = []
    for folder in given:
        full = os.path.expanduser(folder)
        if not os.path.isabs(full):
            raise user.error("", "trusted", f"trusted folder {folder!r} is not absolute", folder)
        found.append(os.path.realpath(full))
    return found


T = TypeVar("T", bound=msgspec.Struct)


@dataclass(frozen=True)
class File:
    """A file that was read: where it is, its text, and what TOML made of it."""

    path: str
    text: str
    content: dict[str, Any]

    def table(self, name: str, given: Any, kind: type[T]) -> T:
        """The table `[name]` as this struct. ConfigurationError, telling file and line; also for a key it does not have and
        for a value that the struct refuses."""
        if not isinstance(given, dict):
            raise self.error("", name, f"[{name}] has to be a table")
        known = [field.encode_name for field in msgspec.structs.fields(kind)]
        for key in given:
            if key not in known:
                raise self.error(name, key, f"there is no setting {key!r} in [{name}]{_meant(key, known)}")
        try:
            return msgspec.convert(given, kind)
        except msgspec.ValidationError as error:
            key = next((key for key in known if f"$.{key}" in str(error)), "")
            raise self.error(name, key, f"[{name}] {_said(error, key)}") from None
        except ConfigurationError as error:
            raise self.error(name, "", f"[{name}] {error.message}") from None

    def line(self, table: str, key: str, value: Any = None) -> int:
        """The line, from 1, of this value of the key, or else of the key, or of its table."""
        return _line(self.text, table, key, value)

    def error(self, table: str, key: str, what: str, value: Any = None) -> ConfigurationError:
        line = self.line(table, key, value)
        return ConfigurationError(f"{self.path}:{line}: {what}", path=self.path, line=line, problem=what)


def _read(path: str, *, required: bool) -> File | None:
    """The file, or None when there is none and none is required."""

    def wrong(what: str, line: int = 1) -> ConfigurationError:
        return ConfigurationError(f"{path}:{line}: {what}", path=path, line=line, problem=what)

    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_FILE + 1)
    except FileNotFoundError:
        if required:
            raise wrong("there is no such file, though GODWIT_CONFIG names it") from None
        return None
    except NotADirectoryError:
        return None
    except OSError as error:
        raise wrong(f"it cannot be read: {error.strerror}") from None
    if len(raw) > MAX_FILE:
        raise wrong(f"it has more than {MAX_FILE} bytes")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise wrong("it is not UTF-8", raw[: error.start].count(b"\n") + 1) from None
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+), column \d+\)", str(error))
        at = int(found[1]) if found else text.count("\n") + 1
        said = re.sub(r" \(at (?:line \d+, column \d+|end of document)\)", "", str(error))
        raise wrong(f"this is no TOML: {said[:1].lower()}{said[1:]}", at) from None
    except RecursionError:
        raise wrong("it is nested too deep") from None
    made = File(path, text, content)
    known = [*SECTIONS, "trusted"]
    for key in content:
        if key not in known:
            raise made.error("", key, f"there is no setting or section {key!r}{_meant(key, known)}")
    return made


def _meant(key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f": did you mean {close[0]!r}?" if close else f"; there are {', '.join(map(repr, known))}"


def _said(error: msgspec.ValidationError, key: str) -> str:
    problem = str(error).partition(" - at `")[0].replace("`", "")
    return f"{key}: {problem[:1].lower()}{problem[1:]}" if key else problem


def _line(text: str, table: str, key: str, value: Any = None) -> int:
    """tomllib tells no lines, so they are looked for: the table's header, the key below it, the value from there on."""
    lines = text.split("\n")
    start, header = 0, 0
    if table:
        pattern = re.compile(rf"\s*\[\[?\s*[\"']?{re.escape(table)}[\"']?\s*\]\]?\s*(#.*)?$")
        dotted = re.compile(rf"\s*[\"']?{re.escape(table)}[\"']?\s*[.=]")
        header = next((at for at, line in enumerate(lines) if pattern.match(line)), -1)
        if header < 0:
            header = next((at for at, line in enumerate(lines) if dotted.match(line)), 0)
        start = header
    name = rf"[\"']?{re.escape(key)}[\"']?\s*(=|\.|$|\])" if key else r"$^"
    within = rf"(?:[\"']?{re.escape(table)}[\"']?\s*[.=]\s*\{{?\s*)?" if table else ""
    begins = re.compile(rf"\s*(?:\[+\s*)?{within}{name}")
    at = next((i for i, line in enumerate(lines[start:], start) if begins.match(line)), header)
    if isinstance(value, str):
        quoted = {value, value.replace("\\", "\\\\").replace('"', '\\"')}
        return next((i for i, line in enumerate(lines[at:], at) if any(q and q in line for q in quoted)), at) + 1
    return at + 1
