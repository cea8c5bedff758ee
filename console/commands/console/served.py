"""`serve`: the same console in a browser, each visit a process of its own, by textual-serve.

It listens on this host alone, and lets in only who knows its address: a console may do all that its user may. The token
is a part of each path, and no cookie: a browser sends those to every port of this host, to that of another user too.
"""

from __future__ import annotations

import logging
import os
import secrets
import shlex
import signal
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from console.cli.process import start_last_resort
from console.errors import UsageError
from console.settings import ENVIRONMENT_PREFIX

LOOPBACK: Final = "127.0.0.1"
_LOOK_SECONDS: Final = 1.0
_END_SECONDS: Final = 6.0
_ADVICE: Final = "Install it: pip install 'upload-console[serve]' (pipx inject upload-console textual-serve)."

Handler = Callable[[Any], Awaitable[Any]]


def run(arguments: Sequence[str], *, mongodb_uri: str | None, port: int) -> int:
    """Serve until interrupted; `arguments` are those of the consoles. Returns 0.

    Raises:
        UsageError: textual-serve is not installed, or the port is taken.
    """
    try:
        import aiohttp.web
        from textual_serve.server import Server
    except ImportError:
        raise UsageError("`serve` needs textual-serve, which is not installed", advice=_ADVICE) from None
    if mongodb_uri is not None:  # on a command line everybody on this host could read it
        os.environ[f"{ENVIRONMENT_PREFIX}MONGODB__URI"] = mongodb_uri
    token = secrets.token_urlsafe(24)
    listener = _listener(port)
    port = listener.getsockname()[1]
    hosts = (f"{LOOPBACK}:{port}", f"localhost:{port}")

    @aiohttp.web.middleware
    async def only_with_token(request: Any, handler: Handler) -> Any:
        origin = request.headers.get("Origin")
        given = request.path.split("/")[1]
        if not (
            request.headers.get("Host") in hosts  # another name that leads here is that of a page of somebody else
            and (origin is None or origin.removeprefix("http://") in hosts)
            and secrets.compare_digest(given.encode("utf-8", "replace"), token.encode())
        ):
            return aiohttp.web.Response(status=403, text="Open the whole address that `serve` printed.\n")
        response = await handler(request)
        if not response.prepared:
            response.headers["Referrer-Policy"] = "no-referrer"
            response.headers["X-Frame-Options"] = "DENY"
            response.headers["Cache-Control"] = "no-store"
        return response

    class GuardedServer(Server):
        """Has all its pages below the token."""

        async def _make_app(self) -> Any:
            guarded = aiohttp.web.Application(middlewares=[only_with_token])
            guarded.add_subapp(f"/{token}/", await super()._make_app())
            return guarded

        async def on_startup(self, app: Any) -> None:
            sys.stdout.write(f"The console is at http://{LOOPBACK}:{port}/{token}/\nCtrl+C ends it.\n")
            sys.stdout.flush()

    # Without a shell between them a console sees that its server has gone. -P: `-m` would take modules of the working
    # directory for ours, and whoever may write there would have his code run.
    command = "exec " + shlex.join([sys.executable, "-P", "-m", "console", *arguments])
    server = GuardedServer(command, LOOPBACK, port, "Upload console", f"http://{LOOPBACK}:{port}")
    logging.basicConfig(level=logging.WARNING)
    aiohttp.web.run_app(server._make_app(), sock=listener, print=None, access_log=None)
    return 0


def end_with_server() -> None:
    """End this console, as by SIGTERM, when the server that started it has gone: no browser could reach it any more."""
    server = os.getppid()

    def watch() -> None:
        while os.getppid() == server:
            time.sleep(_LOOK_SECONDS)
        start_last_resort(signal.SIGTERM, _END_SECONDS)  # Textual's driver for browsers may wait for its input for ever
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="server-watch", daemon=True).start()


def _listener(port: int) -> socket.socket:
    """Listens on the port, or for 0 on any that is free."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
        listener.listen()
    except OSError as error:
        raise UsageError(f"port {port}: {error.strerror}", advice="Choose another one with --port.") from None
    return listener
