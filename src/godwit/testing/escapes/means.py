"""What attempts are made of: calls of the kernel, and ways by which something outside may be reached."""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

Attempt = Callable[[Any], Any]
SECRET = "the secret"
CLONE = {"user": 0x10000000, "mount": 0x00020000, "net": 0x40000000}
MS_BIND, MS_REC, MS_REMOUNT = 4096, 16384, 32
PTRACE_ATTACH, PTRACE_SEIZE = 16, 0x4206
HELD = "held: "


# --- what attempts are made of ----------------------------------------------------------------------------------------


def done(function: Callable[..., Any], *arguments: Any) -> str:
    """Call it; it says that it failed by raising. For what gives nothing that could be shown."""
    function(*arguments)
    return f"{function.__name__} {arguments}"


def first(attempts: Iterable[Callable[[], Any]]) -> Any:
    """What the first one that comes through got; the last failure when none does."""
    failure: Exception = FileNotFoundError("there was nothing to try")
    for one in attempts:
        try:
            return one()
        except (OSError, ValueError) as error:
            failure = error
    raise failure


def in_a_child(work: Attempt) -> Attempt:
    """The attempt in a process of its own, since it may change what it is; OSError says why it was held."""

    def attempt(facts: Any) -> Any:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                said = f"{work(facts)}"
            except BaseException as error:
                said = f"{HELD}{error!r}"
            with contextlib.suppress(OSError):
                os.write(writer, said.encode()[:4000])
            os._exit(0)
        os.close(writer)
        with open(reader, "rb") as file:
            said = file.read().decode(errors="replace")
        os.waitpid(child, 0)
        if said.startswith(HELD) or not said:
            raise PermissionError(said or "the process was killed")
        return said

    return attempt


def libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def check(result: int) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def mount(source: str, target: str, kind: str | None, flags: int) -> None:
    given = [None if one is None else os.fsencode(one) for one in (source, target, kind)]
    check(libc().mount(*given, ctypes.c_ulong(flags), None))


def traced(request: int, who: int) -> str:
    check(libc().ptrace(request, who, None, None))
    return f"traced {who}"


def write(path: str) -> str:
    with open(path, "a") as file:
        file.write("escaped")
    return f"wrote {path}"


def read(path: str) -> str:
    with open(path) as file:
        content = file.read()
    if SECRET not in content:
        raise PermissionError(f"{path} does not hold it")
    return content


def opened(path: str, flags: int) -> str:
    os.close(os.open(path, flags))
    return f"opened {path}"


def linked(path: str, name: str) -> str:
    os.link(path, name)
    return read(name)


@contextlib.contextmanager
def working_in(folder: str, root: str) -> Iterator[None]:
    """A socket's path may have about 100 bytes, and that of a folder outside may be longer."""
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(root)


def others(facts: Any) -> tuple[int, int]:
    """The processes outside that are known: the host and one beside it."""
    return facts["host"], facts["other"]


def by_processes(facts: Any, path: str) -> list[str]:
    """The path as it reads from the root or the folder of a process, its own and others."""
    ways = [f"/proc/{who}/root" for who in ("self", "thread-self", 1, *others(facts))]
    ways += [f"/proc/{who}/cwd/../../../../../../../../../.." for who in ("self", 1, *others(facts))]
    return [way + path for way in ways]


def the_disk(name: str, there: str, flags: int) -> Any:
    """The disk itself, on which `there` lies: one made here by the name, or one that is there."""

    def made() -> Any:
        os.mknod(name, 0o600 | stat.S_IFBLK, os.stat(there).st_dev)
        return opened(name, flags)

    kinds = ("sd", "vd", "nvme", "dm-", "mem", "kmem")
    disks = [f"/dev/{one}" for one in os.listdir("/dev") if one.startswith(kinds)]
    return first([made, *(partial(opened, path, flags) for path in disks)])


def mine() -> str:
    """A file of the workspace."""
    write("mine")
    return "mine"


def enter(kinds: Iterable[tuple[str, int]], processes: Iterable[int]) -> None:
    """Every namespace of these processes that lets us in."""
    for kind, flag in kinds:
        for who in processes:
            with contextlib.suppress(OSError):
                with open(f"/proc/{who}/ns/{kind}") as file:
                    check(libc().setns(file.fileno(), flag))
