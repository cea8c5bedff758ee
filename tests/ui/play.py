"""The console on the fake backend, to look at: `python -m tests.ui.play [DIRECTORY] [--theme NAME]`."""

from __future__ import annotations

import argparse
import itertools
import random
import threading
import time
from datetime import UTC, datetime, timedelta

from console.ui.app import UploadConsole
from console.ui.backend import UploadChoices

from .fake_backend import HOST, FakeBackend, document
from .samples import some_uploads

USUAL = UploadChoices("archive", "photos/2026")


def run_uploads(backend: FakeBackend, stopped: threading.Event) -> None:
    """Start what waits, move what runs, end what is done."""
    chance = random.Random(4)
    for number in itertools.count(1000):
        if stopped.wait(0.25):
            return
        docs = list(backend.documents.values())
        mine = [d for d in docs if d.get("status") == "uploading" and d["host"] == HOST]
        for doc in mine:
            rate = chance.uniform(2e6, 3e7)
            current = min(doc["size"], doc["current"] + int(rate / 4))
            fields = {"current": current, "percentage": 100 * current / max(1, doc["size"]), "rate": rate}
            if current >= doc["size"]:
                fields |= {"status": "completed", "finished_at": datetime.now(UTC), "lease": None, "rate": 0.0}
            backend.change(doc["_id"], **fields)
        waiting = [d for d in docs if d.get("status") == "pending"]
        if len(mine) < 4 and waiting:
            lease = {"runner": backend.runner, "expires_at": datetime.now(UTC) + timedelta(days=1)}
            backend.change(waiting[0]["_id"], status="uploading", started_at=datetime.now(UTC), lease=lease)
        if number % 20 == 0:
            backend.insert(document(number, size=chance.randrange(1, 90_000_000), created_at=datetime.now(UTC)))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", nargs="?", default=".")
    parser.add_argument("--theme", default="console-dark")
    parser.add_argument("--still", action="store_true")
    arguments = parser.parse_args()
    backend = FakeBackend(some_uploads())
    stopped = threading.Event()
    if not arguments.still:
        threading.Thread(target=run_uploads, args=(backend, stopped), daemon=True).start()
    time.sleep(0)
    print(UploadConsole(backend, directory=arguments.directory, host=HOST, theme=arguments.theme, usual=USUAL).run())
    stopped.set()


if __name__ == "__main__":
    main()
