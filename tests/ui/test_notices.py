"""A notice does not cover what is being asked."""

from __future__ import annotations

from .conftest import Opener
from .fake_backend import document


async def test_a_notice_covers_no_dialog_on_a_small_terminal(opened: Opener) -> None:
    async with opened(documents=[document(n, status="completed") for n in range(1, 60)], size=(80, 24)) as console:
        console.app.notify("one notice of some length, with words enough for one line", timeout=600)
        for question in ("d", "b", "s"):
            await console.press("2", question)
            await console.until(lambda: console.app.screen is not console.screen)
            await console.until(lambda: bool(console.app.screen.query("Toast")))
            (dialog,), (notice,) = (list(console.app.screen.query(kind)) for kind in (".dialog", "Toast"))
            assert notice.region
            assert not notice.region.overlaps(dialog.region), (question, notice.region, dialog.region)
            await console.press("escape")
            await console.until(lambda: console.app.screen is console.screen)
