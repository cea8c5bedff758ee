"""What the errors of a change stream mean: go on, begin anew, or give up.

Owns the codes. Not here: what is done then (`feed`).

Server error codes: https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
"""

from __future__ import annotations

from typing import Final

from pymongo.errors import OperationFailure, PyMongoError

from console.records.connection import AUTHENTICATION_FAILED, NOT_A_REPLICA_SET, UNAUTHORIZED

INVALID_RESUME_TOKEN: Final = 260
HISTORY_TOO_SHORT: Final = 286
HISTORY_LOST: Final = frozenset({222, INVALID_RESUME_TOKEN, 280, HISTORY_TOO_SHORT})
"""CloseChangeStream, InvalidResumeToken, ChangeStreamFatalError (a token that this stream cannot find),
ChangeStreamHistoryLost: after the last token there is nothing to be had."""
TOKEN_REFUSED: Final = frozenset({INVALID_RESUME_TOKEN, 280})
"""Also said of a good token: one that this stream's filter, or its collection, leaves out."""
EVENT_TOO_LARGE: Final = 10334
"""BSONObjectTooLarge: both documents together are over 16 MiB."""
FATAL: Final = frozenset({UNAUTHORIZED, AUTHENTICATION_FAILED, NOT_A_REPLICA_SET})
_PASSING: Final = frozenset({50, 133, 134, 211, 262})
"""MaxTimeMSExpired, FailedToSatisfyReadPreference, ReadConcernMajorityNotAvailableYet, KeyNotFound,
ExceededTimeLimit: a server that is just starting says these, too."""


def code_of(error: PyMongoError) -> int | None:
    """The server's code, where it was the server that refused."""
    return error.code if isinstance(error, OperationFailure) else None


def is_fatal(error: PyMongoError, *, has_opened: bool) -> bool:
    """Whether the server will go on refusing: it does so by nature, or did from the start (a wrong pipeline, say)."""
    if not isinstance(error, OperationFailure) or error.code in HISTORY_LOST | _PASSING:
        return False
    return error.code in FATAL or not (has_opened or error.has_error_label("ResumableChangeStreamError"))
