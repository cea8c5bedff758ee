"""The console in a browser: only with the token, and then it is the console."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import aiohttp
import psutil
import pytest

from .running import Running


@pytest.fixture
def served(environment: dict[str, str]) -> object:
    with Running("serve", "--port", "0", environment={**environment, "PYTHONUNBUFFERED": "1"}) as running:
        yield running.out.readline().decode()


def addresses(line: str) -> tuple[str, str]:
    """Of the server, and of the console in it."""
    found = re.search(r"((http://127\.0\.0\.1:\d+)/[\w-]{32}/)$", line.strip())
    assert found is not None, line
    return found[2], found[1]


async def test_who_has_the_token_sees_the_console(served: str) -> None:
    base, whole = addresses(served)
    async with aiohttp.ClientSession() as session:
        for path in ("/", "/wrong/", "/ws", "/wrong/ws", "/static/js/textual.js", "/\udcff/", "/%ff/"):
            async with session.get(f"{base}{path}") as refused:
                assert refused.status == 403
        async with session.get(whole) as page:
            assert page.status == 200
            assert "Upload console" in await page.text()
            assert "Set-Cookie" not in page.headers, "a browser sends cookies to every port of this host"
        async with session.get(f"{whole}static/js/textual.js") as script:
            assert script.status == 200
        shown = b""
        async with session.ws_connect(f"{whole.replace('http', 'ws')}ws?width=100&height=30") as browser:
            async for message in browser:
                shown += message.data if isinstance(message.data, bytes) else message.data.encode()
                if b"connected" in shown and b"Uploads" in shown:
                    break
    assert b"Upload console" in shown


async def test_a_console_ends_with_its_server(environment: dict[str, str]) -> None:
    with Running("serve", "--port", "0", environment={**environment, "PYTHONUNBUFFERED": "1"}) as running:
        _, whole = addresses(running.out.readline().decode())
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{whole.replace('http', 'ws')}ws?width=100&height=30") as browser,
        ):
            await browser.receive()
            (console,) = psutil.Process(running.process.pid).children()
            running.process.kill()
            assert await asyncio.to_thread(psutil.wait_procs, [console], 60) == ([console], [])


async def test_a_page_of_somebody_else_gets_nothing_though_it_knows_the_address(served: str) -> None:
    base, whole = addresses(served)
    port = base.rpartition(":")[2]
    others = (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": f"http://127.0.0.1:{int(port) - 1}"},  # of another user of this host
        {"Host": f"evil.example:{port}"},  # a name that was made to lead here (DNS rebinding)
    )
    async with aiohttp.ClientSession() as session:
        for headers in others:
            for path in ("", "ws"):
                async with session.get(f"{whole}{path}", headers=headers) as refused:
                    assert refused.status == 403, headers
        async with session.get(whole, headers={"Origin": base, "Host": f"localhost:{port}"}) as page:
            assert page.status == 200


async def test_what_lies_in_the_working_directory_is_not_run(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "console.py").write_text("open('taken', 'w').close()\n")
    (tmp_path / "botocore.py").write_text("open('taken', 'w').close()\n")
    monkeypatch.chdir(tmp_path)
    with Running("serve", "--port", "0", environment={**environment, "PYTHONUNBUFFERED": "1"}) as running:
        _, whole = addresses(running.out.readline().decode())
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{whole.replace('http', 'ws')}ws?width=100&height=30") as browser,
        ):
            await browser.receive()
    assert not (tmp_path / "taken").exists()
