"""Every way a document's `status` and `requested` change, as a conditional update.

Owns the filters (the old state that must still be so) and the update pipelines; pure, nothing is sent here. All
times are the server's (`$$NOW`), so that clocks of hosts that differ cannot give one upload two owners.

    pending ──claim──> uploading ──complete──> completed
       ^  ^               │  │ └────fail─────> failed ────┐
       │  └─resume── paused  └──stop(cancel)─> cancelled ─┤
       └──────────────────────── retry ───────────────────┘

Who may: a runner moves what it holds by its own claim; whoever acts moves what nobody holds. A paused document with
`requested: run` was left by a runner that had to end: the next runner of that host goes on with it. Cancelling wins
over all that is requested later, until the document is at an end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from bson import Int64, ObjectId

from console.models import NOT_ALLOWED, Checksum, Endpoint, Multipart, Requested, UploadStatus

Filter = dict[str, Any]
Fields = dict[str, Any]

NOW: Final = "$$NOW"
OPEN: Final = (UploadStatus.PENDING.value, UploadStatus.PAUSED.value, UploadStatus.UPLOADING.value)
KEY_CLAIM: Final = "key_claim"
LEASE_LIVE: Final = {"$gt": ["$lease.expires_at", NOW]}
_MOST_REFUSALS: Final = 100
_IS_CANCEL: Final = {"$eq": ["$requested", Requested.CANCEL.value]}


def literal(value: Any) -> Any:
    """A value as data: in an update pipeline a string that begins with `$` would be read as a field.

    Surrogates (file names that are no UTF-8, in messages of the system) become escapes: BSON has none.
    """
    return {"$literal": _storable(value)}


def number(field: str) -> Fields:
    """A field's number; 0 where there is none, or something else that others wrote."""
    return {"$cond": [{"$isNumber": f"${field}"}, f"${field}", 0]}


def lease_until(runner: str, seconds: float) -> Fields:
    """A lease from now on."""
    return {"runner": literal(runner), "expires_at": {"$add": [NOW, int(seconds * 1000)]}}


def key_claim(endpoint: Endpoint, bucket: str, key: str) -> Fields:
    """What says in an upload's document that the key is its own. A unique index lets one document have it; every
    transition that ends the claim of the upload gives it back."""
    return {"endpoint": endpoint.name, "bucket": bucket, "key": key}


def free(dead: Sequence[str] = ()) -> Filter:
    """Nobody holds a live lease; `dead` are runners that are known to have ended before their leases do."""
    ran_out: Filter = {"$expr": {"$not": [LEASE_LIVE]}}
    return {"$or": [ran_out, {"lease.runner": {"$in": list(dead)}}]} if dead else ran_out


def at_endpoint(endpoint: Endpoint) -> Filter:
    """The object belongs to this S3 service. Older versions knew one service, and named none."""
    return {"endpoint": {"$in": [*endpoint.names, None]}}


def held_by(runner: str, attempt: int | None = None) -> Filter:
    """The runner is at work on it, and still the one that may write.

    Every claim counts `attempts` up, so that writes of an earlier claim by the same runner find nothing.
    """
    claim_of = {} if attempt is None else {"attempts": attempt}
    return {"status": UploadStatus.UPLOADING.value, "lease.runner": runner, **claim_of}


def claimable(host: str, dead: Sequence[str] = ()) -> Filter:
    """What a runner of the host may take: wanted, not at its end, and held by nobody who lives."""
    return {"host": host, "status": {"$in": list(OPEN)}, "requested": Requested.RUN.value, **free(dead)}


def within_hours(minute: int) -> Filter:
    """It may be carried out at this minute of the day."""
    return {"$or": [{"hours": None}, {"hours": {"$elemMatch": {"start": {"$lte": minute}, "end": {"$gt": minute}}}}]}


def claimable_elsewhere() -> Filter:
    """What a runner of any host may take if it sees the file: its own host's runner has gone."""
    return {"status": UploadStatus.UPLOADING.value, "requested": Requested.RUN.value, **free()}


def unsettled(dead: Sequence[str] = ()) -> Filter:
    """What shall pause or be cancelled, and nobody is there to do so: its runner died, or others wrote `requested`.

    Settled by `stopped`.
    """
    shall = [
        {"requested": Requested.CANCEL.value, "status": {"$in": list(OPEN)}},
        {
            "requested": Requested.PAUSE.value,
            "status": {"$in": [UploadStatus.PENDING.value, UploadStatus.UPLOADING.value]},
        },
    ]
    # Others' documents may have a `status` and a `requested` too.
    is_upload = {"bucket": {"$type": "string"}, "key": {"$type": "string"}, "fingerprint": {"$type": "string"}}
    return {"$and": [is_upload, {"$or": shall}, free(dead)]}


