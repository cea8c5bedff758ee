"""The threads that send bodies, shared by all uploads of a process, and how many of them may send at once.

They are daemons, unlike those of `concurrent.futures`: a thread that hangs on a dead connection holds up neither a
pause nor the end of the program. The number of requests under way is decided in `concurrency`; here are the lock and
the clock.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from typing import Any, Final, TypeVar

from console.capacity import shortage, start_thread
from console.choices import MOST_PARALLEL
from console.error_codes import asks_for_less
from console.s3.control import Control
from console.s3.transfer_errors import TransferError
from console.transfer.concurrency import ConcurrencyController

T = TypeVar("T")

_LOOK_AGAIN_SECONDS: Final = 0.2
"""How often a waiting thread asks its `Control` whether it should stop."""


class Slots:
    """At most `limit` holders at once. Lowering it takes nothing away: those over it finish first. Thread-safe."""

    def __init__(
        self,
        first: int,
        most: int = MOST_PARALLEL,
        *,
        most_bytes: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """It begins with `first`; `most` is what memory allows, however fast more would be, and `most_bytes` the sum of
        what holders hold of it."""
        self._controller = ConcurrencyController(first=first, most=most)
        self._clock = clock
        self._most_bytes = most_bytes
        self._used = 0
        self._used_bytes = 0
        self._under_way: deque[None] = deque()
        """As many as are being sent. Counted without the lock: hundreds of threads would queue for it."""
        self._changed = threading.Condition(threading.Lock())

    @property
    def limit(self) -> int:
        return self._controller.limit

    def resize(self, limit: int | None) -> None:
        """A person's number, None for what turns out best; waiting threads see it at once."""
        with self._changed:
            self._controller.set_limit(limit)
            self._changed.notify_all()

    def acquire(self, control: Control, size: int = 0) -> None:
        """Take a slot, to hold `size` bytes, waiting for one. Raises what `control.check()` raises; then no slot is
        held."""
        with self._changed:
            while self._used >= self._controller.limit or self._is_too_much(size):
                control.check()
                self._changed.wait(_LOOK_AGAIN_SECONDS)
            self._used += 1
            self._used_bytes += size

    def release(self, size: int = 0) -> None:
        with self._changed:
            self._used -= 1
            self._used_bytes -= size
            self._changed.notify()

    def _is_too_much(self, size: int) -> bool:
        return self._most_bytes is not None and self._used > 0 and self._used_bytes + size > self._most_bytes

    def send(self, operation: Callable[[], T], amount: int) -> T:
        """Run one request with a body of `amount` bytes, and learn from how it went. Raises what it raises."""
        self._under_way.append(None)
        in_flight, began_at = len(self._under_way), self._clock()
        try:
            result = operation()
        except TransferError as error:
            if error.code == "OutOfResources":
                self.ran_short()
            elif asks_for_less(error.code):
                self.slowed_down(began_at)
            raise
        else:
            self.finished(began_at, amount, in_flight)
            return result
        finally:
            self._under_way.pop()

    def finished(self, began_at: float, amount: int, in_flight: int) -> None:
        now = self._clock()
        with self._changed:
            before = self._controller.limit
            self._controller.finished(began_at=began_at, now=now, amount=amount, in_flight=in_flight, in_use=self._used)
            if self._controller.limit > before:
                self._changed.notify_all()

    def slowed_down(self, began_at: float) -> None:
        """S3 asked for fewer requests, or did not answer one in time."""
        with self._changed:
            self._controller.slowed_down(began_at=began_at, now=self._clock())

    def ran_short(self) -> None:
        """This machine has no descriptor, thread or memory for one more."""
        with self._changed:
            in_flight = max(self._used, len(self._under_way))
            self._controller.ran_short(in_flight=in_flight, now=self._clock())


_POOL_LOOK_AGAIN_SECONDS: Final = 0.1


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
            is_taken = self._idle > 0 or self._grow()
            if is_taken:
                self._idle -= 1
        if is_taken:
            self._tasks.put(task)
        else:
            task()  # the machine allows no thread for it but the one that asks
        return future

    def _grow(self) -> bool:
        """One thread more; where the machine allows none, those that there are do the task when they are free. False
        where there are none."""
        thread = threading.Thread(target=self._run, name=f"transfer-{len(self._threads)}", daemon=True)
        try:
            thread.start()
        except (RuntimeError, MemoryError) as error:
            if not shortage(error):
                raise
            self.slots.ran_short()
            return bool(self._threads)  # one is busy with this task as soon as it has done its own
        self._threads.append(thread)
        self._idle += 1
        return True

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
            return future.result(_POOL_LOOK_AGAIN_SECONDS)
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


def ahead(items: Iterable[T], most: int = 2) -> Generator[T, None, None]:
    """The same items, made by a thread of their own while the caller is at work on those before: at most so many that
    the caller is not through with. Where the machine allows no thread they are made as they are asked for."""
    made: queue.SimpleQueue[Future[T] | None] = queue.SimpleQueue()
    room = threading.Semaphore(most)
    coming = iter(items)
    is_over = threading.Event()

    def make() -> None:
        is_more = True
        while is_more and room.acquire() and not is_over.is_set():
            item: Future[T] = Future()
            _settle(item, lambda: next(coming))
            is_more = item.exception() is None
            made.put(item if is_more or not isinstance(item.exception(), StopIteration) else None)

    if not start_thread(make, "ahead"):
        yield from coming
        return
    try:
        while (item := made.get()) is not None:
            yield item.result()
            room.release()
    finally:
        is_over.set()
        room.release()
