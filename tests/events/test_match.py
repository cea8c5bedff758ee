"""The local evaluation of match expressions: what a real mongod finds, it finds."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import Binary, Code, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from hypothesis import given
from pymongo.database import Database
from pymongo.errors import OperationFailure

from console.events.bson_values import order
from console.events.match import LOGICAL, MatchError, compile_match

from .strategies import values

NAN = float("nan")
ID = ObjectId("65f000000000000000000001")
SCALARS: list[Any] = [
    *(0, 1, 2, -5, Int64(1), Int64(2**60), 1.0, 1.5, -0.0, NAN, float("inf"), Decimal128("1.50"), Decimal128("NaN")),
    *(None, True, False, "", "a", "abc", "ABC", b"a", Binary(b"a", 128), ID, datetime(2026, 1, 1, tzinfo=UTC)),
    *(
        Timestamp(1, 1),
        Regex("^a"),
        Regex("^a", "i"),
        MinKey(),
        MaxKey(),
        Code("f"),
        Code("f", {"x": 1}),
        DBRef("c", ID),
    ),
]


def some_value(chance: random.Random, depth: int) -> Any:
    """A value of a small domain, so that queries hit."""
    kind = chance.random()
    if depth and kind < 0.35:
        return {name: some_value(chance, depth - 1) for name in chance.sample("ab01", chance.randint(0, 3))}
    if depth and kind < 0.65:
        return [some_value(chance, depth - 1) for _ in range(chance.randint(0, 3))]
    return chance.choice(SCALARS)


def some_path(chance: random.Random) -> str:
    return ".".join(chance.choice(["a", "b", "a", "0", "1"]) for _ in range(chance.randint(1, 3)))


def some_operators(chance: random.Random, depth: int) -> Any:
    def pick() -> Any:
        return some_value(chance, 1 if chance.random() < 0.3 else 0)

    def nested() -> Any:
        operators = some_operators(chance, depth - 1) if depth else {"$eq": pick()}
        return operators if isinstance(operators, dict) else {"$eq": operators}

    makers: list[Any] = [
        lambda: pick(),
        lambda: {chance.choice(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"]): pick()},
        lambda: {"$gte": pick(), "$lt": pick()},
        lambda: {chance.choice(["$in", "$nin", "$all"]): [pick() for _ in range(chance.randint(0, 3))]},
        lambda: {"$exists": chance.choice([True, False, 0, 1, 1.0, None, Decimal128("0")])},
        lambda: {
            "$type": chance.choice(["array", "object", "number", "int", "null", "string", 1, 5, -1, [3, "bool"], 2.0])
        },
        lambda: {"$regex": chance.choice(["^a", "B", ""]), **chance.choice([{}, {"$options": "i"}])},
        lambda: {"$size": chance.choice([0, 1, 2, 2.0, Int64(3)])},
        lambda: {"$mod": [chance.choice([2, 3, -3, 1.9]), chance.choice([0, 1, -2])]},
        lambda: {"$not": nested()},
        lambda: {"$elemMatch": nested()},
        lambda: {"$elemMatch": some_query(chance, depth - 1) if depth else {"a": pick()}},
        lambda: {"$all": [{"$elemMatch": nested()} for _ in range(chance.randint(1, 2))]},
    ]
    return chance.choice(makers)()


def some_query(chance: random.Random, depth: int) -> dict[str, Any]:
    if depth and chance.random() < 0.2:
        return {chance.choice(sorted(LOGICAL)): [some_query(chance, depth - 1) for _ in range(chance.randint(1, 2))]}
    return {some_path(chance): some_operators(chance, depth) for _ in range(chance.randint(1, 2))}


@pytest.mark.parametrize("seed", range(4))
def test_finds_what_the_server_finds(database: Database[dict[str, Any]], seed: int) -> None:
    chance = random.Random(seed)
    documents = [{"_id": n, **dict.fromkeys("a", some_value(chance, 3))} for n in range(150)]
    documents += [{"_id": 150 + n, "a": value, "b": some_value(chance, 1)} for n, value in enumerate(SCALARS)]
    documents.append({"_id": 999})
    database.c.insert_many(documents)
    stored = list(database.c.find())
    evaluated = 0
    for _ in range(400):
        query = some_query(chance, 2)
        try:
            wanted = {document["_id"] for document in database.c.find(query, {"_id": 1})}
        except OperationFailure:
            continue  # an expression that is none: what we say of those is tested below
        try:
            matches = compile_match(query)
        except MatchError as error:
            pytest.fail(f"the server takes {query!r}, we say: {error.message}")
        found = {document["_id"] for document in stored if matches(document)}
        differing = [document for document in stored if document["_id"] in wanted ^ found]
        assert not differing, (query, differing[:3], "server finds them" if differing[0]["_id"] in wanted else "we do")
        evaluated += 1
    assert evaluated > 150


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"a": {"$near": [0, 0]}}, "$near"),
        ({"a": {"$gt": 1, "b": 2}}, "b"),
        ({"a": {"$not": {"$foo\x1b": 1}}}, r"$foo\x1b"),
        ({"$foo": 1}, "$foo"),
        ({"$and": []}, "$and"),
        ({"$or": {"a": 1}}, "$or"),
        ({"$nor": [5]}, "5"),
        ({"a": {"$in": 5}}, "$in"),
        ({"a": {"$nin": [{"$gt": 5}]}}, "$nin"),
        ({"a": {"$all": 5}}, "$all"),
        ({"a": {"$all": [{"$gt": 5}]}}, "$all"),
        ({"a": {"$all": [{"$elemMatch": {"a": 1}}, 5]}}, "$all"),
        ({"a": {"$elemMatch": 5}}, "$elemMatch"),
        ({"a": {"$size": -1}}, "$size"),
        ({"a": {"$size": 1.5}}, "$size"),
        ({"a": {"$size": "2"}}, "$size"),
        ({"a": {"$mod": [0, 1]}}, "$mod"),
        ({"a": {"$mod": [2]}}, "$mod"),
        ({"a": {"$mod": ["2", 1]}}, "$mod"),
        ({"a": {"$type": "text"}}, "text"),
        ({"a": {"$type": True}}, "$type"),
        ({"a": {"$type": []}}, "$type"),
        ({"a": {"$regex": 5}}, "$regex"),
        ({"a": {"$regex": "("}}, "$regex"),
        ({"a": {"$regex": "a", "$options": "q"}}, "$options"),
        ({"a": {"$regex": "a", "$options": 5}}, "$options"),
        ({"a": {"$regex": Regex("a", "i"), "$options": "m"}}, "$regex"),
        ({"a": {"$options": "i"}}, "$options"),
        ({"a": {"$not": 5}}, "$not"),
        ({"a": {"$not": {}}}, "$not"),
        ({"a": {"$not": {"b": 1}}}, "b"),
        ({"a": {"$ne": Regex("a")}}, "$ne"),
        ({"a": {"$lt": Regex("a")}}, "$lt"),
    ],
)
def test_what_the_server_refuses_is_refused_by_name(
    database: Database[dict[str, Any]], query: dict[str, Any], named: str
) -> None:
    with pytest.raises(MatchError) as caught:
        compile_match(query)
    assert named in caught.value.message
    if "$near" not in str(query):
        with pytest.raises(OperationFailure):
            database.c.find_one(query)


@pytest.mark.parametrize("operator", ["$expr", "$where", "$text", "$jsonSchema", "$geoWithin", "$bitsAllSet"])
def test_what_cannot_be_evaluated_here_is_said_with_what_can(operator: str) -> None:
    for query in ({operator: 1}, {"a": {operator: 1}}):
        with pytest.raises(MatchError) as caught:
            compile_match(query)
        assert operator in caught.value.message
        assert "$elemMatch" in caught.value.advice
    with pytest.raises(MatchError):
        compile_match([])


def test_a_comment_says_nothing() -> None:
    assert compile_match({"$comment": "why", "a": 1})({"a": 1})
    assert compile_match({})({})


@given(values, values, values)
def test_the_order_is_an_order(first: Any, second: Any, third: Any) -> None:
    assert order(first, first) == 0
    assert (order(first, second) > 0) == (order(second, first) < 0)
    if order(first, second) <= 0 and order(second, third) <= 0:
        assert order(first, third) <= 0


def test_the_order_is_the_servers(database: Database[dict[str, Any]]) -> None:
    chance = random.Random(1)
    stored = [{"_id": n, "v": {"in": some_value(chance, 3)}} for n in range(400)]
    database.c.insert_many(stored)
    sorted_there = [document["v"]["in"] for document in database.c.find().sort("v", 1)]
    for first, second in itertools.pairwise(sorted_there):
        assert order(first, second) <= 0
