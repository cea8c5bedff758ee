"""What the event log bears: events a second read, compared and drawn, how long a key waits in a burst, and memory.

    python -m tests.benchmarks.events [--quick] [--json FILE]

On a real mongod; the inspector runs in a pseudo-terminal of 120x36 and is typed into as a person does. Half of the
events are inserts and half updates of documents like those of uploads, with pre- and post-images.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import re
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from bson import ObjectId
from pymongo import MongoClient, UpdateOne
from pymongo.collection import Collection

from console.embedded.services import EmbeddedServices
from console.events.buffer import EventBuffer
from console.events.diff_rows import event_rows, fold
from console.events.event import ChangeEvent
from console.events.recording import Recorder
from console.events.since import Start
from console.stream.feed import ChangeFeed
from console.ui.events.log_rows import LogRows
from tests.benchmarks.measuring import MEBIBYTE
from tests.terminal import Terminal

Document = dict[str, Any]

COLUMNS: Final = 120
LINES: Final = 36
_NOW: Final = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
# Letters that no event has and that take one cell, each used once: what the program answers is told from all else.
_LETTERS: Final = [chr(code) for code in range(0x100, 0x250) if not 0x1C0 <= code <= 0x1CC]
_BETWEEN_KEYS: Final = 0.02


def document(number: int) -> Document:
    """A document as that of an upload: 25 fields, about 700 bytes of BSON."""
    name = f"photo-{number:06}.jpg"
    texts = {"filename": name, "path": f"/srv/photos/2026/{name}", "host": "camera-1", "key": f"photos/2026/{name}"}
    words = {"content_type": "image/jpeg", "bucket": "archive", "source": "watch", "status": "uploading"}
    numbers = {"size": 17_400_000 + number, "mtime_ns": 1_790_000_000_000_000_000 + number, "current": 0, "rate": 0.0}
    nothing = dict.fromkeys(("error", "checksum", "etag", "version_id", "started_at", "finished_at"))
    nested = {
        "multipart": {"upload_id": f"{number:032x}", "part_size": 8_388_608},
        "lease": {"runner": "camera-1:4711", "expires_at": _NOW + timedelta(seconds=number)},
    }
    return {"_id": ObjectId(f"{number:024x}"), **texts, **words, **numbers, **nothing, **nested, "updated_at": _NOW}


def progress(number: int) -> UpdateOne:
    """What the progress writer does to it."""
    fields = {"current": number * 4096, "percentage": number / 200, "rate": 1.7e7 + number, "updated_at": _NOW}
    return UpdateOne({"_id": ObjectId(f"{number:024x}")}, {"$set": fields})


def write(collection: Collection[Document], first: int, events: int) -> None:
    """Half inserts, half updates of what was inserted, as fast as the server takes them."""
    for start in range(first, first + events // 2, 1000):
        numbers = range(start, min(start + 1000, first + events // 2))
        collection.insert_many([document(number) for number in numbers], ordered=False)
        collection.bulk_write([progress(number) for number in numbers], ordered=False)


def synthetic(count: int) -> Iterator[ChangeEvent]:
    """Updates as the stream delivers them, without a server."""
    for number in range(count):
        before = document(number % 1000)
        fields = {"current": number * 4096, "percentage": number / 1000, "rate": 1.7e7 + number}
        yield ChangeEvent.from_raw(
            {
                "_id": {"_data": f"82{number:016X}2B042C0100296E5A1004{number:032X}"},
                "operationType": "update",
                "wallTime": _NOW + timedelta(milliseconds=number),
                "fullDocument": before | fields,
                "ns": {"db": "bench", "coll": "uploads"},
                "documentKey": {"_id": before["_id"]},
                "updateDescription": {"updatedFields": fields, "removedFields": [], "truncatedArrays": []},
                "fullDocumentBeforeChange": before,
            }
        )


class Figures:
    """What was measured, printed as it comes."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}

    def tell(self, name: str, value: float, unit: str) -> None:
        """One figure, as a row of a Markdown table."""
        self.values[f"{name}, {unit}"] = value
        print(f"| {name} | {value:,.0f} {unit} |", flush=True)

    def rate(self, name: str, events: int, work: Callable[[], object]) -> None:
        """Events a second of a piece of work."""
        began = time.perf_counter()
        work()
        self.tell(name, events / (time.perf_counter() - began), "events/s")

    def waits(self, name: str, seconds: Sequence[float]) -> None:
        """How long keys waited."""
        self.tell(f"{name}: longest wait of {len(seconds)} keys", max(seconds) * 1000, "ms")
        self.tell(f"{name}: median", statistics.median(seconds) * 1000, "ms")


