"""The filter line: what it means, how it reads back, what is said of a wrong one, what the server does of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from bson import Binary, Code, DatetimeMS, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from hypothesis import given
from hypothesis import strategies as st
from pymongo.database import Database

from console.bson_decoding import EVENT_CODEC
from console.errors import ConsoleError
from console.events.event import ChangeEvent
from console.events.filter import (
    FieldClause,
    Filter,
    FilterError,
    KeyClause,
    MatchClause,
    NamespaceClause,
    OperationClause,
    TextClause,
    Word,
    parse_filter,
)
from console.events.match import LOGICAL, OPERATORS

from .strategies import documents, values

ID = ObjectId("65f000000000000000000001")
EVENT = ChangeEvent.from_raw(
    {
        "_id": {"_data": "82FFEE"},
        "operationType": "update",
        "ns": {"db": "app", "coll": "uploads.eu"},
        "documentKey": {"_id": ID},
        "fullDocumentBeforeChange": {"_id": ID, "status": "pending", "name": "Größe [1].bin", "current": 0},
        "fullDocument": {"_id": ID, "status": "uploading", "name": "Größe [1].bin", "current": Int64(8388608)},
        "updateDescription": {
            "updatedFields": {"status": "uploading", "parts.3.etag": "x", "error": {"code": "SlowDown"}},
            "removedFields": ["old"],
        },
    }
)


def read(line: str) -> tuple[Filter, FilterError | None]:
    try:
        return parse_filter(line), None
    except FilterError as error:
        return Filter(), error


@pytest.mark.parametrize(
    ("line", "clauses"),
    [
        ("", ()),
        ("  ", ()),
        ("op:update", (OperationClause((Word("update"),)),)),
        ("OP:insert,delete", (OperationClause((Word("insert"), Word("delete"))),)),
        ("-ns:app.*", (NamespaceClause((Word("app.*"),), negated=True),)),
        ("key:65f0…", (KeyClause((Word("65f0"),)),)),
        ('key:"a b",c', (KeyClause((Word("a b", in_quotes=True), Word("c"))),)),
        ("field:parts[3].etag", (FieldClause((Word("parts.3.etag"),)),)),
        ("two words", (TextClause((Word("two"),)), TextClause((Word("words"),)))),
        ('"two words"', (TextClause((Word("two words", in_quotes=True),)),)),
        (r'"a\"b\\c"', (TextClause((Word('a"b\\c', in_quotes=True),)),)),
        ("text:op:update,x", (TextClause((Word("op:update,x"),)),)),
        ("s3://bucket/key 12:30", (TextClause((Word("s3://bucket/key"),)), TextClause((Word("12:30"),)))),
        ("-word", (TextClause((Word("word"),), negated=True),)),
        ("op:update op:update", (OperationClause((Word("update"),)),)),
        ('{"a": {"$gt": 5}} x', (MatchClause('{"a": {"$gt": 5}}', {}), TextClause((Word("x"),)))),
        ('-{"a": 1}', (MatchClause('{"a": 1}', {}, negated=True),)),
    ],
)
def test_lines(line: str, clauses: tuple[Any, ...]) -> None:
    parsed = parse_filter(line)
    assert parsed.clauses == clauses
    assert parse_filter(parsed.text) == parsed
    assert bool(parsed) == bool(clauses)


@pytest.mark.parametrize(
    ("line", "reason", "position"),
    [
        ("op:", "a word is missing", 3),
        ("op:a,", "a word is missing", 5),
        ("-", "a word is missing", 1),
        ("op:updated", "updated is not a valid operation; valid: insert, update, ", 3),
        ("x -op:insert,xx", "xx is not a valid operation; ", 13),
        ('op:"upd"', '"upd" is not a valid operation; ', 3),
        ("op:upd?", "upd? is not a valid operation; ", 3),
        ("x op:,b", "a word is missing", 5),
        ('ns:a "open', "a quote that nothing closes", 5),
        ('key:"a"b', "unexpected b", 7),
        ('wo"rd', 'unexpected "', 2),
        ('{"a": }', "not valid JSON: Expecting value", 6),
        ("x {a: 1}", "not valid JSON: Expecting property name enclosed in double quotes", 3),
        ('{"a": 1', "not valid JSON: Expecting ',' delimiter", 7),
        ('{"a": 1}x', "unexpected x", 8),
        ('x {"a": {"$near": 1}}', "$near cannot be evaluated here", 2),
        ('{"a": {"$oid": "zz"}}', "not valid extended JSON", 0),
        ("{" * 3, "not valid JSON", 1),
        ('{"a":' * 100_000, "not valid extended JSON", 0),
        ('a\x1b[1m \x1b"', 'unexpected "', 7),
    ],
)
def test_wrong_lines_say_what_and_where(line: str, reason: str, position: int) -> None:
    with pytest.raises(FilterError) as caught:
        parse_filter(line)
    assert caught.value.reason.startswith(reason)
    assert caught.value.position == position
    assert caught.value.message.endswith(f"(at character {position + 1})")
    assert isinstance(caught.value, ConsoleError)


def test_every_operation_of_the_manual_can_be_asked_for() -> None:
    names = [
        *("create", "createIndexes", "delete", "drop", "dropDatabase", "dropIndexes", "insert", "invalidate", "modify"),
        *("refineCollectionShardKey", "rename", "replace", "reshardCollection", "shardCollection", "update"),
    ]
    assert parse_filter(f"op:{','.join(names)}").text == f"op:{','.join(names)}"
    with pytest.raises(FilterError) as caught:
        parse_filter("op:xx")
    assert sorted(caught.value.reason.partition("valid: ")[2].split(", ")) == names
    assert parse_filter("op:unknown").matches(ChangeEvent.from_raw({}))  # as the log shows one that says nothing


@given(st.text(st.sampled_from('ops:nkeyfildtx,"\\{}*?- …[]1$\n') | st.characters(), max_size=30))
def test_any_line_is_a_filter_or_an_error_and_reads_back(line: str) -> None:
    parsed, error = read(line)
    if error is not None:
        assert 0 <= error.position <= len(line)
        return
    assert parse_filter(parsed.text) == parsed
    parsed.matches(EVENT)


NAMES = [
    *("$oid", "$date", "$binary", "$numberLong", "$numberDecimal", "$timestamp", "$regex", "$code", "$dbPointer"),
    *("$uuid", "$numberInt", "$numberDouble", "$minKey", "$regularExpression", "$ref", "$undefined", "$symbol"),
]
VALUES = ["5", "null", "[]", '"x"', '{"t": 1}', '{"base64": "!", "subType": "zz"}', '{"pattern": "("}', "true", "{}"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", VALUES)
def test_bad_extended_json_leaks_no_exception(name: str, value: str) -> None:
    parsed, error = read(f'{{"a": {{"{name}": {value}}}}}')
    assert (parsed.matches(EVENT) in (True, False)) if error is None else error.reason


# Values as they are typed, also where no operator takes them.
TYPED: list[Any] = [
    *(0, 1, -1, 1.5, 2, 2**31, 2**63, -(2**70), True, False, None, "", "a", "int", "(", "i", "\ud800", "\0", [], {}),
    *({"$numberDecimal": text} for text in ("NaN", "sNaN", "-sNaN", "Infinity", "-0", "1E+6144", "1.5")),
    *({"$numberDouble": text} for text in ("NaN", "-Infinity", "2.0", "-0.0")),
    *({"$numberLong": "1"}, {"$date": {"$numberLong": str(2**62)}}, {"$date": "2026-01-01T00:00:00Z"}),
    *({"$binary": {"base64": "YQ==", "subType": "00"}}, {"$binary": {"base64": "KA==", "subType": "80"}}),
    *({"$code": "f"}, {"$code": "int"}, {"$code": "f", "$scope": {"x": 1}}, {"$timestamp": {"t": 1, "i": 1}}),
    {"$regularExpression": {"pattern": "^a", "options": "i"}},
    {"$regularExpression": {"pattern": "(", "options": ""}},
    *({"$oid": str(ID)}, {"$minKey": 1}, {"$maxKey": 1}, {"$undefined": True}, {"$symbol": "a"}),
    *({"$ref": "c", "$id": 1}, {"$regex": {"$code": "f"}}, {"a": 1}),
]
ARGUMENTS = st.recursive(
    st.sampled_from(TYPED),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "", "$x", "0"]), inner, max_size=2)
        | st.dictionaries(st.sampled_from([*OPERATORS, "$options"]), inner, min_size=1, max_size=2)
    ),
    max_leaves=6,
)
EXPRESSIONS = st.recursive(
    st.dictionaries(st.sampled_from(["fullDocument.a", "fullDocument.a.0", "", "$near", "$comment"]), ARGUMENTS),
    lambda inner: st.dictionaries(st.sampled_from(sorted(LOGICAL)), st.lists(inner, max_size=2) | inner, min_size=1),
    max_leaves=3,
)
OF_EVERY_TYPE = [
    *(None, True, 1, Int64(1), 1.5, float("nan"), Decimal128("1.5"), Decimal128("sNaN"), "a", "(", b"a", b"", []),
    *(
        Binary(b"a", 128),
        Code("f"),
        Code("f", {"x": 1}),
        Regex("^a", "i"),
        Regex(b"^a"),
        Timestamp(1, 1),
        ID,
        {"a": 1},
        [1, "a", {}],
    ),
    *(DatetimeMS(2**62), datetime(2026, 1, 1, tzinfo=UTC), MinKey(), MaxKey(), DBRef("c", ID)),
]


def check(expression: Mapping[str, Any], *seen: Any) -> None:
    """What the log has taken as a filter is asked of every event, where nobody waits for an error any more."""
    parsed, error = read(json.dumps(expression))
    if error is not None:
        assert error.reason
        return
    for value in (*seen, *OF_EVERY_TYPE, OF_EVERY_TYPE):
        event = ChangeEvent.from_raw({"operationType": "insert", "fullDocument": {"a": value}})
        assert parsed.matches(event) in (True, False)
    stages, _ = parsed.server_part()
    bson.encode({"pipeline": stages})


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_what_an_operator_does_not_take_is_refused_when_it_is_typed_or_never(name: str) -> None:
    for value in TYPED:
        for argument in (value, [value], [value, 1], {"$eq": value}, {"a": value}):
            check({"fullDocument.a": {name: argument}})
        check({"fullDocument.a": {name: value, "$options": "i"}})
        check({"fullDocument.a": {name: "a", "$options": value}})


@given(EXPRESSIONS, values)
def test_an_expression_is_refused_when_it_is_typed_or_never(expression: dict[str, Any], value: Any) -> None:
    check(expression, value, [value])


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ('{"a": {"$regex": {"$binary": {"base64": "YQ==", "subType": "00"}}}}', "$regex"),
        ('{"a": {"$in": [{"$regex": {"$binary": {"base64": "YQ==", "subType": "00"}}}]}}', "$regex"),
        ('{"a": {"$regex": {"$code": "f"}}}', "$regex"),
        ('{"a": {"$regex": "f", "$options": {"$code": "i"}}}', "$options"),
        ('{"a": {"$type": {"$code": "int"}}}', "$type"),
        ('{"a": {"$type": ["int", {"$code": "int"}]}}', "$type"),
        ('{"a": 1, "b.c": 18446744073709551616}', "b.c"),
        ('{"a": {"$gt": "\\ud800"}}', "a: "),
        pytest.param('{"a": ' + "[" * 300 + "]" * 300 + "}", "nested", id="list"),
        pytest.param('{"$and": [' * 100 + '{"a": 1}' + "]}" * 100, "nested", id="and"),
        pytest.param('{"a":' + '{"$not": ' * 200 + '{"$eq": 1}' + "}" * 201, "nested", id="not"),
        pytest.param('{"a": {"$code": "f", "$scope": ' + '{"a": ' * 300 + "1" + "}" * 302, "nested", id="scope"),
        pytest.param(f'{{"{".".join("a" * 500)}": 1}}', "a.a.a", id="path"),
    ],
)
def test_a_part_that_no_operator_takes_is_named(line: str, names: str) -> None:
    _, error = read(f"x {line}")
    assert error is not None
    assert names in error.reason
    assert len(error.reason) < 300
    assert error.position == 2


def test_any_number_says_whether_a_field_exists() -> None:
    there, gone = '{"fullDocument.status": {"$exists": %s}}', '{"fullDocument.gone": {"$exists": %s}}'
    for text in ("sNaN", "-sNaN", "NaN", "1"):
        number = json.dumps({"$numberDecimal": text})
        assert parse_filter(there % number).matches(EVENT)
        assert not parse_filter(gone % number).matches(EVENT)
    assert parse_filter(gone % '{"$numberDecimal": "0"}').matches(EVENT)


@pytest.mark.parametrize(
    ("line", "passes"),
    [
        ("", True),
        ("op:update", True),
        ("op:UPD", True),
        ('op:"update"', True),
        ('op:"delete"', False),
        ("op:upd*", True),
        ("op:insert,update", True),
        ("-op:update", False),
        ("ns:uploads", True),
        ("ns:app.uploads.eu", True),
        ('ns:"app.uploads"', False),
        ("ns:app.*", True),
        ("ns:app", True),
        ("ns:*.upload", False),
        ("key:65f0", True),
        ("key:65F0…", True),
        ('key:"65f0"', False),
        (f'key:"{ID}"', True),
        ("key:*01", True),
        ("field:status", True),
        ("field:stat", True),
        ('field:"stat"', False),
        ("field:name", False),
        ("field:parts[3]", True),
        ("field:parts.3.etag", True),
        ('field:"parts"', True),
        ("field:error.code", True),
        ("field:old", True),
        ("field:par*", True),
        ("pending", True),
        ("grösse", False),
        ("GRÖSSE", False),
        ("größe", True),
        ("GRÖßE", True),
        ('"[1].bin"', True),
        ("*.bin", True),
        ("8388608", True),
        ("388", True),
        (str(ID), True),
        ("82FFEE", False),
        ("slowdown", True),
        ("updateDescription", False),
        ("nothing", False),
        ("-nothing", True),
        ("pending uploading", True),
        ("pending nothing", False),
        ('{"fullDocument.current": {"$gt": 5}}', True),
        ('{"fullDocument.current": {"$numberLong": "8388608"}}', True),
        ('{"documentKey._id": {"$oid": "65f000000000000000000001"}}', True),
        ('-{"operationType": "update"}', False),
        ('{"fullDocument.status": {"$regex": "^UP", "$options": "i", "$ne": "uploading"}}', False),
        ('{"fullDocument.status": {"$regex": "^UP", "$options": "i", "$ne": "x"}}', True),
    ],
)
def test_what_passes(line: str, passes: bool) -> None:
    assert parse_filter(line).matches(EVENT) is passes


def test_fields_of_a_replace_are_compared() -> None:
    replaced = ChangeEvent.from_raw(
        {"operationType": "replace", "fullDocumentBeforeChange": {"a": 1, "b": [{"c": 1}]}, "fullDocument": {"a": 1}}
    )
    assert parse_filter("field:b.0.c").matches(replaced)
    assert not parse_filter("field:a").matches(replaced)


@pytest.mark.parametrize("line", ["op:a", "ns:a", "key:a", "field:a", "a", '{"a": 1}'])
def test_events_without_anything_are_no_crash(line: str) -> None:
    assert parse_filter(line).matches(ChangeEvent.from_raw({})) is False


def test_stacking() -> None:
    base, more = parse_filter("op:update x"), parse_filter("x -y")
    stacked = base + more
    assert stacked.text == "op:update x -y"
    assert (stacked.head().text, stacked.body().text) == ("op:update", "x -y")
    assert not stacked.head().needs_documents
    assert stacked.needs_documents
    assert not Filter()
    assert Filter().matches(EVENT)


def test_a_word_of_many_stars_takes_no_time() -> None:
    long = ChangeEvent.from_raw({"fullDocument": {"text": "a" * 100_000}})
    assert not parse_filter("*a*a*a*a*a*a*b").matches(long)


def test_what_the_server_can_do() -> None:
    stages, rest = parse_filter('op:update words {"fullDocument.size": 5} -op:"drop"').server_part()
    assert stages == [
        {
            "$match": {
                "$and": [
                    {"operationType": {"$regex": "update", "$options": "is"}},
                    {"fullDocument.size": 5},
                    {"$nor": [{"operationType": "drop"}]},
                ]
            }
        }
    ]
    assert rest.text == "words"
    assert Filter().server_part() == ([], Filter())
    for line in ("ns:größe", "-ns:größe", "ns:a,größe"):  # it folds the case of other letters in its own way
        assert parse_filter(line).server_part() == ([], parse_filter(line))


@given(documents, st.sampled_from(["field:a", "text", "*", "a", "{}", '{"fullDocument.a": {"$gt": 0}}', "key:1"]))
def test_no_document_is_a_crash(document: dict[str, Any], line: str) -> None:
    raw = {
        "operationType": "replace",
        "fullDocument": document,
        "fullDocumentBeforeChange": {},
        "documentKey": document,
    }
    assert parse_filter(line).matches(ChangeEvent.from_raw(raw)) in (True, False)


def read_until(database: Database[Any], stages: list[dict[str, Any]], start: Timestamp, last: str) -> list[ChangeEvent]:
    """The events of a stream with these stages, up to the token `last`."""
    events = []
    with database.watch(
        stages, start_at_operation_time=start, full_document="whenAvailable", max_await_time_ms=20
    ) as stream:
        while True:
            raw = stream.try_next()
            if raw is not None:
                events.append(ChangeEvent.from_raw(raw))
            elif stream.resume_token is not None and stream.resume_token["_data"] >= last:
                return [event for event in events if event.token["_data"] <= last]


LINES = [
    *("op:update", "op:in", 'op:"insert"', "-op:insert,delete", "op:*te", "op:drop", "ns:other", "-ns:OTH", "ns:test"),
    *("ns:nothing", "key:exact", '{"fullDocument.n": {"$gte": 2}}', '-{"fullDocument.n": 2}', "op:x -op:insert ns:c"),
]


def test_the_server_passes_the_same_events(database: Database[Any]) -> None:
    watched = database.with_options(codec_options=EVENT_CODEC)
    start = database.client.admin.command("ping")["operationTime"]
    known = ObjectId()
    database.c.insert_many([{"n": n} for n in range(3)])
    database.other.insert_one({"_id": known, "n": 2})
    database.c.update_one({"n": 1}, {"$set": {"n": 5}})
    database.other.replace_one({"n": 2}, {"n": 7})
    database.c.delete_one({"n": 0})
    database.other.drop()
    with watched.watch(start_at_operation_time=start, full_document="whenAvailable", max_await_time_ms=20) as stream:
        everything = [ChangeEvent.from_raw(stream.next()) for _ in range(8)]
    assert [event.operation for event in everything][-2:] == ["delete", "drop"]
    database.c.insert_one({})  # moves the streams' own position behind the last of the events
    tried = 0
    for line in [*LINES, f'key:"{known}"', f'ns:"{database.name}.c"', f'ns:"{database.name}"']:
        wanted = parse_filter(line)
        stages, rest = wanted.server_part()
        if rest:
            continue
        there = read_until(watched, stages, start, everything[-1].token["_data"])
        here = [event for event in everything if wanted.matches(event)]
        assert [event.token for event in there] == [event.token for event in here], line
        tried += 1
    assert tried >= 15