def needs_cleanup() -> Filter:
    """Cancelled, with an open multipart upload that nobody is aborting right now."""
    return {"status": UploadStatus.CANCELLED.value, "multipart.upload_id": {"$exists": True}, **free()}


def refused(by: str, reason: str) -> Fields:
    """A runner may not carry it out, and neither may others that are `by` (`runner.policy`); it waits for one that may.

    The oldest are forgotten where very many look at it: they refuse it once more.
    """
    known = {"$cond": [{"$isArray": "$refused_by"}, "$refused_by", []]}
    others = {"$filter": {"input": known, "cond": {"$ne": ["$$this", literal(by)]}}}
    return {
        "refused_by": {"$slice": [{"$concatArrays": [others, [literal(by)]]}, -_MOST_REFUSALS]},
        **failure(NOT_ALLOWED, reason),
    }


def claim(
    runner: str,
    lease_seconds: float,
    *,
    endpoint: Endpoint | None = None,
    to_host: str | None = None,
    small: int | None = None,
) -> Fields:
    """The runner takes it. `to_host` makes it that host's: else only a host that has gone could go on with it later.

    Where the record names no endpoint, it is `endpoint`'s from now on. A file of up to `small` bytes that is sent for
    the first time, and may replace what is there, has its key at once; others ask for theirs when their turn comes, as
    whoever waits in a queue must keep no key from one that is being sent.
    """
    its_claim: Any = "$$REMOVE"
    if endpoint is not None and small is not None:
        is_small = {
            "$and": [
                {"$lte": ["$size", small]},
                {"$eq": [number("attempts"), 0]},
                {"$eq": [{"$ifNull": ["$duplicates", "overwrite"]}, "overwrite"]},
            ]
        }
        its_key = {"endpoint": literal(endpoint.name), "bucket": "$bucket", "key": "$key"}
        its_claim = {"$cond": [is_small, its_key, "$$REMOVE"]}
    return {
        **({"host": literal(to_host)} if to_host is not None else {}),
        **({"endpoint": {"$ifNull": ["$endpoint", literal(endpoint.name)]}} if endpoint is not None else {}),
        "status": UploadStatus.UPLOADING.value,
        "lease": lease_until(runner, lease_seconds),
        KEY_CLAIM: its_claim,
        "attempts": {"$add": [number("attempts"), 1]},
        "started_at": {"$ifNull": ["$started_at", NOW]},
        "finished_at": None,
        "rate": 0.0,
        "sent": None,
        # Those that may not have it are no news any more.
        "refused_by": "$$REMOVE",
        "error": {"$cond": [{"$eq": ["$error.code", NOT_ALLOWED]}, None, "$error"]},
        "updated_at": NOW,
    }


def completed(
    *, key: str, checksum: Checksum | None, etag: str | None, version_id: str | None, result_seal: str | None = None
) -> Fields:
    """S3 confirmed the object. What failed before is in the change events; here it would read as if it still did."""
    return {
        **_ended(UploadStatus.COMPLETED),
        "error": None,
        "current": "$size",
        "percentage": 100.0,
        "key": literal(key),
        "multipart": None,
        "checksum": literal(checksum.model_dump() if checksum else None),
        "etag": literal(etag),
        "version_id": literal(version_id),
        "result_seal": literal(result_seal),
    }


def together(ids: Sequence[ObjectId], changes: Sequence[Fields]) -> Fields:
    """One change for all of them in place of one for each: each document finds its own literals by its `_id`.

    A statement for each document costs the server twice as much. `changes` set the same fields, and where two differ
    in one, both are a `literal`.
    """
    which = {"$indexOfArray": [{"$literal": list(ids)}, "$_id"]}

    def of_all(name: str) -> Any:
        values = [change[name] for change in changes]
        if all(value == values[0] for value in values):
            return values[0]
        return {"$arrayElemAt": [{"$literal": [value["$literal"] for value in values]}, which]}

    return {name: of_all(name) for name in changes[0]}


def released_since(attempt: int) -> Filter:
    """Somebody paused, resumed or cancelled it after the lease had run out, and nobody has claimed it since."""
    settled = [UploadStatus.PENDING.value, UploadStatus.PAUSED.value, UploadStatus.CANCELLED.value]
    return {"status": {"$in": settled}, "attempts": attempt}


