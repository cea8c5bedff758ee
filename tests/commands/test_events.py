"""`events`: options, ends, recordings and what is said, on the real server."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from bson import Timestamp

from console.commands.events import sources
from console.errors import ServerUnreachable, UsageError
from console.events.recording import Recorder, replay
from console.events.text import json_line
from tests.commands.event_answers import Events, ids, lines, place_of, second, soon

if TYPE_CHECKING:
    from pymongo.database import Database

    from tests.commands.conftest import Answer, Command


@pytest.fixture
def since(database: Database[dict[str, Any]]) -> str:
    """A place before everything that the test does."""
    return place_of(database)


@pytest.fixture
def events(command: Command, database: Database[dict[str, Any]], since: str) -> Events:
    """`events` of the test's database from its beginning on."""
    return partial(command, "events", "--json", "--namespace", database.name, "--since", since)


def test_lines_are_events_of_that_namespace(events: Events, database: Database[dict[str, Any]]) -> None:
    database.things.insert_many([{"_id": number} for number in range(3)])
    database.client[f"{database.name}_other"].things.insert_one({"_id": "elsewhere"})
    database.things.delete_one({"_id": 1})
    answer = events("--limit", "5")
    database.client.drop_database(f"{database.name}_other")
    assert [line["operationType"] for line in lines(answer)] == ["create", "insert", "insert", "insert", "delete"]
    assert ids(answer) == [0, 1, 2, 1]
    assert answer.err == ""


def test_one_collection_and_the_whole_deployment(
    events: Events, command: Command, database: Database[dict[str, Any]], since: str
) -> None:
    database.one.insert_one({"_id": 1})
    database.two.insert_one({"_id": 2})
    assert ids(events("--namespace", f"{database.name}.two", "--limit", "2")) == [2]
    everything = command(
        "events", "--json", "--namespace", "*", "--since", since, "--match", f"ns:{database.name}", "--limit", 4
    )
    assert ids(everything) == [1, 2]


def test_without_a_namespace_it_is_the_uploads(command: Command, records: Any, tmp_path: Path) -> None:
    with records.uploads.collection.watch() as stream:
        since = json.dumps(stream.resume_token)
    records.uploads.collection.insert_one({"_id": 1}, bypass_document_validation=True)
    assert ids(command("events", "--since", since, "--limit", "1", "--json")) == [1]


def test_relaxed_and_canonical(events: Events, database: Database[dict[str, Any]]) -> None:
    database.things.insert_one({"_id": 1, "n": 5, "at": datetime(2026, 1, 2, tzinfo=UTC)})
    relaxed, canonical = (
        json.loads(events("--limit", "2", *form).out.splitlines()[1]) for form in (["--json"], ["--canonical"])
    )
    assert relaxed["fullDocument"] == {"_id": 1, "n": 5, "at": {"$date": "2026-01-02T00:00:00Z"}}
    assert canonical["fullDocument"]["n"] == {"$numberInt": "5"}


def insert_across_a_second(database: Database[dict[str, Any]]) -> tuple[int, str]:
    """Numbered documents in one second and in a later one; gives how many, and the beginning of the later one."""

    def insert(number: int) -> Timestamp:
        """Gives a time of the server's that is not before the event's."""
        answer = database.command("insert", "things", documents=[{"_id": number}])
        return cast(Timestamp, answer["operationTime"])

    begun, number = insert(0), 1
    while (at := insert(number)).time == begun.time:
        number += 1
    insert(number + 1)
    return number + 2, second(Timestamp(at.time, 0).as_datetime())


