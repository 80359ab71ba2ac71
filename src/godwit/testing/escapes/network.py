"""Attempts to reach anything at all where there is no network."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import socket
from functools import partial
from typing import Any

from .means import CLONE, Attempt, check, enter, first, in_a_child, libc, others, working_in


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
    enter([("net", CLONE["net"])], (*others(facts), 1))
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
