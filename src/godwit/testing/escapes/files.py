"""Attempts to change files: those outside, those that are kept from commands, and what is told of a file."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import stat
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from .means import (
    CLONE,
    MS_BIND,
    MS_REC,
    MS_REMOUNT,
    Attempt,
    by_processes,
    check,
    done,
    enter,
    first,
    in_a_child,
    libc,
    mine,
    mount,
    opened,
    others,
    the_disk,
    working_in,
    write,
)


def outside(facts: Any, name: str) -> str:
    return os.path.join(facts["outside"], name)


def exchange(facts: Any) -> Any:
    check(libc().renameat2(-100, os.fsencode(mine()), -100, os.fsencode(facts["file"]), ctypes.c_uint(2)))
    return "exchanged"


def hard_link_in(facts: Any) -> Any:
    os.link(facts["file"], "theirs-linked")
    return write("theirs-linked")


def through_a_link(name: str, target: str, path: str) -> Any:
    """Write to the path, which leads through a link of that name."""
    with contextlib.suppress(FileExistsError):
        os.symlink(target, name)
    return write(path)


def make_a_socket_outside(facts: Any) -> Any:
    with working_in(facts["outside"], facts["root"]), socket.socket(socket.AF_UNIX) as one:
        one.bind("socket")
    return "made"


def unnamed_file(facts: Any) -> Any:
    file = os.open(facts["outside"], os.O_TMPFILE | os.O_WRONLY)
    os.link(f"/proc/self/fd/{file}", outside(facts, "named"), follow_symlinks=True)
    return "made"


def by_what_was_inherited(facts: Any) -> Any:
    inherited = [int(name) for name in os.listdir("/proc/self/fd") if int(name) > 2]
    for one in inherited:
        with contextlib.suppress(OSError):
            if stat.S_ISDIR(os.fstat(one).st_mode) or stat.S_ISREG(os.fstat(one).st_mode):
                there = os.readlink(f"/proc/self/fd/{one}")
                if not there.startswith(("/proc", facts["root"])):
                    return there
    raise PermissionError("only what is ours")


def leave_a_mark(facts: Any, *folders: str) -> Any:
    """Where only the suite can see whether it came through."""
    for folder in folders:
        with contextlib.suppress(OSError):
            write(f"{folder}/{facts['mark']}")
    raise PermissionError("tried, whoever sees it")


def mount_again(facts: Any) -> Any:
    mount("none", "/", None, MS_REMOUNT | MS_BIND)
    return write(facts["file"])


def bind_mount(facts: Any) -> Any:
    os.makedirs("bound", exist_ok=True)
    mount(facts["outside"], "bound", None, MS_BIND | MS_REC)
    mount("none", "bound", None, MS_REMOUNT | MS_BIND)
    return write("bound/made-by-a-mount")


@in_a_child
def namespaces_of_its_own(facts: Any) -> Any:
    """In a user namespace one has every right over the mounts one makes, but not over those one was given."""
    check(libc().unshare(CLONE["user"] | CLONE["mount"]))
    with contextlib.suppress(OSError):
        mount("none", "/", None, MS_REMOUNT | MS_BIND)
    with contextlib.suppress(OSError):
        check(libc().umount2(b"/", 2))
    return write(facts["file"])


@in_a_child
def namespaces_of_others(facts: Any) -> Any:
    enter([("user", 0), ("mnt", 0)], (*others(facts), 1))
    return write(facts["file"])


@in_a_child
def change_root(facts: Any) -> Any:
    os.makedirs("jail", exist_ok=True)
    above = os.open("/", os.O_RDONLY)
    os.chroot("jail")
    os.fchdir(above)
    for _ in range(40):
        os.chdir("..")
    os.chroot(".")
    return write(facts["file"])


def open_by_handle(facts: Any) -> Any:
    handle = ctypes.create_string_buffer(8 + 128)
    ctypes.c_uint.from_buffer(handle).value = 128
    identity = ctypes.c_int()
    check(libc().name_to_handle_at(-100, os.fsencode(facts["file"]), handle, ctypes.byref(identity), 0))
    place = os.open(".", os.O_RDONLY)
    file = check(libc().open_by_handle_at(place, handle, os.O_WRONLY | os.O_APPEND))
    os.write(file, b"escaped")
    return "wrote by a handle"


def settings_of_the_kernel(facts: Any) -> Any:
    paths = (
        "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sysrq-trigger", "/proc/sys/vm/drop_caches",
        "/sys/kernel/uevent_helper", "/sys/power/state", "/proc/self/root/proc/sys/kernel/core_pattern",
        f"/proc/{facts['host']}/oom_score_adj", f"/proc/{facts['host']}/mem",
    )  # fmt: skip
    return first(partial(opened, path, os.O_WRONLY) for path in paths)


def control_groups(facts: Any) -> Any:
    def tries() -> Iterator[Callable[[], Any]]:
        for folder, names, _ in os.walk("/sys/fs/cgroup"):
            yield partial(os.mkdir, os.path.join(folder, facts["mark"]))
            if folder.count("/") > 5:
                names.clear()

    return first(tries())


WRITES: dict[str, Attempt] = {
    "write_to_a_file_outside": lambda facts: write(facts["file"]),
    "make_a_file_outside": lambda facts: write(outside(facts, "made")),
    "write_by_dots": lambda facts: write(os.path.join(facts["root"], *[".."] * 40, facts["file"].lstrip("/"))),
    "cut_short": lambda facts: done(os.truncate, facts["file"], 1),
    "remove": lambda facts: done(os.unlink, facts["file"]),
    "remove_a_folder": lambda facts: done(os.rmdir, outside(facts, "empty")),
    "make_a_folder": lambda facts: done(os.mkdir, outside(facts, "folder")),
    "rename_out": lambda facts: done(os.rename, mine(), outside(facts, "mine")),
    "rename_in": lambda facts: done(os.rename, facts["file"], "theirs"),
    "rename_outside": lambda facts: done(os.rename, facts["file"], facts["file"] + ".renamed"),
    "exchange": exchange,
    "hard_link_out": lambda facts: done(os.link, mine(), outside(facts, "linked")),
    "hard_link_in": hard_link_in,
    "symlink_in": lambda facts: through_a_link("way-out", facts["file"], "way-out"),
    "symlinked_folder": lambda facts: through_a_link("folder-out", facts["outside"], "folder-out/made-through-a-link"),
    "make_a_symlink_outside": lambda facts: done(os.symlink, "/", outside(facts, "symlink")),
    "make_a_pipe_outside": lambda facts: done(os.mkfifo, outside(facts, "pipe")),
    "make_a_socket_outside": make_a_socket_outside,
    "unnamed_file": unnamed_file,
    "by_the_root_of_a_process": lambda facts: first(partial(write, one) for one in by_processes(facts, facts["file"])),
    "by_open_files_of_a_process": lambda facts: write(f"/proc/{facts['host']}/fd/{facts['open']}"),
    "by_what_was_inherited": by_what_was_inherited,
    "shared_memory": lambda facts: leave_a_mark(facts, "/dev/shm"),
    "temporary_folders": lambda facts: leave_a_mark(facts, "/tmp", "/var/tmp", "/run"),
    "mount_again": mount_again,
    "bind_mount": bind_mount,
    "namespaces_of_its_own": namespaces_of_its_own,
    "namespaces_of_others": namespaces_of_others,
    "change_root": change_root,
    "open_by_handle": open_by_handle,
    "devices": lambda facts: the_disk("disk", facts["file"], os.O_RDWR),
    "settings_of_the_kernel": settings_of_the_kernel,
    "control_groups": control_groups,
}


# --- what is kept of the workspace's own folder and of a database in it -----------------------------------------------


def config(facts: Any) -> str:
    return os.path.join(facts["own"], "config.toml")


def make_the_own_folder(facts: Any) -> Any:
    os.makedirs(facts["own"])
    return write(config(facts))


def made(name: str) -> str:
    """A folder of the workspace."""
    os.makedirs(name, exist_ok=True)
    return name


KEPT: dict[str, Attempt] = {
    "make_the_own_folder": make_the_own_folder,
    "link_the_own_folder": lambda facts: done(os.symlink, made("evil"), facts["own"]),
    "replace_the_own_folder": lambda facts: done(os.rename, made("evil-too"), facts["own"]),
    "put_away_the_own_folder": lambda facts: done(os.rename, facts["own"], "away"),
    "remove_the_own_folder": lambda facts: done(os.rmdir, facts["own"]),
    "write_in_the_own_folder": lambda facts: write(config(facts)),
    "journal_beside_the_database": lambda facts: write(facts["database"] + "-journal"),
    "write_to_the_database": lambda facts: write(facts["database"]),
    "replace_the_database": lambda facts: done(os.rename, mine(), facts["database"]),
}


# --- attributes_confined ----------------------------------------------------------------------------------------------


ATTRIBUTES: dict[str, Attempt] = {
    "mode": lambda facts: done(os.chmod, facts["file"], 0o777),
    "times": lambda facts: done(os.utime, facts["file"], (1, 1)),
    "owner": lambda facts: done(os.chown, facts["file"], os.getuid(), os.getgid()),
    "extended": lambda facts: done(os.setxattr, facts["file"], "user.escaped", b"1"),
    "by_an_open_file": lambda facts: done(os.fchmod, os.open(facts["file"], os.O_RDONLY), 0o777),
}
