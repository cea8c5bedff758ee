"""The errors that people see: the roots of their tree.

The words are written where the fault is met, and narrower classes stand beside what raises them. What S3 answers to a
transfer is sorted into the document's `error` by `s3.transfer_errors`.

    ConsoleError                 exit code
    ├── UsageError                   2   a flag, path or id that makes no sense
    │   └── MongoRefuses             2   MongoDB will not do it so: a view, an index in the way
    ├── ConfigurationError           2   file, environment or flags hold a wrong setting
    ├── ServerUnreachable            3   MongoDB or S3 does not answer, or not to us
    │   └── MongoUnsuitable          3   MongoDB answers but cannot serve (no replica set, too old, no right)
    └── EmbeddedServerFailed         3   a server of `demo` or `services` did not start or ended
"""

from __future__ import annotations


class ConsoleError(Exception):
    """An error with what happened in `message` and what to do about it in `advice`."""

    title = "Error"
    exit_code = 1

    def __init__(self, message: str, *, advice: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice


class UsageError(ConsoleError):
    """The command was called with something that cannot be carried out."""

    title = "Wrong usage"
    exit_code = 2


class MongoRefuses(UsageError):
    """MongoDB answers, and refuses what was asked of it; it would again."""

    title = "MongoDB refuses"


class ConfigurationError(ConsoleError):
    """A setting is unknown, missing or wrong; the message names its file, key and what was expected."""

    title = "Configuration"
    exit_code = 2


class ServerUnreachable(ConsoleError):
    """A server does not answer, or refuses us."""

    title = "Server out of reach"
    exit_code = 3


class MongoUnsuitable(ServerUnreachable):
    """MongoDB answers, but change streams or the collection cannot be had from it."""

    title = "MongoDB cannot serve the console"


class EmbeddedServerFailed(ConsoleError):
    """An embedded server did not start, or ended by itself."""

    title = "Embedded server"
    exit_code = 3
