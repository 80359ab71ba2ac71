"""Ways out of a sandbox, tried from within: the program that `godwit.testing.SandboxConformance` runs as a command.

    python escapes.py GROUP FACTS      # prints {name: what came of it} as JSON; FACTS is a file: what the outside looks like

An attempt is a function of the facts. It returns what it got hold of when it came through, and raises when it was held back.
The table at the end of each part names them in the order in which they are tried. This file needs nothing but Python, since
it runs where nothing of ours may be there. Rules: an attempt that comes through does no harm beyond the folders and
processes that the facts name.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import mmap
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

Attempt = Callable[[Any], Any]
_SECRET = "the secret"
_CLONE = {"user": 0x10000000, "mount": 0x00020000, "net": 0x40000000}
_MS_BIND, _MS_REC, _MS_REMOUNT = 4096, 16384, 32
_PTRACE_ATTACH, _PTRACE_SEIZE = 16, 0x4206
_HELD = "held: "


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
    if _SECRET not in content:
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


# --- writes_confined --------------------------------------------------------------------------------------------------


def outside(facts: Any, name: str) -> str:
    return os.path.join(facts["outside"], name)


def mine() -> str:
    """A file of the workspace."""
    write("mine")
    return "mine"


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
    mount("none", "/", None, _MS_REMOUNT | _MS_BIND)
    return write(facts["file"])


def bind_mount(facts: Any) -> Any:
    os.makedirs("bound", exist_ok=True)
    mount(facts["outside"], "bound", None, _MS_BIND | _MS_REC)
    mount("none", "bound", None, _MS_REMOUNT | _MS_BIND)
    return write("bound/made-by-a-mount")


@in_a_child
def namespaces_of_its_own(facts: Any) -> Any:
    """In a user namespace one has every right over the mounts one makes, but not over those one was given."""
    check(libc().unshare(_CLONE["user"] | _CLONE["mount"]))
    with contextlib.suppress(OSError):
        mount("none", "/", None, _MS_REMOUNT | _MS_BIND)
    with contextlib.suppress(OSError):
        check(libc().umount2(b"/", 2))
    return write(facts["file"])


def enter(kinds: Iterable[tuple[str, int]], processes: Iterable[int]) -> None:
    """Every namespace of these processes that lets us in."""
    for kind, flag in kinds:
        for who in processes:
            with contextlib.suppress(OSError):
                with open(f"/proc/{who}/ns/{kind}") as file:
                    check(libc().setns(file.fileno(), flag))


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


# --- secrets_hidden ---------------------------------------------------------------------------------------------------


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
    return first([*ways, *(partial(in_a_child(partial(traced, _PTRACE_ATTACH)), who) for who in others(facts))])


@in_a_child
def by_mounts(facts: Any) -> Any:
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


def run_it(facts: Any) -> Any:
    ended = subprocess.run([os.path.join(facts["secret_folder"], "program")], capture_output=True, text=True, check=False)
    if _SECRET not in ended.stdout:
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


# --- network_off ------------------------------------------------------------------------------------------------------


def connected(host: str, port: int) -> bytes:
    with socket.create_connection((host, port), 2) as one:
        return one.recv(100)


def udp(facts: Any) -> Any:
    """The host tells whether it came."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        for host in facts["hosts"]:
            with contextlib.suppress(OSError):
                one.sendto(facts["mark"].encode(), (host, facts["udp"]))
    raise PermissionError("sent, whether it came or not")


def reached(facts: Any, one: socket.socket) -> Any:
    """What a socket of this machine gets from the one that listens for its kind."""
    datagrams = one.type == socket.SOCK_DGRAM
    path = facts["datagrams" if datagrams else "socket"]
    with one, working_in(os.path.dirname(path), facts["root"]):
        if datagrams:
            return f"sent {one.sendto(facts['mark'].encode(), os.path.basename(path))}"
        one.connect(os.path.basename(path))
        return one.recv(100)


def reached_by_a_pair(facts: Any, kind: socket.SocketKind) -> Any:
    one, _other = socket.socketpair(socket.AF_UNIX, kind)
    return reached(facts, one)


def abstract_socket(facts: Any) -> Any:
    with socket.socket(socket.AF_UNIX) as one:
        one.connect("\0" + facts["mark"])
        return one.recv(100)


def other_families(_facts: Any) -> Any:
    """Those that a network namespace does not hold in, such as vsock, which reaches the host of a virtual machine."""
    families = (40, 42, 31, 39, 30)  # vsock, qipcrtr, bluetooth, nfc, tipc
    kinds = (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET)
    return first(partial(socket.socket, family, kind) for family in families for kind in kinds)


def sockets_by_another_call(_facts: Any) -> Any:
    parameters = ctypes.create_string_buffer(120)
    return f"io_uring {check(libc().syscall(ctypes.c_long(425), 8, parameters))}"


