"""`python -m console` and the entry point `upload-console`: run the command line, show errors as people read them.

Owns the beginning and the end of the process: how Python is set for it, and that it is gone once its work is done.
"""

from __future__ import annotations

import errno
import gc
import io
import os
import pwd
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NoReturn

from console.capacity import fit_threads, shortage

# Modules and what they make when they are imported: nothing of it becomes garbage, and to look through it three times
# was a twelfth of the processor time of a start.
_OBJECTS_OF_THE_START: Final = 250_000
# Python's own are 700, 10, 10: with the records of 20,000 uploads in memory, looking through all of them again and
# again took a fourth of the processor time of sending them. Little here is in cycles, and one that is kept a while
# longer does no harm. But no look may take long: with 50,000 new objects at once a key waited for 50 ms.
_THRESHOLDS: Final = (5_000, 10, 1_000)
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def main() -> NoReturn:
    """Run the command; every `ConsoleError` becomes a message on standard error and its exit code."""
    # It would read the description of every package that is installed, to find plugins of which none is ours.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    gc.set_threshold(_OBJECTS_OF_THE_START)
    gc.callbacks.append(_leave_out_the_start)
    _prepare_streams()
    fit_threads()
    threading.excepthook = _tell_of_thread
    code = 0
    try:
        code = _run()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except BrokenPipeError:
        pass  # the reader has gone (`| head`)
    except OSError as error:
        if error.errno not in _FULL or error.filename is not None:
            raise
        with suppress(OSError):
            reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror
            os.write(2, f"Output could not be written: {reason}\n".encode())
        code = code or 1
    _end(code)


def _prepare_streams() -> None:
    """Standard input, output and error that can be used whatever the process was given.

    One that was closed is the null device from now on: else the next file or socket that is opened would get its
    number, and what is written to it. Characters that the locale's encoding lacks are escaped.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free, which is this one
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 - a descriptor, until the process ends
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w", encoding="utf-8", closefd=False))  # noqa: SIM115
        if isinstance(stream := getattr(sys, name), io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _run() -> int:
    try:
        from console.cli import app, make_only
        from console.errors import ConsoleError
    except OSError as error:
        if not (reason := shortage(error)):
            raise
        sys.stderr.write(f"Out of resources: {reason}\n")
        return 1

    try:
        _prepare_home()
        make_only(sys.argv[1] if len(sys.argv) > 1 else "")
        app()
    except ConsoleError as error:
        sys.stderr.write(f"{error.title}: {error}\n")
        if error.advice:
            sys.stderr.write(f"  {error.advice}\n")
        return error.exit_code
    except SystemExit as end:
        if not isinstance(end.code, int | None):
            raise
        return end.code or 0
    except Exception as error:
        if isinstance(error, FileNotFoundError) and not _has_working_directory():
            sys.stderr.write("Wrong usage: the working directory is gone\n  Change to one that exists (`cd`).\n")
            return 2
        if not (reason := shortage(error)):
            raise
        sys.stderr.write(f"Out of resources: {reason}\n")
        return 1
    return 0


def _prepare_home() -> None:
    """A container may run as a user of whom the system knows nothing: no HOME, and no entry that names one. What has to
    be kept between two starts lies in a folder of that user's own then, for as long as the container lives.

    Raises:
        ConfigurationError: that folder cannot be made, or is somebody else's.
    """
    if os.environ.get("HOME"):
        return
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        from console.errors import ConfigurationError
        from console.private_files import make_private_folder

        home = Path(tempfile.gettempdir()) / f"upload-console-home-{os.getuid()}"
        try:
            make_private_folder(home)
        except OSError as error:
            raise ConfigurationError(
                f"this user has no home directory, and {home} cannot be used: {error.strerror}",
                advice="Set HOME to a directory that this user can write.",
            ) from None
        os.environ["HOME"] = str(home)


def _tell_of_thread(fault: threading.ExceptHookArgs) -> None:
    """Of a thread of a library that ended by an exception: what the machine lacks is said in words, once."""
    reason = shortage(fault.exc_value) if fault.exc_value is not None else ""
    if not reason:
        threading.__excepthook__(fault)
    elif reason not in _told:
        _told.append(reason)
        sys.stderr.write(f"Out of resources: {reason}\n")


_told: Final[list[str]] = []


def _has_working_directory() -> bool:
    try:
        os.getcwd()  # noqa: PTH109 - it is asked for this alone
    except FileNotFoundError:
        return False
    return True


def _end(code: int) -> NoReturn:
    """End the process now. Python itself would wait for PyMongo's threads, which sleep for half a second at a time, and
    take apart what the system frees anyway."""
    for thread in threading.enumerate():
        if not thread.daemon and thread is not threading.main_thread():
            thread.join()
    os._exit(code)


def _leave_out_the_start(*_: Any) -> None:
    """Called when the first collection begins: it and all others look at what is made from now on."""
    gc.callbacks.remove(_leave_out_the_start)
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)


if __name__ == "__main__":
    main()
