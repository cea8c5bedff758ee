"""Starts `upload-console` as a machine would that allows so few threads: `python few_threads.py NUMBER ARGUMENT…`.

Root, as whom tests may run, is bound by no RLIMIT_NPROC.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

most = int(sys.argv.pop(1))
start = threading._start_new_thread  # type: ignore[attr-defined]


def start_if_allowed(*arguments: Any) -> Any:
    if threading.active_count() > most:
        raise RuntimeError("can't start new thread")
    return start(*arguments)


threading._start_new_thread = start_if_allowed  # type: ignore[attr-defined]

if __name__ == "__main__":
    from console.__main__ import main

    main()
