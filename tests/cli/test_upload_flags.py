"""Flags that are settings too: what they are read as, and that each is one of its section."""

from __future__ import annotations

from typing import Any

import pytest
import typer

from console import settings as config
from console.cli.upload_flags import SETTING_FLAGS, SettingFlags
from console.settings import load


@pytest.mark.parametrize("name", sorted(SETTING_FLAGS))
def test_each_is_a_setting_of_that_name(name: str) -> None:
    section, _, key = SETTING_FLAGS[name][0].partition(".")
    if not key:
        assert section in config.Settings.model_fields
        return
    assert key in config._SECTIONS[section].model_fields
    assert key == name
    assert config._FLAGS[(section, key)] == f"--{key.replace('_', '-')}"


def read(**flags: Any) -> config.Settings:
    return load(None, {}, SettingFlags(**flags).overrides)


def test_what_was_not_given_overrides_nothing() -> None:
    assert SettingFlags(include=[], newer=None, legal_hold=None).overrides == {}


def test_pairs_and_lists_are_read() -> None:
    found = read(metadata=["team=media", "note=a=b"], tags=["keep="], preserve=["mtime", "md5"], legal_hold=True).s3
    assert found.metadata == {"team": "media", "note": "a=b"}
    assert found.tags == {"keep": ""}
    assert found.preserve == ("mtime", "md5")
    assert found.legal_hold
    with pytest.raises(typer.BadParameter, match="NAME=VALUE"):
        SettingFlags(metadata=["team"])


def test_headers_are_rules_by_pattern() -> None:
    rules = read(
        header=[
            "Cache-Control: max-age=60",
            "*.html Content-Type: text/html; charset=utf-8",
            "my docs/ x-amz-meta-Made-By: us: all",
            "x-amz-storage-class: STANDARD_IA",
            "x-amz-acl: private",
        ]
    ).headers
    assert [rule.pattern for rule in rules] == [("*",), ("*.html",), ("my docs/",), ("*",), ("*",)]
    assert rules[0].cache_control == "max-age=60"
    assert rules[1].content_type == "text/html; charset=utf-8"
    assert rules[2].metadata == {"made-by": "us: all"}
    assert (rules[3].storage_class, rules[4].acl) == ("STANDARD_IA", "private")
    for wrong in ("Cache-Control", "no-cache", ": x"):
        with pytest.raises(typer.BadParameter, match="NAME: VALUE"):
            SettingFlags(header=[wrong])
    with pytest.raises(config.ConfigurationError, match="--header"):
        read(header=["X-Unknown: a"])
