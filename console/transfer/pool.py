"""The threads that send bodies, shared by all uploads of a process.

Owns the threads and the number of parts under way. Unlike those of `concurrent.futures` they are daemons: a thread
that hangs on a dead connection holds up neither a pause nor the end of the program.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from typing import Any, Final, TypeVar

from console.transfer.control import Control
from console.transfer.slots import Slots

T = TypeVar("T")

_LOOK_AGAIN_SECONDS: Final = 0.1


class WorkerPool:
    """Threads on demand. Tasks of `submit` run as many at once as there are slots."""

    def __init__(self, slots: Slots) -> None:
        self.slots = slots
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0
        self._threads: list[threading.Thread] = []
        self._closed = False

    def submit(self, work: Callable[[], T], control: Control) -> Future[T]:
        """Run `work` in a thread once a slot is free, waiting for it. Raises what `control.check()` raises."""
        self.slots.acquire(control)
        try:
            return self._start(work, self.slots.release)
        except BaseException:
            self.slots.release()
            raise

    def start(self, work: Callable[[], T]) -> Future[T]:
        """Run `work` in a thread at once, outside the slots: the caller bounds how many there are."""
        return self._start(work, lambda: None)

    def close(self, timeout_seconds: float = 2.0) -> None:
        """Let idle threads end; those that hang are left behind."""
        with self._lock:
            self._closed = True
            threads = list(self._threads)
        for _ in threads:
            self._tasks.put(None)
        until = time.monotonic() + timeout_seconds
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _start(self, work: Callable[[], T], finished: Callable[[], None]) -> Future[T]:
        future: Future[T] = Future()

        def task() -> None:
            _settle(future, work)
            finished()

        with self._lock:
            if self._closed:
                raise RuntimeError("the pool is closed")
            if self._idle:
                self._idle -= 1
            else:
                self._grow()
        self._tasks.put(task)
        return future

    def _grow(self) -> None:
        thread = threading.Thread(target=self._run, name=f"transfer-{len(self._threads)}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()
            del task  # or the thread would hold the last upload's file while it is idle
            with self._lock:
                self._idle += 1


def wait_for(future: Future[T], control: Control) -> T:
    """The result of a future. Raises its exception, or what `control.check()` raises while it is not there yet."""
    while True:
        try:
            return future.result(_LOOK_AGAIN_SECONDS)
        except NotYet:
            if future.done():
                raise  # a timeout of the work's own
            control.check()


def _settle(future: Future[Any], work: Callable[[], Any]) -> None:
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 - it is for whoever waits for the future
        future.set_exception(error)
    else:
        future.set_result(result)
