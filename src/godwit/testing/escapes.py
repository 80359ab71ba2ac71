"""Ways out of a sandbox, tried from within: the program that `godwit.testing.SandboxConformance` runs as a command.

    python escapes.py GROUP FACTS      # prints {name: what came of it} as JSON; FACTS is a file: what the outside looks like

Each function is one attempt. It returns what it got hold of when it came through, and raises when it was held back. It
needs nothing but Python, since it runs where nothing of ours may be there. Rules: an attempt that comes through does no harm
beyond the folders and processes that the facts name.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import mmap
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

Attempt = Callable[[Any], Any]
_ATTEMPTS: dict[str, dict[str, Attempt]] = {}
_SECRET = "the secret"
_CLONE = {"user": 0x10000000, "mount": 0x00020000, "net": 0x40000000, "pid": 0x20000000}
_MS_BIND, _MS_REC, _MS_REMOUNT, _MS_RDONLY = 4096, 16384, 32, 1
_HELD = "held: "


def attempt(group: str) -> Callable[[Attempt], Attempt]:
    def put(function: Attempt) -> Attempt:
        _ATTEMPTS.setdefault(group, {})[function.__name__] = function
        return function

    return put


def libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def check(result: int) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def system_call(number: int, *arguments: Any) -> int:
    return check(libc().syscall(ctypes.c_long(number), *arguments))


def mount(source: str, target: str, kind: str | None, flags: int) -> None:
    given = [None if one is None else os.fsencode(one) for one in (source, target, kind)]
    check(libc().mount(*given, ctypes.c_ulong(flags), None))


def write(path: str) -> str:
    with open(path, "a") as file:
        file.write("escaped")
    return f"wrote {path}"


def read(path: str) -> str:
    with open(path) as file:
        content = file.read()
    if _SECRET not in content:
        raise PermissionError(f"{path} does not hold it")
    return content


def processes() -> Iterator[int]:
    yield from (int(name) for name in os.listdir("/proc") if name.isdigit())


def opened(path: str, flags: int) -> str:
    os.close(os.open(path, flags))
    return f"opened {path}"


def linked(path: str, name: str) -> str:
    os.link(path, name)
    return read(name)


def connected(host: str, port: int) -> bytes:
    with socket.create_connection((host, port), 2) as one:
        return one.recv(100)


def first(attempts: Iterable[Callable[[], Any]]) -> Any:
    """What the first one that comes through got; the last failure when none does."""
    failure: Exception = FileNotFoundError("there was nothing to try")
    for one in attempts:
        try:
            return one()
        except (OSError, ValueError) as error:
            failure = error
    raise failure


# --- writes_confined --------------------------------------------------------------------------------------------------


@attempt("writes_confined")
def write_to_a_file_outside(facts: Any) -> Any:
    return write(facts["file"])


@attempt("writes_confined")
def make_a_file_outside(facts: Any) -> Any:
    return write(os.path.join(facts["outside"], "made"))


@attempt("writes_confined")
def write_by_dots(facts: Any) -> Any:
    return write(os.path.join(facts["root"], *[".."] * 40, facts["file"].lstrip("/")))


@attempt("writes_confined")
def cut_short(facts: Any) -> Any:
    os.truncate(facts["file"], 1)
    return "truncated"


@attempt("writes_confined")
def remove(facts: Any) -> Any:
    os.unlink(facts["file"])
    return "removed"


@attempt("writes_confined")
def remove_a_folder(facts: Any) -> Any:
    os.rmdir(os.path.join(facts["outside"], "empty"))
    return "removed"


@attempt("writes_confined")
def make_a_folder(facts: Any) -> Any:
    os.mkdir(os.path.join(facts["outside"], "folder"))
    return "made"


@attempt("writes_confined")
def rename_out(facts: Any) -> Any:
    write("mine")
    os.rename("mine", os.path.join(facts["outside"], "mine"))
    return "moved out"


@attempt("writes_confined")
def rename_in(facts: Any) -> Any:
    os.rename(facts["file"], "theirs")
    return "moved in"


@attempt("writes_confined")
def rename_outside(facts: Any) -> Any:
    os.rename(facts["file"], facts["file"] + ".renamed")
    return "renamed"


@attempt("writes_confined")
def exchange(facts: Any) -> Any:
    write("mine")
    check(libc().renameat2(-100, b"mine", -100, os.fsencode(facts["file"]), ctypes.c_uint(2)))
    return "exchanged"


@attempt("writes_confined")
def hard_link_out(facts: Any) -> Any:
    write("mine")
    os.link("mine", os.path.join(facts["outside"], "linked"))
    return "linked"


@attempt("writes_confined")
def hard_link_in(facts: Any) -> Any:
    os.link(facts["file"], "theirs-linked")
    return write("theirs-linked")


@attempt("writes_confined")
def symlink_in(facts: Any) -> Any:
    with contextlib.suppress(FileExistsError):
        os.symlink(facts["file"], "way-out")
    return write("way-out")


@attempt("writes_confined")
def symlinked_folder(facts: Any) -> Any:
    with contextlib.suppress(FileExistsError):
        os.symlink(facts["outside"], "folder-out")
    return write("folder-out/made-through-a-link")


@attempt("writes_confined")
def make_a_symlink_outside(facts: Any) -> Any:
    os.symlink("/", os.path.join(facts["outside"], "symlink"))
    return "made"


@attempt("writes_confined")
def make_a_pipe_outside(facts: Any) -> Any:
    os.mkfifo(os.path.join(facts["outside"], "pipe"))
    return "made"


@attempt("writes_confined")
def make_a_socket_outside(facts: Any) -> Any:
    os.chdir(facts["outside"])
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind("socket")
    finally:
        os.chdir(facts["root"])
    return "made"


@attempt("writes_confined")
def unnamed_file(facts: Any) -> Any:
    file = os.open(facts["outside"], os.O_TMPFILE | os.O_WRONLY)
    os.link(f"/proc/self/fd/{file}", os.path.join(facts["outside"], "named"), follow_symlinks=True)
    return "made"


@attempt("writes_confined")
def by_the_root_of_a_process(facts: Any) -> Any:
    ways = [f"/proc/{who}/root" for who in ("self", "thread-self", 1, facts["host"], facts["other"])]
    ways += [f"/proc/{who}/cwd/../../../../../../../../../.." for who in ("self", 1, facts["host"], facts["other"])]
    return first(partial(write, way + facts["file"]) for way in ways)


@attempt("writes_confined")
def by_open_files_of_a_process(facts: Any) -> Any:
    """The host has the file open for writing."""
    return write(f"/proc/{facts['host']}/fd/{facts['open']}")


@attempt("writes_confined")
def by_what_was_inherited(facts: Any) -> Any:
    inherited = [int(name) for name in os.listdir("/proc/self/fd") if int(name) > 2]
    for one in inherited:
        with contextlib.suppress(OSError):
            if stat.S_ISDIR(os.fstat(one).st_mode) or stat.S_ISREG(os.fstat(one).st_mode):
                there = os.readlink(f"/proc/self/fd/{one}")
                if not there.startswith(("/proc", facts["root"])):
                    return there
    raise PermissionError("only what is ours")


@attempt("writes_confined")
def shared_memory(facts: Any) -> Any:
    write(f"/dev/shm/{facts['mark']}")
    raise PermissionError("written, whoever sees it")


@attempt("writes_confined")
def temporary_folders(facts: Any) -> Any:
    for folder in ("/tmp", "/var/tmp", "/run"):
        with contextlib.suppress(OSError):
            write(f"{folder}/{facts['mark']}")
    raise PermissionError("written, whoever sees it")


@attempt("writes_confined")
def mount_again(facts: Any) -> Any:
    mount("none", "/", None, _MS_REMOUNT | _MS_BIND)
    return write(facts["file"])


@attempt("writes_confined")
def bind_mount(facts: Any) -> Any:
    os.makedirs("bound", exist_ok=True)
    mount(facts["outside"], "bound", None, _MS_BIND | _MS_REC)
    mount("none", "bound", None, _MS_REMOUNT | _MS_BIND)
    return write("bound/made-by-a-mount")


@attempt("writes_confined")
def namespaces_of_its_own(facts: Any) -> Any:
    """In a user namespace one has every right over the mounts one makes, but not over those one was given."""

    def work() -> Any:
        check(libc().unshare(_CLONE["user"] | _CLONE["mount"]))
        with contextlib.suppress(OSError):
            mount("none", "/", None, _MS_REMOUNT | _MS_BIND)
        with contextlib.suppress(OSError):
            check(libc().umount2(b"/", 2))
        return write(facts["file"])

    return in_a_child(work)


@attempt("writes_confined")
def namespaces_of_others(facts: Any) -> Any:
    def work() -> Any:
        for kind in ("user", "mnt"):
            for who in (facts["host"], facts["other"], 1):
                with contextlib.suppress(OSError):
                    with open(f"/proc/{who}/ns/{kind}") as file:
                        check(libc().setns(file.fileno(), 0))
        return write(facts["file"])

    return in_a_child(work)


@attempt("writes_confined")
def change_root(facts: Any) -> Any:
    def work() -> Any:
        os.makedirs("jail", exist_ok=True)
        above = os.open("/", os.O_RDONLY)
        os.chroot("jail")
        os.fchdir(above)
        for _ in range(40):
            os.chdir("..")
        os.chroot(".")
        return write(facts["file"])

    return in_a_child(work)


@attempt("writes_confined")
def open_by_handle(facts: Any) -> Any:
    handle = ctypes.create_string_buffer(8 + 128)
    ctypes.c_uint.from_buffer(handle).value = 128
    identity = ctypes.c_int()
    check(libc().name_to_handle_at(-100, os.fsencode(facts["file"]), handle, ctypes.byref(identity), 0))
    place = os.open(".", os.O_RDONLY)
    file = check(libc().open_by_handle_at(place, handle, os.O_WRONLY | os.O_APPEND))
    os.write(file, b"escaped")
    return "wrote by a handle"


@attempt("writes_confined")
def devices(facts: Any) -> Any:
    """The disk itself: one that is there, or one made here."""

    def made() -> Any:
        number = os.stat(facts["file"]).st_dev
        os.mknod("disk", 0o600 | stat.S_IFBLK, number)
        return opened("disk", os.O_RDWR)

    there = [f"/dev/{name}" for name in os.listdir("/dev") if name.startswith(("sd", "vd", "nvme", "dm-", "mem", "kmem"))]
    return first([made, *(partial(opened, path, os.O_RDWR) for path in there)])


@attempt("writes_confined")
def settings_of_the_kernel(facts: Any) -> Any:
    paths = (
        "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sysrq-trigger", "/proc/sys/vm/drop_caches",
        "/sys/kernel/uevent_helper", "/sys/power/state", "/proc/self/root/proc/sys/kernel/core_pattern",
        f"/proc/{facts['host']}/oom_score_adj", f"/proc/{facts['host']}/mem",
    )  # fmt: skip
    return first(partial(opened, path, os.O_WRONLY) for path in paths)


@attempt("writes_confined")
def control_groups(facts: Any) -> Any:
    def tries() -> Iterator[Callable[[], Any]]:
        for folder, names, _ in os.walk("/sys/fs/cgroup"):
            yield partial(os.mkdir, os.path.join(folder, facts["mark"]))
            if folder.count("/") > 5:
                names.clear()

    return first(tries())


@attempt("kept")
def make_the_own_folder(facts: Any) -> Any:
    os.makedirs(facts["own"])
    return write(os.path.join(facts["own"], "config.toml"))


@attempt("kept")
def link_the_own_folder(facts: Any) -> Any:
    os.makedirs("evil", exist_ok=True)
    os.symlink("evil", facts["own"])
    return "linked"


@attempt("kept")
def replace_the_own_folder(facts: Any) -> Any:
    os.makedirs("evil-too", exist_ok=True)
    os.rename("evil-too", facts["own"])
    return "replaced"


@attempt("kept")
def put_away_the_own_folder(facts: Any) -> Any:
    os.rename(facts["own"], "away")
    return "renamed"


@attempt("kept")
def remove_the_own_folder(facts: Any) -> Any:
    os.rmdir(facts["own"])
    return "removed"


@attempt("kept")
def write_in_the_own_folder(facts: Any) -> Any:
    return write(os.path.join(facts["own"], "config.toml"))


@attempt("kept")
def journal_beside_the_database(facts: Any) -> Any:
    return write(facts["database"] + "-journal")


@attempt("kept")
def write_to_the_database(facts: Any) -> Any:
    return write(facts["database"])


@attempt("kept")
def replace_the_database(facts: Any) -> Any:
    write("mine")
    os.rename("mine", facts["database"])
    return "replaced"


# --- attributes_confined ----------------------------------------------------------------------------------------------


@attempt("attributes_confined")
def mode(facts: Any) -> Any:
    os.chmod(facts["file"], 0o777)
    return "changed"


@attempt("attributes_confined")
def times(facts: Any) -> Any:
    os.utime(facts["file"], (1, 1))
    return "changed"


@attempt("attributes_confined")
def owner(facts: Any) -> Any:
    os.chown(facts["file"], os.getuid(), os.getgid())
    return "changed"


@attempt("attributes_confined")
def extended(facts: Any) -> Any:
    os.setxattr(facts["file"], "user.escaped", b"1")
    return "changed"


@attempt("attributes_confined")
def by_an_open_file(facts: Any) -> Any:
    file = os.open(facts["file"], os.O_RDONLY)
    os.fchmod(file, 0o777)
    return "changed"


# --- secrets_hidden ---------------------------------------------------------------------------------------------------


@attempt("secrets_hidden")
def open_it(facts: Any) -> Any:
    return first(partial(read, path) for path in facts["secrets"])


@attempt("secrets_hidden")
def list_its_folder(facts: Any) -> Any:
    found = os.listdir(facts["secret_folder"])
    if not found:
        raise PermissionError("nothing is in there")
    return found


@attempt("secrets_hidden")
def open_it_through_a_link(facts: Any) -> Any:
    def tries() -> Iterator[Callable[[], Any]]:
        for at, path in enumerate(facts["secrets"]):
            name = f"link-to-a-secret-{at}"
            with contextlib.suppress(FileExistsError):
                os.symlink(path, name)
            yield partial(read, name)

    return first(tries())


@attempt("secrets_hidden")
def hard_link_it(facts: Any) -> Any:
    def tries() -> Iterator[Callable[[], Any]]:
        for at, path in enumerate(facts["secrets"]):
            yield partial(linked, path, f"hard-{at}")

    return first(tries())


@attempt("secrets_hidden")
def move_it_here(facts: Any) -> Any:
    def tries() -> Iterator[Callable[[], Any]]:
        for at, path in enumerate((*facts["secrets"], facts["secret_folder"])):
            yield partial(os.rename, path, f"moved-{at}")

    return first(tries())


@attempt("secrets_hidden")
def move_what_is_around_it(facts: Any) -> Any:
    """A hidden folder deep within the workspace, taken along under another name."""
    os.rename(os.path.dirname(facts["inner_secret"]), "renamed-around")
    return "renamed"


@attempt("secrets_hidden")
def by_open_folders(facts: Any) -> Any:
    folder = os.open(os.path.dirname(facts["secret_folder"]), os.O_PATH)
    name = os.path.basename(facts["secret_folder"])
    inner = os.open(name, os.O_PATH | os.O_DIRECTORY, dir_fd=folder)
    file = os.open("key", os.O_RDONLY, dir_fd=inner)
    return os.read(file, 100).decode()


@attempt("secrets_hidden")
def by_the_way_of_a_process(facts: Any) -> Any:
    ways = [f"/proc/{who}/root" for who in ("self", "thread-self", 1, facts["host"], facts["other"])]
    ways += [f"/proc/{who}/cwd/../../../../../../../../../.." for who in ("self", 1, facts["host"], facts["other"])]
    return first(partial(read, way + facts["secrets"][0]) for way in ways)


@attempt("secrets_hidden")
def by_a_file_the_host_has_open(facts: Any) -> Any:
    return read(f"/proc/{facts['host']}/fd/{facts['open_secret']}")


@attempt("secrets_hidden")
def environment_of_others(facts: Any) -> Any:
    for who in (facts["host"], facts["other"]):
        with contextlib.suppress(OSError):
            with open(f"/proc/{who}/environ", "rb") as file:
                if facts["variable"].encode() in file.read():
                    return f"the environment of {who}"
    raise PermissionError("nobody's")


@attempt("secrets_hidden")
def memory_of_others(facts: Any) -> Any:
    def traced(who: int) -> Any:
        check(libc().ptrace(16, who, None, None))  # PTRACE_ATTACH
        return f"traced {who}"

    others = (facts["host"], facts["other"])
    ways: list[Callable[[], Any]] = [partial(opened, f"/proc/{who}/mem", os.O_RDONLY) for who in others]
    return first([*ways, *(partial(in_a_child, partial(traced, who)) for who in others)])


@attempt("secrets_hidden")
def by_mounts(facts: Any) -> Any:
    def work() -> Any:
        with contextlib.suppress(OSError):
            check(libc().unshare(_CLONE["user"] | _CLONE["mount"]))
        for path in (facts["secret_folder"], *facts["secrets"]):
            with contextlib.suppress(OSError):
                check(libc().umount2(os.fsencode(path), 2))
        os.makedirs("bound-secret", exist_ok=True)
        with contextlib.suppress(OSError):
            mount(os.path.dirname(facts["secret_folder"]), "bound-secret", None, _MS_BIND)
            return read(f"bound-secret/{os.path.basename(facts['secret_folder'])}/key")
        return first(partial(read, path) for path in facts["secrets"])

    return in_a_child(work)


@attempt("secrets_hidden")
def run_it(facts: Any) -> Any:
    done = subprocess.run([os.path.join(facts["secret_folder"], "program")], capture_output=True, text=True, check=False)
    if _SECRET not in done.stdout:
        raise PermissionError("it did not say it")
    return done.stdout


@attempt("secrets_hidden")
def the_disk(facts: Any) -> Any:
    def made() -> Any:
        os.mknod("disk-to-read", 0o600 | stat.S_IFBLK, os.stat(facts["root"]).st_dev)
        return opened("disk-to-read", os.O_RDONLY)

    there = [f"/dev/{name}" for name in os.listdir("/dev") if name.startswith(("sd", "vd", "nvme", "dm-", "mem", "kmem"))]
    return first([made, *(partial(opened, path, os.O_RDONLY) for path in there)])


# --- network_off ------------------------------------------------------------------------------------------------------


@attempt("network_off")
def tcp(facts: Any) -> Any:
    def tries() -> Iterator[Callable[[], Any]]:
        for host in facts["hosts"]:
            yield partial(connected, host, facts["tcp"])

    return first(tries())


@attempt("network_off")
def udp(facts: Any) -> Any:
    """The host tells whether it came."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        for host in facts["hosts"]:
            with contextlib.suppress(OSError):
                one.sendto(facts["mark"].encode(), (host, facts["udp"]))
    raise PermissionError("sent, whether it came or not")


