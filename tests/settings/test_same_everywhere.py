"""A wish of the people who upload is a setting, a flag of `upload` and a key of `[[watch]]`, with one name and one
meaning; what is not is told here, and why not in docs/uploads.md."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import pytest
from pydantic import BaseModel

from console.cli.upload_flags import SETTING_FLAGS
from console.models import Storage
from console.settings import S3Settings, Settings, TransferSettings
from console.settings.schedule import ScheduleSettings
from console.settings.upload_rules import AcceptSettings, SelectSettings
from console.settings.watch_rules import WatchRule

_SECTIONS: dict[str, type[BaseModel]] = {
    "s3": S3Settings,
    "select": SelectSettings,
    "accept": AcceptSettings,
    "schedule": ScheduleSettings,
    "transfer": TransferSettings,
}
# Where S3 is, and how it is reached: of a process, never of some files. `to` of a watch is bucket and prefix.
_CONNECTION = {
    *("bucket", "prefix", "endpoint_url", "region", "profile", "addressing_style", "ca_bundle", "endpoint_names"),
}
_OF_ONE_FOLDER = {"key_template", "duplicates"}
_OF_ONE_FOLDER_MADE_THE_SAME = {"delete_at_most_percent"}
"""Of `upload --delete`: what lies beside the files of a watch is none of its business."""

_WISHES = [
    *(("s3", name) for name in sorted(S3Settings.model_fields.keys() - _CONNECTION)),
    *((section, name) for section in ("select", "accept", "schedule") for name in _SECTIONS[section].model_fields),
    *(("transfer", name) for name in ("manifest", "sha256sums", "delete_at_most_percent")),
]


def _plain(annotation: Any) -> Any:
    """The type without None and without what bounds it."""
    if get_origin(annotation) in (Union, types.UnionType):
        kinds = [each for each in get_args(annotation) if each is not type(None)]
        return _plain(kinds[0]) if len(kinds) == 1 else annotation
    return _plain(get_args(annotation)[0]) if get_origin(annotation) is Annotated else annotation


@pytest.mark.parametrize(("section", "name"), _WISHES)
def test_a_setting_is_a_flag_and_a_key_of_a_watch(section: str, name: str) -> None:
    assert SETTING_FLAGS[name][0] == f"{section}.{name}"
    if name in _OF_ONE_FOLDER_MADE_THE_SAME:
        assert name not in WatchRule.model_fields
        return
    setting, key = _SECTIONS[section].model_fields[name], WatchRule.model_fields[name]
    assert _plain(setting.annotation) == _plain(key.annotation)


def test_every_flag_and_every_wish_of_a_record_is_a_setting() -> None:
    settings = {f"{section}.{name}" for section, model in _SECTIONS.items() for name in model.model_fields}
    assert {key for key, _ in SETTING_FLAGS.values()} <= {*settings, "headers"}
    assert Storage.model_fields.keys() <= S3Settings.model_fields.keys() & WatchRule.model_fields.keys()
    assert "headers" in WatchRule.model_fields
    assert "headers" in Settings.model_fields
    assert TransferSettings.model_fields.keys() & WatchRule.model_fields.keys() >= _OF_ONE_FOLDER


def test_the_documentation_names_each_of_them() -> None:
    docs = Path(__file__).parents[2] / "docs"
    uploads, watch = ((docs / name).read_text() for name in ("uploads.md", "watch.md"))
    example = (docs.parent / "config.example.toml").read_text()
    for section, name in _WISHES:
        flag = f"--{name.replace('_', '-')}"
        assert f"`{name}" in uploads or f"{flag}`" in uploads or f".{name}`" in uploads, name
        assert f"{name} = " in example, name
        if name not in _OF_ONE_FOLDER_MADE_THE_SAME:
            assert f"`{name}`" in watch, name
        assert section in _SECTIONS
