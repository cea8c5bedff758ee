"""`python -m console` and the entry point `upload-console`: run the command line, show errors as people read them."""

from __future__ import annotations

import gc
import os
import sys
from typing import Any, Final

# Modules and what they make when they are imported: nothing of it becomes garbage, and to look through it three times
# was a twelfth of the processor time of a start.
_OBJECTS_OF_THE_START: Final = 250_000
# Python's own limit is 700: with the records of 20,000 uploads in memory, looking for garbage took a fourth of the
# processor time of sending them. Little here is in cycles, and a cycle that is kept a while longer does no harm.
_OBJECTS_BEFORE_COLLECTION: Final = 50_000


def main() -> None:
    """Run the command; every `ConsoleError` becomes a message on standard error and its exit code."""
    gc.set_threshold(_OBJECTS_OF_THE_START)
    gc.callbacks.append(_leave_out_the_start)
    from console.cli import app
    from console.errors import ConsoleError

    try:
        app()
    except ConsoleError as error:
        sys.stderr.write(f"{error.title}: {error.message}\n")
        if error.advice:
            sys.stderr.write(f"  {error.advice}\n")
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader has gone (`| head`). Point standard output elsewhere, or Python complains when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    finally:
        gc.freeze()  # or Python looks through all that is left before it ends: a fourth of a second


def _leave_out_the_start(*_: Any) -> None:
    """Called when the first collection begins: it and all others look at what is made from now on."""
    gc.callbacks.remove(_leave_out_the_start)
    gc.freeze()
    gc.set_threshold(_OBJECTS_BEFORE_COLLECTION, 50, 100)


if __name__ == "__main__":
    main()
