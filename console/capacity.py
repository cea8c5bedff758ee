"""What this machine lets the process have at once: descriptors, threads, memory.

The one place that knows how many requests the limits allow, which errors say that there is no more, and what people are
told then. What does less at once for it is `transfer.concurrency`.
"""

from __future__ import annotations

import _thread
import ctypes
import errno
import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

# What a process has open beside its transfers: standard streams, MongoDB's connections and monitors, change streams,
# event loops, a log, a lock file.
_OTHER_DESCRIPTORS: Final = 40
_DESCRIPTORS_OF_A_BODY: Final = 2  # a connection, and the file
# Where the address space is limited: what the libraries and their threads take of it, and a body with its thread.
_OTHER_BYTES: Final = 320 * 1024 * 1024
_BYTES_OF_A_BODY: Final = 8 * 1024 * 1024
_SMALL_ADDRESS_SPACE: Final = 2 * 1024 * 1024 * 1024
_SMALL_STACK: Final = 1024 * 1024
_M_ARENA_MAX: Final = -8  # glibc: malloc.h

_DESCRIPTORS: Final = "this machine allows no further open file: raise the limit (ulimit -n)"
NO_THREAD: Final = "this machine allows no further thread: raise the limit on processes (ulimit -u)"
_MEMORY: Final = "this machine has no memory left for it"
_OF_ERRNO: Final = {
    errno.EMFILE: _DESCRIPTORS,
    errno.ENFILE: _DESCRIPTORS,
    errno.ENOMEM: _MEMORY,
    errno.ENOBUFS: _MEMORY,
    errno.EAGAIN: NO_THREAD,
}
_REFUSED_THREAD: Final = "can't start new thread"  # CPython: Modules/_threadmodule.c


def bodies_at_once(most: int) -> int:
    """How many bodies may be on their way at once, at most `most`, with what descriptors and memory there are."""
    descriptors, memory = _limit(resource.RLIMIT_NOFILE), _limit(resource.RLIMIT_AS)
    if descriptors is not None:
        most = min(most, (descriptors - _OTHER_DESCRIPTORS) // _DESCRIPTORS_OF_A_BODY)
    if memory is not None:
        most = min(most, (memory - _OTHER_BYTES) // _BYTES_OF_A_BODY)
    return max(1, most)


def fit_threads() -> None:
    """Before the first thread is started: where the address space is limited, what is only reserved for threads (stacks
    of 8 MiB, and memory pools of 64 MiB, hardly any of it used) is not to take all of it."""
    memory = _limit(resource.RLIMIT_AS)
    if memory is not None and memory < _SMALL_ADDRESS_SPACE:
        threading.stack_size(_SMALL_STACK)
        with suppress(OSError, AttributeError):  # not every C library has it
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def _limit(kind: int) -> int | None:
    soft, _ = resource.getrlimit(kind)
    return None if soft == resource.RLIM_INFINITY else soft


def shortage(error: BaseException) -> str:
    """What there was no more of, in words; empty where an error has another cause.

    Libraries wrap what they met: botocore keeps it in `kwargs`, PyMongo and others as the cause, or in words only.
    """
    for found in _causes(error):
        if isinstance(found, MemoryError):
            return _MEMORY
        if isinstance(found, RuntimeError) and _REFUSED_THREAD in str(found):
            return NO_THREAD
        if isinstance(found, OSError) and found.errno in _OF_ERRNO and not isinstance(found, BlockingIOError):
            return _OF_ERRNO[found.errno]
    text = str(error)
    return _DESCRIPTORS if "Too many open files" in text else _MEMORY if "Cannot allocate memory" in text else ""


def _causes(error: BaseException, depth: int = 8) -> Iterator[BaseException]:
    """The error, and what it was made of."""
    yield error
    if depth:
        inner = (error.__cause__, error.__context__, getattr(error, "kwargs", {}).get("error"), *error.args)
        for cause in inner:
            if isinstance(cause, BaseException):
                yield from _causes(cause, depth - 1)


def start_thread(work: Callable[[], object], name: str) -> bool:
    """Run `work` in a daemon thread; False where the machine allows no further one."""
    return _is_started(threading.Thread(target=work, name=name, daemon=True).start)


def start_worker(work: Callable[[], object]) -> bool:
    """The same, without waiting until the thread runs: on a busy machine a hundred of them would take seconds."""
    return _is_started(lambda: _thread.start_new_thread(work, ()))


def _is_started(start: Callable[[], object]) -> bool:
    try:
        start()
    except (RuntimeError, MemoryError) as error:
        if not shortage(error):
            raise
        return False
    return True
