"""The console in a browser: only with the token, and then it is the console."""

from __future__ import annotations

import asyncio
import re

import aiohttp
import psutil
import pytest

from .running import Running


@pytest.fixture
def served(environment: dict[str, str]) -> object:
    with Running("serve", "--port", "0", environment={**environment, "PYTHONUNBUFFERED": "1"}) as running:
        yield running.out.readline().decode()


async def test_who_has_the_token_sees_the_console(served: str) -> None:
    found = re.search(r"(http://127\.0\.0\.1:\d+)/\?token=(\S+)", served)
    assert found is not None, served
    base, token = found.groups()
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        for path in ("/", "/?token=wrong", "/ws", "/static/js/textual.js"):
            async with session.get(f"{base}{path}") as refused:
                assert refused.status == 403
        async with session.get(f"{base}/?token={token}") as page:
            assert page.status == 200
            assert "Upload console" in await page.text()
            assert "SameSite=Strict" in page.headers["Set-Cookie"]
        async with session.get(f"{base}/static/js/textual.js") as script:
            assert script.status == 200
        shown = b""
        async with session.ws_connect(f"{base.replace('http', 'ws')}/ws?width=100&height=30") as browser:
            async for message in browser:
                shown += message.data if isinstance(message.data, bytes) else message.data.encode()
                if b"connected" in shown and b"Uploads" in shown:
                    break
    assert b"Upload console" in shown


async def test_a_console_ends_with_its_server(environment: dict[str, str]) -> None:
    with Running("serve", "--port", "0", environment={**environment, "PYTHONUNBUFFERED": "1"}) as running:
        address = running.out.readline().decode().split()[-1]
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
            async with session.get(address):
                pass
            base = address.partition("/?")[0]
            async with session.ws_connect(f"{base.replace('http', 'ws')}/ws?width=100&height=30") as browser:
                await browser.receive()
                (console,) = psutil.Process(running.process.pid).children()
                running.process.kill()
                assert await asyncio.to_thread(psutil.wait_procs, [console], 60) == ([console], [])
