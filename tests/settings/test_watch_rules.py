"""Rules as people write them: what is taken, and what is said about a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.errors import ConfigurationError
from console.settings import load
from console.settings.watch_rules import WatchRule


def read(tmp_path: Path, text: str) -> tuple[WatchRule, ...]:
    file = tmp_path / "config.toml"
    file.write_text(f"[[watch]]\n{text}\n")
    return load(file, {}, {}).watch


def test_a_folder_is_enough(tmp_path: Path) -> None:
    (rule,) = read(tmp_path, 'folder = "/srv/in"')
    assert rule.title == "/srv/in"
    assert (rule.after, rule.changed, rule.complete_when, rule.destination) == ("keep", "upload", "quiet", None)


def test_a_rule_with_everything(tmp_path: Path) -> None:
    (rule,) = read(
        tmp_path,
        'folder = "~/in"\nname = "scans"\nto = "s3://b/p/q/"\ninclude = ["*.pdf"]\nextensions = ["PDF", ".jpg"]\n'
        'content_types = ["Image/*"]\nmax_size = "5 MiB"\nafter = "move"\nmove_to = "/srv/sent"',
    )
    assert rule.folder == Path.home() / "in"
    assert rule.destination == ("b", "p/q")
    assert (rule.extensions, rule.content_types, rule.max_size) == ((".pdf", ".jpg"), ("image/*",), 5 * 1024 * 1024)
    assert rule.title == "scans"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('after = "move"', 'watch[0]: after = "move" needs move_to'),
        ('move_to = "/y"', 'watch[0].move_to: is only used with after = "move"'),
        ('after = "move"\nmove_to = "/in"', "watch[0].move_to: is the watched folder itself"),
        ('after = "burn"', "watch[0].after: expected 'keep', 'move' or 'delete' (got 'burn')"),
        ('after = "delete"\nfollow_symlinks = true', "watch[0].after: with follow_symlinks files are only kept"),
        (
            'after = "move"\nmove_to = "/y"\nfollow_symlinks = true',
            "watch[0].after: with follow_symlinks files are only",
        ),
        ('key_template = "{nope}"', "watch[0].key_template: unknown field {nope}"),
        ('include = ["!"]', "watch[0].include[0]: expected a pattern as in .gitignore (got '!')"),
        ('exclude = ["# no"]', "watch[0].exclude[0]: expected a pattern as in .gitignore, not an empty line"),
        ('include = "*.pdf"', "watch[0].include: expected a list, such as"),
        ('to = "bucket/x"', "watch[0].to: expected s3://bucket or s3://bucket/prefix"),
        ('extensions = ["."]', "watch[0].extensions[0]: expected the end of a file's name"),
        ('content_types = ["pdf"]', "watch[0].content_types[0]: expected a MIME type"),
        ("max_size = true", "watch[0].max_size: expected a whole number (got true)"),
        ('max_size = "large"', "watch[0].max_size: expected a size such as 8 MiB"),
        ('marker_suffix = "a/b"', "watch[0].marker_suffix: expected an ending for file names"),
        ("quiet_seconds = 0", "watch[0].quiet_seconds: expected more than 0"),
        ('quiet_seconds = "5"', "watch[0].quiet_seconds: expected a number"),
        ("recursive = 1", "watch[0].recursive: expected true or false"),
        ('mode = "poll"', "watch[0].mode: expected 'auto', 'events' or 'polling'"),
        ("metadata = { a = 1 }", "watch[0].metadata.a: expected text"),
        ("quiet_second = 1", "watch[0].quiet_second: unknown key; did you mean quiet_seconds?"),
        ('[[watch]]\nfolder = "/in"', "watch: two rules are called /in: give them different names"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, f'folder = "/in"\n{text}')
    assert said in caught.value.message
