"""AWS settings and credentials, from boto3's own chain alone: environment, profile, SSO, instance role.

Owns opening a session, the words for settings that cannot be used, and reading credentials again when the files that
they come from change: a program that runs for weeks outlives its access key.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import botocore.exceptions as aws
from botocore.credentials import ReadOnlyCredentials
from botocore.loaders import Loader
from botocore.session import Session, get_session

from console.errors import ConfigurationError
from console.formatting import visible

_ADVICE: Final = (
    "Run `aws configure` or `aws sso login`, set s3.profile, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
)
LOOK_SECONDS: Final = 1.0
_UNCHANGING: Final = frozenset({"env", "explicit"})
"""Credentials that no file holds, by botocore's names of where it found them."""

_UNUSABLE: Final = (aws.BotoCoreError, ValueError, OSError)

State = tuple[tuple[int, int, int] | None, ...]


def open_session(profile: str | None = None, region: str | None = None) -> Session:
    """Where credentials and settings of AWS come from.

    Raises:
        ConfigurationError: an unknown profile, a file that cannot be read, half a key.
    """
    try:
        underlying = _new_session(profile)
        chain = underlying.get_component("credential_provider")
        underlying.register_component("credential_provider", _RenewingChain(chain, underlying, profile))
        named: str | None = underlying.get_config_variable("data_path")
        underlying.register_component("data_loader", _Descriptions(named.split(os.pathsep) if named else []))
        if region is not None:
            underlying.set_config_variable("region", region)
        return underlying
    except _UNUSABLE as error:
        raise _unusable(error, profile) from None


def require_credentials(session: Session) -> None:
    """Raises `ConfigurationError`: there are none, or they cannot be had."""
    try:
        credentials = session.get_credentials()
    except _UNUSABLE as error:
        raise _unusable(error, None) from None
    if credentials is None:
        raise ConfigurationError("no AWS credentials were found", advice=_ADVICE)


def require_ca_bundle(session: Session) -> None:
    """Raises `ConfigurationError`: certificates are named that are not there. Each request would fail as if the
    connection were broken."""
    named: str | None = session.get_config_variable("ca_bundle")
    if named and not os.path.exists(named):  # noqa: PTH110 - as botocore takes it
        raise ConfigurationError(
            f"AWS_CA_BUNDLE, or ca_bundle of the profile: there is no {visible(named)}",
            advice="Correct it, or set s3.ca_bundle.",
        )


def _unusable(error: Exception, profile: str | None) -> ConfigurationError:
    """What AWS's settings, wherever they come from, were refused for."""
    if isinstance(error, aws.ProfileNotFound):
        name, where = (profile, "s3.profile") if profile is not None else (os.environ.get("AWS_PROFILE"), "AWS_PROFILE")
        if name is None:
            name, where = os.environ.get("AWS_DEFAULT_PROFILE", ""), "AWS_DEFAULT_PROFILE"
        return ConfigurationError(
            f"{where}: there is no AWS profile {visible(repr(name))}",
            advice=f"Known profiles: {_known_profiles()}. `aws configure --profile NAME` makes one.",
        )
    if isinstance(error, aws.ConfigParseError):
        path = str(error.kwargs.get("path", ""))
        return ConfigurationError(
            f"AWS settings: {visible(path)} cannot be read{_parse_problem(path)}",
            advice="It must be UTF-8 without byte order mark, with [default] or [PROFILE] before its first key, and "
            "each key once. `aws configure` writes such a file.",
        )
    return ConfigurationError(f"AWS credentials: {visible(str(error))}", advice=_ADVICE)


def _new_session(profile: str | None) -> Session:
    session = get_session()
    if profile is not None:
        session.set_config_variable("profile", profile)
    return session


def _known_profiles() -> str:
    with_default = get_session()
    with_default.set_config_variable("profile", None)  # the one that is set does not exist
    try:
        names = with_default.available_profiles
    except aws.BotoCoreError:
        names = []
    return ", ".join(visible(name) for name in names) or "none"


def _parse_problem(path: str) -> str:
    """Which line, if one is to blame. The line itself may hold a secret, and is not shown."""
    import configparser

    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - as botocore names it
            configparser.RawConfigParser(default_section="").read_file(file)
    except configparser.Error as error:
        line = getattr(error, "lineno", None)
        return f": line {line}" if line else ""
    except (OSError, UnicodeDecodeError) as error:
        return f": {visible(getattr(error, 'strerror', None) or 'it is no UTF-8')}"
    return ""


class _RenewingChain:
    """botocore's chain of providers. What it finds is looked for again when the files that may hold it change."""

    def __init__(self, chain: Any, session: Session, profile: str | None) -> None:
        self._chain = chain
        self._paths = [
            os.path.expanduser(path)  # noqa: PTH111 - as botocore does
            for name in ("credentials_file", "config_file")
            if (path := session.get_config_variable(name))
        ]
        self._profile = profile

    def get_provider(self, name: str) -> Any:
        return self._chain.get_provider(name)

    def load_credentials(self) -> Any:
        found = self._chain.load_credentials()
        if found is None or found.method in _UNCHANGING:
            return found

        def load_again() -> Any:
            return _new_session(self._profile).get_component("credential_provider").load_credentials()

        return RenewedCredentials(found, load_again, self._paths)


class RenewedCredentials:
    """botocore's credentials, looked for again once one of the files changed. Those in use stay while the new ones
    cannot be read: a file may be half written. Thread-safe."""

    def __init__(self, found: Any, load_again: Callable[[], Any], paths: Sequence[str]) -> None:
        self._found = found
        self._load_again = load_again
        self._paths = list(paths)
        self._state = self._look()
        self._lock = threading.Lock()
        self._next_look = time.monotonic() + LOOK_SECONDS

    def __getattr__(self, name: str) -> Any:
        """Everything else as those in use have it; asked only then, for some are fetched from a server."""
        return getattr(self._found, name)

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """Those to sign with now."""
        if time.monotonic() >= self._next_look and self._lock.acquire(blocking=False):
            try:
                self._renew_if_changed()
                self._next_look = time.monotonic() + LOOK_SECONDS
            finally:
                self._lock.release()
        try:
            frozen: ReadOnlyCredentials = self._found.get_frozen_credentials()
        except (OSError, ValueError, KeyError, TypeError) as error:  # a token file that is gone, an answer of no sense
            reason = f"{type(error).__name__}: {error}" if isinstance(error, KeyError | TypeError) else str(error)
            raise aws.CredentialRetrievalError(provider=self._found.method, error_msg=reason) from error
        return frozen

    def _renew_if_changed(self) -> None:
        state = self._look()
        if state == self._state:
            return
        try:
            found = self._load_again()
        except _UNUSABLE:
            return  # the next look may find more
        if found is not None:
            self._found, self._state = found, state

    def _look(self) -> State:
        return tuple(_state(path) for path in self._paths)


def _state(path: str) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - called for each look
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


class _Descriptions(Loader):
    """botocore's descriptions of services, without looking into each of its 450 folders, twice, to see whether S3's is
    among them: half the time of making a client (24 ms)."""

    def __init__(self, search_paths: Sequence[str]) -> None:
        """`search_paths` as in AWS_DATA_PATH, beside botocore's own."""
        super().__init__([os.path.expanduser(os.path.expandvars(path)) for path in search_paths])  # noqa: PTH111

    def list_available_services(self, type_name: str) -> list[str]:
        """All that have a folder; whether it holds that type of description is seen when it is read."""
        found = {name for path in self.search_paths if os.path.isdir(path) for name in os.listdir(path)}  # noqa: PTH112, PTH208
        return sorted(found)