def failed(code: str, message: str, *, multipart_gone: bool) -> Fields:
    """It cannot go on without a person, or not at all. Where it shall be cancelled, that is what it becomes."""
    return {
        **_ended(UploadStatus.FAILED),
        "status": {"$cond": [_IS_CANCEL, UploadStatus.CANCELLED.value, UploadStatus.FAILED.value]},
        **failure(code, message),
        **_multipart(multipart_gone),
    }


def stopped(*, leaving: bool) -> Fields:
    """The runner releases it; what it becomes is what is requested at that very moment."""
    requested_run = UploadStatus.PAUSED if leaving else UploadStatus.PENDING
    is_run = {"$eq": ["$requested", Requested.RUN.value]}
    otherwise = {"$cond": [is_run, requested_run.value, UploadStatus.PAUSED.value]}
    return {
        "status": {"$cond": [_IS_CANCEL, UploadStatus.CANCELLED.value, otherwise]},
        "finished_at": {"$cond": [_IS_CANCEL, NOW, None]},
        "lease": None,
        KEY_CLAIM: "$$REMOVE",
        "rate": 0.0,
        "updated_at": NOW,
    }


def may_become(status: Any) -> frozenset[str]:
    """The states that a transition's `status` may come to: itself, or either branch of a condition."""
    if isinstance(status, str):
        return frozenset({status})
    _, so, otherwise = status["$cond"]
    return may_become(so) | may_become(otherwise)


def multipart_opened(multipart: Multipart) -> Fields:
    """S3 gave an upload id; it is in the record before the first part is sent."""
    return {"multipart": literal(multipart.model_dump()), "updated_at": NOW}


def multipart_closed() -> Fields:
    """The multipart upload is gone; what it held counts no longer."""
    return {**_multipart(gone=True), "updated_at": NOW}


def failure(code: str, message: str) -> Fields:
    """What went wrong last."""
    return {"error": {"code": literal(code), "message": literal(message), "at": NOW}, "updated_at": NOW}


def request(requested: Requested) -> tuple[Filter, Fields]:
    """What somebody wants; settles the status too where nobody holds a live lease."""
    wanted: Filter = {"status": {"$in": list(OPEN)}}
    if requested is not Requested.CANCEL:
        wanted["requested"] = {"$ne": Requested.CANCEL.value}
    settled = {
        Requested.RUN: UploadStatus.PENDING,
        Requested.PAUSE: UploadStatus.PAUSED,
        Requested.CANCEL: UploadStatus.CANCELLED,
    }[requested]
    fields: Fields = {
        "requested": requested.value,
        "status": {"$cond": [LEASE_LIVE, "$status", settled.value]},
        "lease": {"$cond": [LEASE_LIVE, "$lease", None]},
        KEY_CLAIM: {"$cond": [LEASE_LIVE, f"${KEY_CLAIM}", "$$REMOVE"]},
        "rate": {"$cond": [LEASE_LIVE, "$rate", 0.0]},
        "updated_at": NOW,
    }
    if requested is Requested.CANCEL:
        # A failed upload may hold parts in the bucket: cancelling it says that they are not wanted any more.
        wanted["status"]["$in"].append(UploadStatus.FAILED.value)
        fields["finished_at"] = {"$cond": [LEASE_LIVE, None, NOW]}
    return wanted, fields


def retry() -> tuple[Filter, Fields]:
    """Failed and cancelled uploads start again, after what S3 still has of them."""
    fields: Fields = {
        "status": UploadStatus.PENDING.value,
        "requested": Requested.RUN.value,
        "lease": None,
        KEY_CLAIM: "$$REMOVE",
        "finished_at": None,
        "updated_at": NOW,
    }
    return {"status": {"$in": [UploadStatus.FAILED.value, UploadStatus.CANCELLED.value]}}, fields


def cleaned_up() -> Fields:
    """The multipart upload of a cancelled document is gone."""
    return {"lease": None, **_multipart(gone=True), "updated_at": NOW}


def _ended(status: UploadStatus) -> Fields:
    return {
        "status": status.value,
        "lease": None,
        KEY_CLAIM: "$$REMOVE",
        "rate": 0.0,
        "finished_at": NOW,
        "updated_at": NOW,
    }


def _multipart(gone: bool) -> Fields:
    return {"multipart": None, "current": Int64(0), "percentage": 0.0} if gone else {}


def _storable(value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_storable(name): _storable(inner) for name, inner in value.items()}
    return [_storable(inner) for inner in value] if isinstance(value, list) else value
