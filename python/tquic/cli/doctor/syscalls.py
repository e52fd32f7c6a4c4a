"""System calls that Python has no function for, made in a way that changes nothing."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import sys

# Numbers by machine (asm/unistd.h); io_uring came after they were made the same everywhere.
IO_URING_SETUP = 425
BPF = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "s390x": 351, "ppc64le": 361}

BPF_MAP_CREATE = 0
BPF_MAP_TYPE_ARRAY = 2


def call(number: int, *arguments: object) -> tuple[int, int]:
    """The result and `errno`."""
    libc = ctypes.CDLL(None, use_errno=True)
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *arguments)
    return int(result), ctypes.get_errno()


def can_call() -> bool:
    """Whether the numbers here are those of this system."""
    return sys.platform == "linux" and ctypes.sizeof(ctypes.c_long) == 8


def io_uring() -> int:
    """0 if io_uring is there, else `errno`: `ENOSYS` not built in, `EPERM` forbidden."""
    # Without entries and parameters a kernel that has it complains about these.
    _, code = call(IO_URING_SETUP, ctypes.c_uint(0), ctypes.c_void_p(None))
    return 0 if code in (errno.EFAULT, errno.EINVAL) else code


def bpf() -> int | None:
    """0 if this process may use eBPF, `errno` if not; None if it cannot be told."""
    number = BPF.get(platform.machine())
    if number is None:
        return None
    # Type, key size, value size, entries; the rest of `union bpf_attr` is zero.
    attributes = (ctypes.c_uint32 * 32)(BPF_MAP_TYPE_ARRAY, 4, 4, 1)
    descriptor, code = call(
        number,
        ctypes.c_int(BPF_MAP_CREATE),
        ctypes.byref(attributes),
        ctypes.c_uint(ctypes.sizeof(attributes)),
    )
    if descriptor < 0:
        return code
    os.close(descriptor)
    return 0