@in_a_child
def sockets_by_32_bit_calls(_facts: Any) -> Any:
    """The calls of another architecture have other numbers, and a filter may not know them."""
    if os.uname().machine != "x86_64":
        raise PermissionError("there are none")
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


@in_a_child
def network_of_others(facts: Any) -> Any:
    enter([("net", _CLONE["net"])], (*others(facts), 1))
    return connected(facts["hosts"][0], facts["tcp"])


def raw_packets(_facts: Any) -> Any:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as one:
        one.bind(("lo", 0))
        return "bound"


NETWORK: dict[str, Attempt] = {
    "tcp": lambda facts: first(partial(connected, host, facts["tcp"]) for host in facts["hosts"]),
    "udp": udp,
    "socket_file": lambda facts: reached(facts, socket.socket(socket.AF_UNIX)),
    "socket_file_of_datagrams": lambda facts: reached(facts, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)),
    "pair_of_datagram_sockets": lambda facts: reached_by_a_pair(facts, socket.SOCK_DGRAM),
    "pair_of_sockets": lambda facts: reached_by_a_pair(facts, socket.SOCK_STREAM),
    "abstract_socket": abstract_socket,
    "other_families": other_families,
    "sockets_by_another_call": sockets_by_another_call,
    "sockets_by_32_bit_calls": sockets_by_32_bit_calls,
    "network_of_others": network_of_others,
    "raw_packets": raw_packets,
}


# --- network_limited --------------------------------------------------------------------------------------------------


def proxy() -> socket.socket:
    host, _, port = os.environ["HTTP_PROXY"].removeprefix("http://").rpartition(":")
    return socket.create_connection((host, int(port)), 5)


def said_to_the_proxy(*messages: bytes) -> bytes:
    """All that is answered to these."""
    with proxy() as one:
        one.settimeout(5)
        answer = b""
        for message in messages:
            one.sendall(message)
        with contextlib.suppress(OSError):
            while chunk := one.recv(1000):
                answer += chunk
        return answer


def tunnelled(authority: str, port: int) -> Any:
    """What the server of this port says through a CONNECT."""
    answer = said_to_the_proxy(b"CONNECT %b HTTP/1.1\r\nHost: x\r\n\r\n" % authority.format(port=port).encode())
    if b"reached" not in answer:
        raise PermissionError(answer[:300].decode(errors="replace"))
    return answer


def got(url: str, port: int) -> Any:
    answer = said_to_the_proxy(b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (url.format(port=port).encode(), b"x"))
    if b"reached" not in answer:
        raise PermissionError(answer[:300].decode(errors="replace"))
    return answer


_SPELLINGS = (
    "127.0.0.1", "localhost", "LOCALHOST", "localhost.", "[::1]", "[::ffff:127.0.0.1]", "127.1", "2130706433", "0x7f000001",
    "0177.0.0.1", "0.0.0.0", "[::]", "127.0.0.2",
)  # fmt: skip


def another_port(facts: Any) -> Any:
    spelled = [f"{host}:{{port}}" for host in (*_SPELLINGS, *facts["hosts"])]
    return first(partial(tunnelled, one, facts["tcp"]) for one in spelled)


def another_port_over_http(facts: Any) -> Any:
    spelled = [f"http://{host}:{{port}}/" for host in (*_SPELLINGS, *facts["hosts"])]
    listed = facts["listed"]
    spelled += [f"http://{listed}@127.0.0.1:{{port}}/", f"http://127.0.0.1:{{port}}#{listed}", "//127.0.0.1:{port}/"]
    return first(partial(got, one, facts["tcp"]) for one in spelled)


def the_listed_host_otherwise(facts: Any) -> Any:
    """The port is listed for one address, and the same server listens at the others as well."""
    port = int(facts["listed"].rpartition(":")[2])
    others = [host for host in (*_SPELLINGS, *facts["hosts"]) if host != "127.0.0.1"]
    return first(partial(tunnelled, f"{host}:{{port}}", port) for host in others)