@attempt("network_off")
def socket_file(facts: Any) -> Any:
    with socket.socket(socket.AF_UNIX) as one:
        os.chdir(os.path.dirname(facts["socket"]))
        try:
            one.connect(os.path.basename(facts["socket"]))
        finally:
            os.chdir(facts["root"])
        return one.recv(100)


@attempt("network_off")
def socket_file_of_datagrams(facts: Any) -> Any:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        os.chdir(os.path.dirname(facts["datagrams"]))
        try:
            one.sendto(facts["mark"].encode(), os.path.basename(facts["datagrams"]))
        finally:
            os.chdir(facts["root"])
    return "sent"


@attempt("network_off")
def pair_of_datagram_sockets(facts: Any) -> Any:
    one, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    os.chdir(os.path.dirname(facts["datagrams"]))
    try:
        one.sendto(facts["mark"].encode(), os.path.basename(facts["datagrams"]))
    finally:
        os.chdir(facts["root"])
    return "sent"


@attempt("network_off")
def pair_of_sockets(facts: Any) -> Any:
    one, _ = socket.socketpair()
    os.chdir(os.path.dirname(facts["socket"]))
    try:
        one.connect(os.path.basename(facts["socket"]))
    finally:
        os.chdir(facts["root"])
    return one.recv(100)