class TestUntil:
    """It ends when everything before that moment was read, and not before."""

    def test_up_to_now_with_nothing_after_it(self, events: Events, database: Database[dict[str, Any]]) -> None:
        database.things.insert_many([{"_id": number} for number in range(3000)])
        assert ids(events("--until", soon())) == list(range(3000))

    def test_on_an_idle_server(self, command: Command, database: Database[dict[str, Any]]) -> None:
        assert lines(command("events", "--json", "--namespace", database.name, "--until", "1s")) == []

    def test_two_streams_that_meet_have_everything_once(
        self, command: Command, events: Events, database: Database[dict[str, Any]]
    ) -> None:
        number, middle = insert_across_a_second(database)
        first = ids(events("--until", middle))
        later = ids(command("events", "--json", "--namespace", database.name, "--since", middle, "--until", soon()))
        assert 0 < len(first) < number
        assert first + later == list(range(number))

    def test_of_a_replay(
        self, events: Events, command: Command, database: Database[dict[str, Any]], tmp_path: Path
    ) -> None:
        database.things.insert_one({"_id": 1})
        events("--limit", "2", "--record", str(tmp_path / "r"))
        answer = command("events", "--json", "--replay", str(tmp_path / "r"), "--until", "2020-01-01")
        assert lines(answer) == []


def canonical(answer: Answer) -> list[str]:
    assert answer.code == 0, answer.err
    return answer.out.splitlines()