def told_another_host(facts: Any) -> Any:
    """A request to the listed host that a server would take for another of its hosts."""
    listed = facts["listed"]
    url = f"http://{listed}/"
    evil = b"Host: evil.example\r\n"
    right = f"Host: {listed}\r\n".encode()
    length, chunked = b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"
    hidden = b"GET / HTTP/1.1\r\n" + evil + b"\r\n"
    head = b"GET %b HTTP/1.1\r\n" % url.encode()
    post = b"POST %b HTTP/1.1\r\n" % url.encode()
    tries = (
        (head + evil + b"\r\n",),
        (head + right + evil + b"\r\n",),
        (head + right + b"Connection: host\r\n" + evil + b"\r\n",),
        (head + right + b"\r\n" + hidden,),
        (head + right + b"Connection: keep-alive\r\n\r\n", hidden),
        (post + right + length + chunked + b"\r\n0\r\n\r\n" + hidden,),
        (post + right + b"Content-Length: 0\r\nContent-Length: 40\r\n\r\n" + hidden,),
        (post + right + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + hidden,),
        (head + right + b"Upgrade: websocket\r\nConnection: upgrade\r\n\r\n" + hidden,),
        (head + right + b"X: y\n" + evil + b"\n" + b"\r\n",),
        (b"GET %b HTTP/1.1\r\n" % url.encode().replace(b"/\r", b"\r") + right + b" folded: 1\r\n" + evil + b"\r\n",),
    )
    for one in tries:
        answer = said_to_the_proxy(*one)
        if b"host: evil.example" in answer.lower():
            return one
    raise PermissionError("it saw its own name alone")


def by_socks(facts: Any) -> Any:
    port = facts["tcp"].to_bytes(2, "big")
    names = [b"\x03" + bytes([len(name)]) + name for name in (b"localhost", b"127.0.0.1", b"127.1")]
    for place in (b"\x01\x7f\x00\x00\x01", b"\x04" + bytes(15) + b"\x01", *names):
        answer = said_to_the_proxy(b"\x05\x01\x00", b"\x05\x01\x00" + place + port)
        if b"reached" in answer:
            return place
    for command in (b"\x02", b"\x03"):  # to be connected to, and to send datagrams
        answer = said_to_the_proxy(b"\x05\x01\x00", b"\x05" + command + b"\x00\x01\x7f\x00\x00\x01" + port)
        if answer[2:4] == b"\x05\x00":
            return command
    raise PermissionError("refused")


def what_opened_the_port(_facts: Any) -> Any:
    """Whoever holds the other end of what the listening socket was sent over could send another."""
    ends = []
    for who in (name for name in os.listdir("/proc") if name.isdigit()):
        with contextlib.suppress(OSError):
            ends += [(who, os.readlink(f"/proc/{who}/fd/{one}")) for one in os.listdir(f"/proc/{who}/fd")]
    sockets = [one for one in ends if one[1].startswith("socket:")]
    if sockets:
        return sockets
    raise PermissionError("nobody has one")


LIMITED: dict[str, Attempt] = {
    **NETWORK,
    "another_port": another_port,
    "another_port_over_http": another_port_over_http,
    "the_listed_host_otherwise": the_listed_host_otherwise,
    "told_another_host": told_another_host,
    "by_socks": by_socks,
    "what_opened_the_port": what_opened_the_port,
}


# --- processes_isolated -----------------------------------------------------------------------------------------------


def see(facts: Any) -> Any:
    for who in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        with contextlib.suppress(OSError):
            with open(f"/proc/{who}/cmdline", "rb") as file:
                if facts["other_mark"].encode() in file.read():
                    return f"it is {who}"
    raise PermissionError("nobody there")


def shared_segments(facts: Any) -> Any:
    with open("/proc/sysvipc/shm") as file:
        rows = [row.split() for row in file.read().splitlines()[1:]]
    if any(int(row[0]) == facts["segment_key"] for row in rows):
        return "there is its memory"
    raise PermissionError("none")


PROCESSES: dict[str, Attempt] = {
    "see": see,
    "signal_it": lambda facts: done(os.kill, facts["other"], signal.SIGTERM),
    "signal_its_group": lambda facts: done(os.killpg, facts["other"], signal.SIGTERM),
    "take_hold_of_it": lambda facts: f"held by {os.pidfd_open(facts['other'])}",
    "trace_it": in_a_child(lambda facts: traced(_PTRACE_SEIZE, facts["other"])),
    "slow_it_down": lambda facts: done(os.setpriority, os.PRIO_PROCESS, facts["other"], 19),
    "limit_it": lambda facts: done(resource.prlimit, facts["other"], resource.RLIMIT_CORE, (0, 0)),
    "shared_segments": shared_segments,
    "its_terminal": lambda _facts: f"terminal {os.open('/dev/tty', os.O_RDWR)}",
}


GROUPS = {
    "writes_confined": WRITES,
    "kept": KEPT,
    "attributes_confined": ATTRIBUTES,
    "secrets_hidden": SECRETS,
    "network_off": NETWORK,
    "network_limited": LIMITED,
    "processes_isolated": PROCESSES,
}


def main() -> None:
    group = sys.argv[1]
    with open(sys.argv[2]) as file:
        facts = json.load(file)
    came: dict[str, str] = {}
    for name, attempt in GROUPS[group].items():
        try:
            came[name] = f"ESCAPED: {attempt(facts)!r}"
        except Exception as error:
            came[name] = f"{_HELD}{error!r}"
    print(json.dumps(came))


if __name__ == "__main__":
    main()
