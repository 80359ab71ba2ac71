"""`godwit doctor`: what this installation finds around itself.

Shows which variables are set, never what a key holds; of an address neither user nor password nor query.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import platform
import shutil
import sqlite3
import subprocess
import sys
from importlib import import_module
from urllib.parse import urlsplit

import msgspec

from ..core.errors import GodwitError
from . import cli_sandbox
from .cli_exit import DONE, FAILED
from .cli_place import Place
from .cli_words import clean


class Check(msgspec.Struct, frozen=True):
    """`ok`: None for what is only told."""

    name: str
    value: str
    ok: bool | None = None


class Setting(Check, frozen=True):
    """One setting of a configuration file. `why`: why it does not hold, None when it does."""

    file: str = ""
    line: int = 0
    why: str | None = None


def configuration() -> tuple[list[Check], list[Setting]]:
    """The configuration files for this folder, and what each of them says."""
    from ..host.config_choices import choices

    try:
        found = choices(os.getcwd())
    except GodwitError as error:
        return [Check("configuration", error.message, False)], []
    files = []
    for name, file in (("your configuration", found.user), ("this folder's", found.project)):
        if file is None:
            files.append(Check(name, "none is looked for"))
        elif not file.found:
            files.append(Check(name, f"{file.path} (none)"))
        else:
            trust = "" if file.trusted else " (not trusted: it may only make things stricter)"
            files.append(Check(name, f"{file.path}{trust}", True))
    said = [
        Setting(choice.key, choice.value, choice.why is None, choice.file, choice.line, choice.why)
        for choice in found.choices
    ]
    return files, said


def agent_files() -> list[Check]:
    """How many agents the files of this folder describe, and each file that cannot be used."""
    from .cli_agents import files_of

    found = files_of(None)
    wrong = [problem for problem in found.problems if problem.fatal]
    known = Check("agent files", f"{len(found.agents)} agents (godwit agents)", True if found.agents else None)
    return [known, *(Check("agent file", str(problem), False) for problem in wrong)]


def checks(place: Place, sandboxes: cli_sandbox.Found, files: list[Check]) -> list[Check]:
    return [
        Check("godwit", version()),
        Check("python", f"{platform.python_version()} ({sys.executable})", sys.version_info >= (3, 11)),
        Check("sqlite", sqlite3.sqlite_version, sqlite3.sqlite_version_info >= (3, 35)),
        *_database(place),
        _program("ripgrep", _ripgrep(), "searches fall back to Python, which is slower"),
        _program("git", shutil.which("git"), "only needed for working with repositories"),
        _program("bash", shutil.which("bash"), "commands run with sh"),
        Check("sandbox", cli_sandbox.summary(sandboxes), sandboxes.taken != "none"),
        *files,
        *agent_files(),
        *_providers(),
        Check(
            "pytest", "importable" if _importable("pytest") else "not importable: godwit demo needs it (pip install pytest)"
        ),
    ]


def _database(place: Place) -> list[Check]:
    if place.address is not None:
        return asyncio.run(_server(place, place.address))
    path = place.database
    if not path.exists():
        return [Check("database", f"{path} (made when first used)"), Check("durability", "disk")]
    from ..stores.sqlite import SqliteStore

    try:
        store = SqliteStore.open(path)
    except GodwitError as error:
        return [Check("database", f"{path}: {error.message}", False)]
    durability = store.durability
    asyncio.run(store.close())
    size = path.stat().st_size
    return [Check("database", f"{path} ({size:,} bytes)", True), Check("durability", durability, durability == "disk")]


async def _server(place: Place, address: str) -> list[Check]:
    from ..stores.opening import opened

    try:
        async with await opened(address) as store:
            counts = await store.session_counts()
    except GodwitError as error:
        return [Check("database", f"{place.shown}: {error.message}", False)]
    return [Check("database", f"{place.shown} ({sum(counts.values()):,} sessions)", True)]


def _ripgrep() -> str | None:
    from ..workspaces.search import ripgrep

    return ripgrep()


def _program(name: str, path: str | None, without: str) -> Check:
    if path is None:
        return Check(name, f"not found: {without}", False)
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check(name, f"{path} does not run: {error}", False)
    return Check(name, f"{(said.splitlines() or ['?'])[0].strip()} ({path})", True)


def _providers() -> list[Check]:
    from ..host.configured import registry_of
    from .cli_settings import load

    try:
        registry = registry_of(load(os.getcwd()))
    except GodwitError:
        registry = registry_of(None)  # the files' mistake is told above
    found = []
    try:
        statuses = {provider.name: registry.key_status(provider.name) for provider in registry.providers}
    except GodwitError as error:
        return [Check("stored keys", error.message, False)]
    for provider in registry.providers:
        status = statuses[provider.name]
        if status.missing:
            named = " or ".join(status.missing)
            text = f"no key: {named}" if named.startswith("godwit ") else f"no key: set {named}"
        elif status.origin == "stored":
            text = f"{'key' if status.kind == 'api_key' else 'token'} stored in the {status.place} (godwit auth status)"
        elif status.origin == "environment":
            text = f"key in {', '.join(name for name in provider.key_env if os.environ.get(name))}"
        else:
            text = "needs no key"
        replaced = os.environ.get(provider.url_env) if provider.url_env else None
        address = replaced or provider.base_url
        if address:
            text += f"; {_address(address)}" + (f" (from {provider.url_env})" if replaced else "")
        # Having no key for a provider is no fault: nobody has them all.
        found.append(Check(f"provider {provider.name}", text, True if status.origin and not status.missing else None))
    return found


def _address(url: str) -> str:
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"


def _importable(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def version() -> str:
    found: str = import_module(__name__.partition(".")[0]).__version__
    return found


def show(place: Place, *, as_json: bool) -> int:
    """Print the checks. 1 when the database or a configuration file cannot be used."""
    sandboxes = cli_sandbox.look()
    files, said = configuration()
    found = checks(place, sandboxes, files)
    if as_json:
        from .cli_view import write_json

        for finding in sandboxes.findings:
            text = "holds" if finding.holds else finding.why
            found.append(Check(f"sandbox {finding.backend} {finding.promise}", text, finding.holds))
        for check in found:
            write_json(check)
        for setting in said:
            write_json(msgspec.structs.replace(setting, name=f"setting {setting.name}"))
    else:
        from rich.console import Console

        console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
        for check in found:
            mark, style = {True: ("✓", "green"), False: ("✗", "red"), None: (" ", "")}[check.ok]
            console.print(f"{mark} {check.name:<26} {check.value}", style=style or None)
        cli_sandbox.show(sandboxes, console)
        for setting in said:
            mark, colour = ("✓", None) if setting.ok else ("✗", "yellow")
            console.print(f"{mark} {clean(f'{setting.name} = {setting.value}')}", style=colour)
            why = f": {clean(setting.why)}" if setting.why else ""
            console.print(f"    {clean(setting.file)}:{setting.line}{why}", style=colour)
    broken = any(check.name in ("database", "configuration") and check.ok is False for check in found)
    return FAILED if broken else DONE
