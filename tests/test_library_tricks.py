"""The parts of libraries that docs/architecture.md lists under "Tricks": they are as we rely on them.

Most are private, so an update may change them without a word; each failure says whose, and which of our files uses it.
"""

from __future__ import annotations

import ctypes
import gc
import inspect
import os
import sys
from collections.abc import Callable
from typing import Any

import pytest
import watchfiles._rust_notify
from botocore import httpsession
from botocore.awsrequest import AWSResponse
from botocore.loaders import Loader
from textual.app import App
from textual.message_pump import MessagePump
from textual.reactive import Reactive
from textual.widgets import Input

_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="it is used on Linux only")


def _require(name: str, library: str, file: str, *, holds: bool) -> None:
    assert holds, f"{library} changed {name}, on which console/{file} relies: see docs/architecture.md, Tricks"


def _parameters(function: Callable[..., Any] | None) -> list[str]:
    # A console that ran in this process has put its own function in the place of Textual's.
    if (theirs := _theirs(function)) is None:
        return []
    return list(inspect.signature(theirs).parameters)


def _theirs(function: Callable[..., Any] | None) -> Callable[..., Any] | None:
    return getattr(function, "__wrapped__", function)


@pytest.mark.parametrize(
    ("owner", "name", "parameters", "file"),
    [
        (MessagePump, "_dispatch_message", ["self", "message"], "ui/crash.py"),
        (App, "_fatal_error", ["self"], "ui/base_app.py"),
        (App, "_handle_exception", ["self", "error"], "ui/base_app.py"),
        (App, "panic", ["self", "renderables"], "ui/base_app.py"),
    ],
)
def test_methods_of_textual(owner: type, name: str, parameters: list[str], file: str) -> None:
    holds = _parameters(getattr(owner, name, None)) == parameters
    _require(f"{owner.__name__}.{name}", "Textual", file, holds=holds)


def test_messages_are_dispatched_by_a_coroutine() -> None:
    holds = inspect.iscoroutinefunction(_theirs(inspect.getattr_static(MessagePump, "_dispatch_message", None)))
    _require("MessagePump._dispatch_message", "Textual", "ui/crash.py", holds=holds)


def test_faults_call_the_method_that_the_console_replaces() -> None:
    holds = "_fatal_error" in App._handle_exception.__code__.co_names
    _require("App._handle_exception", "Textual", "ui/base_app.py", holds=holds)


def test_the_size_of_an_input_is_a_reactive_that_can_be_replaced() -> None:
    holds = isinstance(inspect.getattr_static(Input, "virtual_size", None), Reactive)
    _require("Input.virtual_size", "Textual", "ui/widgets/filter_line.py", holds=holds)


def test_botocore_reads_the_size_of_pieces_from_its_module() -> None:
    holds = isinstance(getattr(httpsession, "BUFFER_SIZE", None), int | None) and hasattr(httpsession, "BUFFER_SIZE")
    readers = [
        member.__name__
        for kind in vars(httpsession).values()
        if inspect.isclass(kind) and kind.__module__ == httpsession.__name__
        for member in vars(kind).values()
        if inspect.isfunction(member) and "BUFFER_SIZE" in member.__code__.co_names
    ]
    _require("httpsession.BUFFER_SIZE", "botocore", "s3/client.py", holds=holds and bool(readers))


def test_botocore_makes_its_answers_of_the_class_in_its_module() -> None:
    readers = httpsession.URLLib3Session.send.__code__.co_names
    holds = "AWSResponse" in readers and "content" in readers and isinstance(AWSResponse.content, property)
    _require("awsrequest.AWSResponse", "botocore", "s3/client.py", holds=holds)


def test_botocore_finds_its_descriptions_by_search_paths() -> None:
    holds = _parameters(Loader.__init__)[:2] == ["self", "extra_search_paths"] and hasattr(Loader, "search_paths")
    _require("Loader.__init__ or Loader.search_paths", "botocore", "s3/credentials.py", holds=holds)
    holds = "s3" in Loader().list_available_services(type_name="service-2")
    _require("Loader.list_available_services", "botocore", "s3/credentials.py", holds=holds)


def test_the_interface_of_watchfiles_to_the_system() -> None:
    rust = getattr(watchfiles._rust_notify, "RustNotify", None)
    made = ["watch_paths", "debug", "force_polling", "poll_delay_ms", "recursive", "ignore_permission_denied"]
    _require("_rust_notify.RustNotify", "watchfiles", "watch/watchfiles.py", holds=_parameters(rust) == made)
    asked = ["self", "debounce_ms", "step_ms", "timeout_ms", "stop_event"]
    holds = _parameters(getattr(rust, "watch", None)) == asked
    _require("RustNotify.watch", "watchfiles", "watch/watchfiles.py", holds=holds)


@pytest.mark.parametrize(
    ("owner", "name", "file"),
    [
        (gc, "freeze", "__main__.py"),
        (gc, "callbacks", "__main__.py"),
        (gc, "set_threshold", "__main__.py"),
        (os, "_exit", "__main__.py"),
        (sys, "setswitchinterval", "ui/feed_pump.py"),
    ],
)
def test_switches_of_python(owner: Any, name: str, file: str) -> None:
    _require(f"{owner.__name__}.{name}", "Python", file, holds=hasattr(owner, name))


@_LINUX
@pytest.mark.parametrize(("name", "file"), [("prctl", "embedded/supervisor.py"), ("syscall", "files/beneath.py")])
def test_functions_of_the_c_library(name: str, file: str) -> None:
    _require(name, "the C library", file, holds=hasattr(ctypes.CDLL(None), name))