@attempt("network_off")
def abstract_socket(facts: Any) -> Any:
    with socket.socket(socket.AF_UNIX) as one:
        one.connect("\0" + facts["mark"])
        return one.recv(100)


@attempt("network_off")
def other_families(_facts: Any) -> Any:
    """Those that a network namespace does not hold in, such as vsock, which reaches the host of a virtual machine."""

    def tries() -> Iterator[Callable[[], Any]]:
        for family in (40, 42, 31, 39, 30):  # vsock, qipcrtr, bluetooth, nfc, tipc
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
                yield partial(socket.socket, family, kind)

    return first(tries())


@attempt("network_off")
def sockets_by_another_call(_facts: Any) -> Any:
    parameters = ctypes.create_string_buffer(120)
    return f"io_uring {system_call(425, 8, parameters)}"


@attempt("network_off")
def sockets_by_32_bit_calls(_facts: Any) -> Any:
    """The calls of another architecture have other numbers, and a filter may not know them."""
    if os.uname().machine != "x86_64":
        raise PermissionError("there are none")

    def work() -> Any:
        page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        # f(number, a, b, c): push rbx; eax, ebx, ecx, edx = number, a, b, c; int 0x80; pop rbx; ret
        page.write(bytes.fromhex("53 89f8 89f3 4189c8 89d1 4489c2 cd80 5b c3"))
        address = ctypes.addressof(ctypes.c_char.from_buffer(page))
        call = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int)(address)
        for family in (1, 40):
            if (made := call(359, family, 1, 0)) >= 0:
                return f"family {family}: {made}"
        if (keys := call(288, 0, -3, 0)) >= 0:  # keyctl: the session's keyring
            return f"keyring {keys}"
        raise PermissionError("refused")

    return in_a_child(work)


