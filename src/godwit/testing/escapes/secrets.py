"""Attempts to read what is hidden."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable
from functools import partial
from typing import Any

from .means import (
    CLONE,
    MS_BIND,
    PTRACE_ATTACH,
    SECRET,
    Attempt,
    by_processes,
    check,
    done,
    first,
    in_a_child,
    libc,
    linked,
    mount,
    opened,
    others,
    read,
    the_disk,
    traced,
)


def each_secret(facts: Any, attempt: Callable[[str, int], Any]) -> Any:
    """`attempt` is given a path and its number."""
    return first(partial(attempt, path, at) for at, path in enumerate(facts["secrets"]))


def list_its_folder(facts: Any) -> Any:
    found = os.listdir(facts["secret_folder"])
    if not found:
        raise PermissionError("nothing is in there")
    return found


def read_through_a_link(path: str, at: int) -> str:
    name = f"link-to-a-secret-{at}"
    with contextlib.suppress(FileExistsError):
        os.symlink(path, name)
    return read(name)


def move_it_here(facts: Any) -> Any:
    paths = (*facts["secrets"], facts["secret_folder"])
    return first(partial(done, os.rename, path, f"moved-{at}") for at, path in enumerate(paths))


def by_open_folders(facts: Any) -> Any:
    folder = os.open(os.path.dirname(facts["secret_folder"]), os.O_PATH)
    name = os.path.basename(facts["secret_folder"])
    inner = os.open(name, os.O_PATH | os.O_DIRECTORY, dir_fd=folder)
    file = os.open("key", os.O_RDONLY, dir_fd=inner)
    return os.read(file, 100).decode()


def environment_of_others(facts: Any) -> Any:
    for who in others(facts):
        with contextlib.suppress(OSError):
            with open(f"/proc/{who}/environ", "rb") as file:
                if facts["variable"].encode() in file.read():
                    return f"the environment of {who}"
    raise PermissionError("nobody's")


def memory_of_others(facts: Any) -> Any:
    ways: list[Callable[[], Any]] = [partial(opened, f"/proc/{who}/mem", os.O_RDONLY) for who in others(facts)]
    return first([*ways, *(partial(in_a_child(partial(traced, PTRACE_ATTACH)), who) for who in others(facts))])


@in_a_child
def by_mounts(facts: Any) -> Any:
    with contextlib.suppress(OSError):
        check(libc().unshare(CLONE["user"] | CLONE["mount"]))
    for path in (facts["secret_folder"], *facts["secrets"]):
        with contextlib.suppress(OSError):
            check(libc().umount2(os.fsencode(path), 2))
    os.makedirs("bound-secret", exist_ok=True)
    with contextlib.suppress(OSError):
        mount(os.path.dirname(facts["secret_folder"]), "bound-secret", None, MS_BIND)
        return read(f"bound-secret/{os.path.basename(facts['secret_folder'])}/key")
    return first(partial(read, path) for path in facts["secrets"])


def run_it(facts: Any) -> Any:
    ended = subprocess.run([os.path.join(facts["secret_folder"], "program")], capture_output=True, text=True, check=False)
    if SECRET not in ended.stdout:
        raise PermissionError("it did not say it")
    return ended.stdout


SECRETS: dict[str, Attempt] = {
    "open_it": lambda facts: each_secret(facts, lambda path, _: read(path)),
    "list_its_folder": list_its_folder,
    "open_it_through_a_link": lambda facts: each_secret(facts, read_through_a_link),
    "hard_link_it": lambda facts: each_secret(facts, lambda path, at: linked(path, f"hard-{at}")),
    "move_it_here": move_it_here,
    # A hidden folder deep within the workspace, taken along under another name.
    "move_what_is_around_it": lambda facts: done(os.rename, os.path.dirname(facts["inner_secret"]), "renamed-around"),
    "by_open_folders": by_open_folders,
    "by_the_way_of_a_process": lambda facts: first(partial(read, one) for one in by_processes(facts, facts["secrets"][0])),
    "by_a_file_the_host_has_open": lambda facts: read(f"/proc/{facts['host']}/fd/{facts['open_secret']}"),
    "environment_of_others": environment_of_others,
    "memory_of_others": memory_of_others,
    "by_mounts": by_mounts,
    "run_it": run_it,
    "the_disk": lambda facts: the_disk("disk-to-read", facts["root"], os.O_RDONLY),
}