class Inspected:
    """`upload-console events` in a terminal."""

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal

    @property
    def held(self) -> int:
        """How many entries the title tells of; lines about the connection are among them."""
        counts = re.search(r"Events ━+ (?:[\d,]+ of )?([\d,]+)", self.terminal.look())
        return int(counts[1].replace(",", "")) if counts else 0

    def wait_until_held(self, count: int) -> None:
        """Until the log has so many."""
        self.terminal.wait_for(lambda _: self.held >= count, seconds=300)

    def type_until(self, done: Callable[[], bool]) -> list[float]:
        """Type into the open line, letter after letter; gives how long each took to be seen."""
        waits = []
        for letter in itertools.cycle(_LETTERS):
            waits.append(self.terminal.answer_seconds(letter, letter))
            self.terminal.press("backspace")
            time.sleep(_BETWEEN_KEYS)
            if done():
                return waits
        raise AssertionError

    @property
    def resident(self) -> int:
        """Its resident memory in bytes."""
        lines = Path(f"/proc/{self.terminal.process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) * 1024


@contextmanager
def inspector(*arguments: str, environment: Mapping[str, str]) -> Iterator[Inspected]:
    """The inspector, until it was left again."""
    command = [sys.executable, "-m", "console", "events", *arguments]
    with Terminal(command, columns=COLUMNS, lines=LINES, environment=environment) as terminal:
        terminal.wait_for("Changed")
        yield Inspected(terminal)
        terminal.press("ctrl+c")
        terminal.wait_end()


def measure_server(figures: Figures, services: EmbeddedServices, events: int) -> None:
    """Reading, and a burst while the inspector watches."""
    with MongoClient[Document](services.mongodb_uri) as client:
        database = client.bench
        uploads = database.create_collection("uploads", changeStreamPreAndPostImages={"enabled": True})
        with uploads.watch() as stream:
            start = Start(token=stream.resume_token)
        write(uploads, 0, events)
        read: list[ChangeEvent] = []
        figures.rate(
            "read from mongod (`ChangeFeed`, both images)", events, lambda: read.extend(_read(uploads, start, events))
        )
        measure_events(figures, read)

        environment = {"UPLOAD_CONSOLE_MONGODB__URI": services.mongodb_uri}
        token = json.dumps(start.token)
        arguments = ("--namespace", "bench.uploads")
        began = time.perf_counter()
        with inspector(*arguments, "--since", token, environment=environment) as shown:
            first = time.perf_counter()
            shown.wait_until_held(events)
            figures.tell("read, kept and drawn by the inspector", events / (time.perf_counter() - first), "events/s")
            figures.tell("from its start to the last of them", (time.perf_counter() - began) * 1000, "ms")
        for key, name in (("f", "burst, typing what to find"), ("/", "burst, typing a filter")):
            with inspector(*arguments, environment=environment) as shown:
                measure_burst(figures, name, shown, uploads, key, events)


def measure_burst(
    figures: Figures, name: str, shown: Inspected, uploads: Collection[Document], key: str, events: int
) -> None:
    """Type while another thread writes as fast as mongod takes it, and until all of it is on the screen."""
    shown.terminal.wait_for("connected")
    shown.terminal.press(key)
    shown.terminal.wait_for("words to look for" if key == "f" else "op:update")
    writer = threading.Thread(target=write, args=(uploads, uploads.estimated_document_count(), events))
    began = time.perf_counter()
    writer.start()
    waits = shown.type_until(lambda: not writer.is_alive())
    written = time.perf_counter() - began
    waits += shown.type_until(lambda: shown.held >= events)
    behind = time.perf_counter() - began - written
    figures.waits(name, waits)
    figures.tell(f"{name}: written at", events / written, "events/s")
    figures.tell(f"{name}: the last event on the screen after the last write", behind * 1000, "ms")


def _read(collection: Collection[Document], start: Start, events: int) -> Iterator[ChangeEvent]:
    feed = ChangeFeed(collection, start=start)
    feed.start()
    try:
        while events > 0:
            for item in feed.take(10.0):
                if isinstance(item, ChangeEvent):
                    events -= 1
                    yield item
    finally:
        feed.close(3)


def measure_events(figures: Figures, read: Sequence[ChangeEvent]) -> None:
    """What is done with events once they are here, without a screen."""
    buffer: EventBuffer[Any] = EventBuffer()
    figures.rate("kept in the buffer", len(read), lambda: buffer.append(read))
    figures.rate("taken out of it again", len(read), lambda: [buffer[number] for number in range(buffer.total)])
    figures.rate("compared, as rows of the detail", len(read), lambda: [fold(event_rows(event)) for event in read])
    log = LogRows()
    log.add(read, _NOW)
    figures.rate("drawn, as lines of the log", len(read), lambda: _draw(log, range(len(read))))


def _draw(log: LogRows, places: Iterable[int]) -> None:
    for place in places:
        if log.whole(place) is None:
            for column in log.columns:
                log.cell(place, column.key, column.minimum)


def measure_memory(figures: Figures, folder: Path, events: int) -> None:
    """A recording in the inspector: how fast, how large, and whether it still answers with a full buffer."""
    environment = {"UPLOAD_CONSOLE_MONGODB__URI": "mongodb://127.0.0.1:1/"}
    with Recorder(folder / "empty.jsonl"):
        pass
    with inspector("--replay", str(folder / "empty.jsonl"), environment=environment) as shown:
        shown.terminal.wait_for("end of the recording")
        empty = shown.resident
    with Recorder(folder / "events.jsonl") as recorder:
        recorder.write(synthetic(events))
    with inspector("--replay", str(folder / "events.jsonl"), environment=environment) as shown:
        began = time.perf_counter()
        shown.terminal.press("f")
        waits = shown.type_until(lambda: "end of the recording" in shown.terminal.look())
        figures.tell("replayed by the inspector", events / (time.perf_counter() - began), "events/s")
        figures.waits("replay at full speed", waits)
        shown.terminal.press("escape")
        shown.terminal.wait_for(lambda text: "find" not in text)
        figures.tell("memory of the inspector without events", empty / MEBIBYTE, "MiB")
        figures.tell(f"memory at {events:,} events", shown.resident / MEBIBYTE, "MiB")
        shown.terminal.press("/")
        shown.terminal.wait_for("op:update")
        letters = iter(range(60))
        figures.waits(f"typing a filter over {events:,} events", shown.type_until(lambda: next(letters, None) is None))


def main() -> int:
    """Run the benchmark; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the events: shows that everything works")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args()
    share = 10 if options.quick else 1
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, load before {os.getloadavg()[0]:.1f}"
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {machine}\n\n| | |\n|---|---:|", flush=True)
    figures = Figures()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="events-bench-")))
        measure_server(figures, stack.enter_context(EmbeddedServices.start()), 20_000 // share)
        measure_memory(figures, folder, 100_000 // share)
    if options.json:
        options.json.write_text(json.dumps(figures.values, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