@attempt("network_off")
def network_of_others(facts: Any) -> Any:
    def work() -> Any:
        for who in (facts["host"], facts["other"], 1):
            with contextlib.suppress(OSError):
                with open(f"/proc/{who}/ns/net") as file:
                    check(libc().setns(file.fileno(), _CLONE["net"]))
        return connected(facts["hosts"][0], facts["tcp"])

    return in_a_child(work)


@attempt("network_off")
def raw_packets(_facts: Any) -> Any:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as one:
        one.bind(("lo", 0))
        return "bound"


# --- processes_isolated -----------------------------------------------------------------------------------------------


@attempt("processes_isolated")
def see(facts: Any) -> Any:
    for who in processes():
        with contextlib.suppress(OSError):
            with open(f"/proc/{who}/cmdline", "rb") as file:
                if facts["other_mark"].encode() in file.read():
                    return f"it is {who}"
    raise PermissionError("nobody there")


@attempt("processes_isolated")
def signal_it(facts: Any) -> Any:
    os.kill(facts["other"], signal.SIGTERM)
    return "signalled"


@attempt("processes_isolated")
def signal_its_group(facts: Any) -> Any:
    os.killpg(facts["other"], signal.SIGTERM)
    return "signalled"


@attempt("processes_isolated")
def take_hold_of_it(facts: Any) -> Any:
    return f"held by {os.pidfd_open(facts['other'])}"


