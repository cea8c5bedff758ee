"""`serve`: the same console in a browser, each visit a process of its own, by textual-serve.

It listens on this host alone, and lets in only who has the token of its address: a console may do all that its user
may. The token becomes a cookie at the first visit, for the parts of the page that are asked for after it.
"""

from __future__ import annotations

import asyncio
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
_COOKIE: Final = "upload-console"
_LOOK_SECONDS: Final = 1.0
_LISTEN_SECONDS: Final = 0.02
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
    port = _free_port(port)
    address = f"http://{LOOPBACK}:{port}"

    @aiohttp.web.middleware
    async def only_with_token(request: Any, handler: Handler) -> Any:
        given = request.query.get("token") or request.cookies.get(f"{_COOKIE}-{port}") or ""
        if not secrets.compare_digest(given.encode(), token.encode()):
            return aiohttp.web.Response(status=403, text="Open the whole address that `serve` printed.\n")
        response = await handler(request)
        if not response.prepared:
            response.set_cookie(f"{_COOKIE}-{port}", token, httponly=True, samesite="Strict", path="/")
            response.headers["Referrer-Policy"] = "no-referrer"
            response.headers["X-Frame-Options"] = "DENY"
        return response

    class GuardedServer(Server):
        """Lets in only who has the token, and says where it is."""

        def initialize_logging(self) -> None:
            logging.basicConfig(level=logging.WARNING)

        async def _make_app(self) -> Any:
            application = await super()._make_app()
            application.middlewares.append(only_with_token)
            return application

        async def on_startup(self, app: Any) -> None:
            self.saying = asyncio.create_task(_say_when_listening(f"{address}/?token={token}", port))

    # Without a shell between them a console sees that its server has gone.
    command = "exec " + shlex.join([sys.executable, "-m", "console", *arguments])
    GuardedServer(command, host=LOOPBACK, port=port, title="Upload console", public_url=address).serve()
    return 0


async def _say_when_listening(address: str, port: int) -> None:
    """Say where the console is, once it is there: the server tells only that it is about to listen."""
    while True:
        try:
            _, writer = await asyncio.open_connection(LOOPBACK, port)
        except OSError:
            await asyncio.sleep(_LISTEN_SECONDS)
        else:
            writer.close()
            break
    sys.stdout.write(f"The console is at {address}\nCtrl+C ends it.\n")
    sys.stdout.flush()


def end_with_server() -> None:
    """End this console, as by SIGTERM, when the server that started it has gone: no browser could reach it any more."""
    server = os.getppid()

    def watch() -> None:
        while os.getppid() == server:
            time.sleep(_LOOK_SECONDS)
        start_last_resort(signal.SIGTERM, _END_SECONDS)  # Textual's driver for browsers may wait for its input for ever
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="server-watch", daemon=True).start()


def _free_port(port: int) -> int:
    """The port, or for 0 any that is free."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
        except OSError as error:
            raise UsageError(f"port {port}: {error.strerror}", advice="Choose another one with --port.") from None
        return int(listener.getsockname()[1])
