"""A person's own keys: they act, they are shown, and what cannot be meant is said before the console opens."""

from __future__ import annotations

from collections import Counter

import pytest

from console.errors import ConfigurationError
from console.settings import load
from console.ui.app import KEY_OWNERS
from console.ui.widgets.key_map import key_map

from .conftest import Opener
from .fake_backend import document


async def test_keys_of_ones_own_act_and_are_shown(opened: Opener) -> None:
    keys = {"uploads": {"pause": "P,f6", "resume": "p"}, "everywhere": {"runners": "f7"}, "lists": {"down": "e,down"}}
    keys["uploads"]["events"] = "E"
    async with opened(documents=[document(1), document(2)], keys=keys) as console:
        first, second = document(2)["_id"], document(1)["_id"]
        await console.press("2", "P")
        await console.until(lambda: console.backend.documents[first]["status"] == "paused")
        await console.press("e", "f6")
        await console.until(lambda: console.backend.documents[second]["status"] == "paused")
        await console.press("p")
        await console.until(lambda: "pending" in {doc["status"] for doc in console.backend.documents.values()})
        assert "P Pause" in console.lines[-1]
        assert "p Resume" in console.lines[-1]
        await console.press("question_mark", *"parts in S3")
        await console.until(lambda: "P f6 " in console.text and "p   " in console.text)
        await console.press("escape", "enter")
        await console.until(lambda: "P Pause" in console.lines[-1])
        await console.press("escape", "f7")
        await console.until(lambda: "Runners" in console.lines[0])
        await console.press("escape", "colon", *"runners")
        await console.until(lambda: "(f7)" in console.text)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"uploads": {"paus": "P"}}, "keys.uploads.paus: nothing is called so; did you mean uploads.pause?"),
        ({"lists": {"xyzzy": "P"}}, "keys.lists.xyzzy: nothing is called so; known here: clear, down, filter"),
        ({"uploads": {"pause": "hyperkey"}}, "keys.uploads.pause: there is no key 'hyperkey'"),
        ({"uploads": {"pause": ""}}, "keys.uploads.pause: there is no key ''"),
        ({"uploads": {"pause": "ctrl+"}}, "keys.uploads.pause: there is no key 'ctrl+'"),
        ({"uploads": {"pause": "r"}}, "keys.uploads.pause: r is the key of uploads.resume too (resume a paused upload"),
        ({"uploads": {"pause": "?"}}, "keys.uploads.pause: question_mark is the key of everywhere.keys too"),
        ({"uploads": {"pause": "j"}}, "keys.uploads.pause: j is the key of lists.down too"),
        ({"everywhere": {"zoom": "p"}}, "keys.everywhere.zoom: p is the key of files.path too"),
        ({"everywhere": {"zoom": "ctrl+c"}}, "keys.everywhere.zoom: ctrl+c is the key of everywhere.quit too"),
        ({"uploads": {"pause": "P", "resume": "P"}}, "keys.uploads.pause: P is the key of uploads.resume too"),
    ],
)
def test_what_cannot_be_meant_is_said(keys: dict[str, dict[str, str]], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        key_map(keys, KEY_OWNERS)
    assert message in caught.value.message
    assert caught.value.advice


@pytest.mark.parametrize(
    "keys",
    [
        {"uploads": {"pause": "r", "resume": "p"}},
        {"files": {"path": "P"}, "uploads": {"pause": "P"}},
        {"everywhere": {"keys": "f2,?", "leave": "f10"}},
        {"uploads": {"sooner": "+"}, "lists": {"mark": "ctrl+space,é"}},
        {},
    ],
)
def test_keys_may_change_places_and_mean_other_things_in_other_panes(keys: dict[str, dict[str, str]]) -> None:
    assert set(key_map(keys, KEY_OWNERS)) == {f"{area}.{name}" for area, names in keys.items() for name in names}


def test_every_name_is_of_one_action() -> None:
    for classes in KEY_OWNERS.values():
        actions = {(each.id, each.action) for owner in classes for each in vars(owner)["BINDINGS"] if each.id}
        assert [name for name, number in Counter(name for name, _ in actions).items() if number > 1] == []


def test_an_area_that_is_not_known_is_an_error_of_the_configuration() -> None:
    with pytest.raises(ConfigurationError, match=r"keys.upload: unknown key; did you mean"):
        load(None, {}, {"keys.upload.pause": "P"})
    settings = load(None, {"UPLOAD_CONSOLE_KEYS__UPLOADS__PAUSE": "P"}, {})
    assert settings.keys.uploads == {"pause": "P"}