class TestRecordings:
    """What was recorded comes back as it was."""

    def test_recorded_printed_and_replayed_are_equal(
        self, events: Events, command: Command, database: Database[dict[str, Any]], tmp_path: Path
    ) -> None:
        database.things.insert_many([{"_id": number, "pad": "x" * 500} for number in range(50)])
        record = tmp_path / "r"
        printed = canonical(events("--limit", "51", "--canonical", "--record", str(record)))
        assert record.read_text().splitlines() == printed
        assert canonical(command("events", "--canonical", "--replay", str(record))) == printed

    def test_rotation_loses_nothing(
        self,
        events: Events,
        command: Command,
        database: Database[dict[str, Any]],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(sources, "Recorder", partial(Recorder, max_bytes=5_000))
        database.things.insert_many([{"_id": number, "pad": "x" * 500} for number in range(50)])
        printed = canonical(events("--limit", "51", "--canonical", "--record", str(tmp_path / "r")))
        assert len(list(tmp_path.iterdir())) > 5
        assert canonical(command("events", "--canonical", "--replay", str(tmp_path / "r"))) == printed

    def test_a_line_that_is_no_event_is_shown_and_passed_by(
        self, events: Events, command: Command, database: Database[dict[str, Any]], tmp_path: Path
    ) -> None:
        database.things.insert_one({"_id": 1})
        record = tmp_path / "r"
        events("--limit", "2", "--record", str(record))
        first, second = record.read_text().splitlines()
        record.write_text(f'{first}\nno \x1b[31mevent\n{{"a": 1}}\n{second}\n{second[:50]}')
        answer = command("events", "--json", "--replay", str(record))
        seen = lines(answer)
        assert [line.get("operationType", "gap") for line in seen] == ["create", "gap", "gap", "insert", "gap"]
        assert "line 2: not valid extended JSON" in seen[1]["gap"]["reason"]
        assert answer.err.count("gap: ") == 3
        assert "\x1b" not in answer.out + answer.err

    def test_gaps_come_back_as_gaps(self, command: Command, tmp_path: Path) -> None:
        gap = {"gap": {"reason": "history lost", "since": datetime(2026, 1, 2, tzinfo=UTC), "until": None}}
        (tmp_path / "r").write_text(f"{json_line(gap)}\n")
        answer = command("events", "--replay", str(tmp_path / "r"), "--canonical")
        assert answer.out == f"{json_line(gap)}\n"
        assert answer.err == "gap: history lost\n"

    def test_two_at_once_do_not_write_the_same_file(self, events: Events, tmp_path: Path) -> None:
        with Recorder(tmp_path / "r"):
            answer = events("--limit", "1", "--record", str(tmp_path / "r"))
        assert isinstance(answer.error, UsageError)
        assert "another process is writing it" in answer.error.message

    def test_the_resume_file_goes_on_with_the_recording(
        self, events: Events, database: Database[dict[str, Any]], tmp_path: Path
    ) -> None:
        database.things.insert_many([{"_id": number} for number in range(6)])
        options = ("--record", str(tmp_path / "r"), "--resume-file", str(tmp_path / "place"), "--limit", "3")
        answers = [events(*options), events(*options)]
        assert [ids(answer) for answer in answers] == [[0, 1], [2, 3, 4]]
        assert len(list(replay(tmp_path / "r"))) == 6


class TestResuming:
    """A restarted reader goes on behind what it wrote (kills: `test_events_restart`)."""

    def test_also_what_does_not_pass_is_behind(
        self, events: Events, database: Database[dict[str, Any]], tmp_path: Path
    ) -> None:
        database.things.insert_many([{"_id": number} for number in range(100)])
        place = tmp_path / "place"
        options = ("--resume-file", str(place), "--until", soon())
        assert ids(events(*options, "--match", "text:nowhere")) == []
        assert ids(events(*options)) == []

    def test_up_to_a_moment_and_on_from_there(
        self, events: Events, database: Database[dict[str, Any]], tmp_path: Path
    ) -> None:
        number, middle = insert_across_a_second(database)
        until = soon()
        place = ("--resume-file", str(tmp_path / "place"))
        first, later, nothing = (events(*place, "--until", end) for end in (middle, until, until))
        assert 0 < len(ids(first)) < number
        assert ids(first) + ids(later) == list(range(number))
        assert lines(nothing) == []

    def test_a_file_that_holds_no_place_is_refused(self, events: Events, tmp_path: Path) -> None:
        (tmp_path / "place").write_text("{}")
        answer = events("--resume-file", str(tmp_path / "place"))
        assert answer.code == 2
        assert "holds no resume token" in str(answer.error)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--since", "yesterday"], "--since yesterday is not a valid time"),
        (["--since", "2099-01-01"], "is in the future"),
        (["--until", "whenever"], "--until whenever is not a valid time"),
        (["--namespace", ".things"], "--namespace"),
        (["--namespace", "things."], "--namespace"),
        (["--namespace", "a b.c"], "--namespace a b.c"),
        (["--namespace", "a.$b"], "--namespace a.$b"),
        (["--namespace", "\x1b[31m."], r"\x1b[31m"),
        (["--record", "/no/such/folder/r"], "/no/such/folder/r: No such file"),
        (["--replay", "/no/such/recording"], "recording /no/such/recording: No such file"),
        (["--replay", "/tmp/no-such-recording"], "no recording at /tmp/no-such-recording"),
        (["--replay", "x", "--since", "1h"], "--replay reads a file"),
        (["--speed", "2"], "--speed goes with --replay"),
    ],
)
def test_options_that_make_no_sense(command: Command, arguments: list[str], said: str) -> None:
    answer = command("events", "--json", *arguments)
    assert answer.code == 2
    assert isinstance(answer.error, UsageError), answer
    assert said in answer.error.message


def test_a_token_of_another_stream_stands_for_its_time(command: Command, database: Database[dict[str, Any]]) -> None:
    with database.other.watch() as stream:
        database.other.insert_one({})
        token = json.dumps(stream.next()["_id"])
    database.things.insert_one({"_id": 1})
    answer = command("events", "--json", "--namespace", f"{database.name}.things", "--since", token, "--until", "0s")
    assert ids(answer) == [1]


def test_a_server_that_is_away(command: Command, environment: dict[str, str]) -> None:
    environment["UPLOAD_CONSOLE_MONGODB__URI"] = "mongodb://person:secret@127.0.0.1:1/"
    environment["UPLOAD_CONSOLE_MONGODB__TIMEOUT_SECONDS"] = "0.2"
    answer = command("events", "--json")
    assert isinstance(answer.error, ServerUnreachable)
    assert answer.code == 3
    assert "secret" not in str(answer.error)


def test_a_day_ago_is_all_there_is_on_a_young_server(command: Command, database: Database[dict[str, Any]]) -> None:
    database.things.insert_one({"_id": 1})
    assert ids(command("events", "--json", "--namespace", database.name, "--since", "1d", "--limit", "2")) == [1]