@attempt("processes_isolated")
def trace_it(facts: Any) -> Any:
    def work() -> Any:
        check(libc().ptrace(0x4206, facts["other"], None, None))  # PTRACE_SEIZE
        return "traced"

    return in_a_child(work)


@attempt("processes_isolated")
def slow_it_down(facts: Any) -> Any:
    os.setpriority(os.PRIO_PROCESS, facts["other"], 19)
    return "slowed"


@attempt("processes_isolated")
def limit_it(facts: Any) -> Any:
    import resource

    resource.prlimit(facts["other"], resource.RLIMIT_CORE, (0, 0))
    return "limited"


@attempt("processes_isolated")
def shared_segments(facts: Any) -> Any:
    with open("/proc/sysvipc/shm") as file:
        rows = [row.split() for row in file.read().splitlines()[1:]]
    if any(int(row[0]) == facts["segment_key"] for row in rows):
        return "there is its memory"
    raise PermissionError("none")


@attempt("processes_isolated")
def its_terminal(_facts: Any) -> Any:
    return f"terminal {os.open('/dev/tty', os.O_RDWR)}"


def in_a_child(work: Callable[[], Any]) -> Any:
    """What it gets in a process of its own, since it may change what it is; OSError says why not."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            said = f"{work()}"
        except BaseException as error:
            said = f"{_HELD}{error!r}"
        with contextlib.suppress(OSError):
            os.write(writer, said.encode()[:4000])
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as file:
        said = file.read().decode(errors="replace")
    os.waitpid(child, 0)
    if said.startswith(_HELD) or not said:
        raise PermissionError(said or "the process was killed")
    return said


def main() -> None:
    group = sys.argv[1]
    with open(sys.argv[2]) as file:
        facts = json.load(file)
    came: dict[str, str] = {}
    for name, function in _ATTEMPTS[group].items():
        try:
            came[name] = f"ESCAPED: {function(facts)!r}"
        except Exception as error:
            came[name] = f"{_HELD}{error!r}"
    print(json.dumps(came))


if __name__ == "__main__":
    main()
