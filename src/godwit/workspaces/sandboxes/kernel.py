"""The few system calls of Linux that Python has no words for, made for the calling thread.

Rights, filters and Landlock domains belong to a thread, and what it starts inherits them. So they are set in a thread that
lives for one command (`contracts.Confinement.setup`), and no code of ours runs between fork and exec. Rules: each function
changes the calling thread alone; OSError when the kernel refuses. Importing this costs what ctypes costs: only backends do.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from functools import cache
from typing import NamedTuple

_PR_SET_NO_NEW_PRIVS, _PR_CAPBSET_DROP, _PR_SET_SECCOMP, _PR_CAP_AMBIENT = 38, 24, 22, 47
_PR_CAP_AMBIENT_CLEAR_ALL, _SECCOMP_MODE_FILTER = 4, 2
_CAPABILITY_VERSION_3 = 0x20080522
_LAST_CAPABILITY = 63

LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446  # the same numbers on every architecture


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def call(number: int, *arguments: object) -> int:
    """A system call by its number. OSError."""
    libc = _libc()
    result: int = libc.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def _prctl(option: int, *arguments: int | ctypes.c_void_p) -> None:
    given = [a if isinstance(a, ctypes.c_void_p) else ctypes.c_ulong(a) for a in arguments]
    given += [ctypes.c_ulong(0)] * (4 - len(given))
    if _libc().prctl(ctypes.c_int(option), *given) < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def no_new_privileges() -> None:
    """No program started from here on gains rights by being started (setuid, file capabilities)."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


class _CapabilityHeader(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _CapabilityData(ctypes.Structure):
    _fields_ = [("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32)]


def drop_capabilities() -> None:
    """Give up all capabilities for good, so that root here is a user like others. Call `no_new_privileges` first."""
    for capability in range(_LAST_CAPABILITY + 1):
        try:
            _prctl(_PR_CAPBSET_DROP, capability)
        except OSError:  # beyond the last one, or not ours to drop: what counts is that none is left and none comes back
            break
    try:
        _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    except OSError:  # an older kernel has none
        pass
    header = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)
    data = (_CapabilityData * 2)()
    if _libc().capset(ctypes.byref(header), ctypes.byref(data)) < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


# --- seccomp ----------------------------------------------------------------------------------------------------------


class _Machine(NamedTuple):
    """The numbers of the calls that are filtered. `socketcall`: one call for all that has to do with sockets."""

    architecture: int
    socket: int
    socketpair: int
    keys: tuple[int, int, int]
    socketcall: int | None = None


_X86_64 = _Machine(0xC000003E, 41, 53, (248, 249, 250))
_I386 = _Machine(0x40000003, 359, 360, (286, 287, 288), 102)
_AARCH64 = _Machine(0xC00000B7, 198, 199, (217, 218, 219))
_ARM = _Machine(0x40000028, 281, 288, (309, 310, 311))
_RISCV64 = _Machine(0xC00000F3, 198, 199, (217, 218, 219))
_MACHINES = {
    "x86_64": (_X86_64, _I386),
    "amd64": (_X86_64, _I386),
    "aarch64": (_AARCH64, _ARM),
    "arm64": (_AARCH64, _ARM),
    "riscv64": (_RISCV64,),
}
_IO_URING_SETUP = 425
_X32 = 0x40000000
_UNIX, _VSOCK = 1, 40
_HELD_IN = (2, 10, 16)  # inet, inet6, netlink: the families that a network namespace holds in
_DATAGRAM = 2
_ENOSYS, _EAFNOSUPPORT = 38, 97
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_LOAD, _AND, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06  # BPF: ld abs, and k, jeq k, jge k, ret k
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_AT, _SECOND_AT = 0, 4, 16, 24
_Instruction4 = tuple[int, int, int, int]


class _Instruction(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint16), ("yes", ctypes.c_uint8), ("no", ctypes.c_uint8), ("value", ctypes.c_uint32)]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction))]


def has_filter() -> bool:
    """Whether `filter_sockets` knows this machine's system calls."""
    return platform.machine().lower() in _MACHINES and sys.byteorder == "little"


def filter_sockets(*, network: bool, unix: bool) -> None:
    """Refuse io_uring, whose calls no filter sees, the kernel's keyrings and vsock; and without network all sockets but
    those a network namespace holds in. `unix`: unix sockets are let be.

    What is refused are unix sockets that can be connected to a file of somebody else's (a pair that is connected stays), and
    the likes of vsock, which reaches the host of a virtual machine. Call `no_new_privileges` first.
    """
    program = _instructions(network, unix or network)
    array = (_Instruction * len(program))(*(_Instruction(*one) for one in program))
    filled = _Program(len(program), array)
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.cast(ctypes.byref(filled), ctypes.c_void_p))


@cache
def _instructions(network: bool, unix: bool) -> tuple[_Instruction4, ...]:
    """Per architecture a block; a call of an architecture that is not in the table is refused altogether."""
    program: list[_Instruction4] = [(_LOAD, 0, 0, _ARCHITECTURE_AT)]
    for machine in _MACHINES[platform.machine().lower()]:
        block = _block(machine, network, unix)
        # BPF jumps reach 255 instructions; a block has fewer.
        program += [(_EQUAL, 0, len(block), machine.architecture), *block]
    program.append(_refuse(_ENOSYS))
    return tuple(program)


def _refuse(error: int) -> _Instruction4:
    return (_RETURN, 0, 0, _ERRNO | error)


def _block(machine: _Machine, network: bool, unix: bool) -> list[_Instruction4]:
    refused = [*machine.keys, _IO_URING_SETUP]
    if machine.socketcall is not None and not network:
        refused.append(machine.socketcall)  # its family stands in memory, where no filter can look; there are others
    block: list[_Instruction4] = [(_LOAD, 0, 0, _NUMBER_AT)]
    if machine is _X86_64:
        block += [(_AT_LEAST, 0, 1, _X32), _refuse(_ENOSYS)]
    for number in refused:
        block += [(_EQUAL, 0, 1, number), _refuse(_ENOSYS)]
    if not unix:  # one of a pair of datagram sockets can be pointed at an address all the same
        pair = [(_LOAD, 0, 0, _SECOND_AT), (_AND, 0, 0, 0xF), (_EQUAL, 0, 1, _DATAGRAM), _refuse(_EAFNOSUPPORT)]
        block += [(_EQUAL, 0, len(pair) + 1, machine.socketpair), *pair, (_RETURN, 0, 0, _ALLOW)]
    if network:
        inner = [(_LOAD, 0, 0, _FIRST_AT), (_EQUAL, 0, 1, _VSOCK), _refuse(_EAFNOSUPPORT)]
        block += [(_EQUAL, 0, len(inner), machine.socket), *inner]
    else:
        allowed = (*_HELD_IN, *((_UNIX,) if unix else ()))
        families = [(_EQUAL, len(allowed) - at, 0, family) for at, family in enumerate(allowed)]
        inner = [(_LOAD, 0, 0, _FIRST_AT), *families, _refuse(_EAFNOSUPPORT)]
        block += [(_EQUAL, 0, len(inner), machine.socket), *inner]
    block.append((_RETURN, 0, 0, _ALLOW))
    return block
