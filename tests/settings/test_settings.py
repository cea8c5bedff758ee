"""Settings: three layers, and what is said about a wrong one."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

import pytest
from pydantic import ByteSize

from console import settings as config
from console.choices import MEBIBYTE
from console.errors import ConfigurationError
from console.settings import FILE_VARIABLE, Settings, find_file, load

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"


@pytest.fixture
def file(tmp_path):
    return tmp_path / "my config.toml"


def complaint(file=None, text="", environment=None, **flags):
    if file is not None:
        file.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load(file, environment or {}, {key.replace("__", "."): value for key, value in flags.items()})
    assert caught.value.advice or file is None or "TOML" in caught.value.message
    return caught.value.message


def test_nothing_at_all_gives_the_defaults():
    assert load(None, {"HOME": "/x"}, {"s3.bucket": None}) == Settings()


def test_the_example_holds_every_setting_with_its_default(file):
    lines = [line.lstrip("# ") for line in EXAMPLE.read_text().splitlines()]
    for name, section in config._SECTIONS.items():
        assert any(line.startswith((f"[{name}]", f"[[{name}]]")) for line in lines), name
        for key in section.model_fields:
            assert any(line.startswith(f"{key} = ") for line in lines), f"{name}.{key}"
    assert load(EXAMPLE, {}, {}).model_dump() == Settings().model_dump()


def test_environment_is_stronger_than_the_file_and_flags_than_both(file):
    file.write_text('[s3]\nbucket = "file"\nprefix = "file"\nregion = "file"\n[s3.metadata]\na = "file"\nb = "file"\n')
    environment = {
        "UPLOAD_CONSOLE_S3__PREFIX": "environment",
        "UPLOAD_CONSOLE_S3__BUCKET": "environment",
        "UPLOAD_CONSOLE_S3__METADATA__A": "environment",
        FILE_VARIABLE: "somewhere.toml",
    }
    settings = load(file, environment, {"s3.bucket": "flag", "s3.endpoint_url": None})
    assert (settings.s3.bucket, settings.s3.prefix, settings.s3.region) == ("flag", "environment", "file")
    assert settings.s3.metadata == {"a": "environment", "b": "file"}
    assert settings.s3.endpoint_url is None


def test_environment_texts_become_what_the_setting_is():
    settings = load(
        None,
        {
            "UPLOAD_CONSOLE_TRANSFER__PART_SIZE": "64 MiB",
            "UPLOAD_CONSOLE_TRANSFER__PARALLEL_UPLOADS": "2",
            "UPLOAD_CONSOLE_TRANSFER__READ_TIMEOUT_SECONDS": "1.5",
            "UPLOAD_CONSOLE_UI__SHOW_HIDDEN": "true",
        },
        {},
    )
    assert settings.transfer.part_size == ByteSize(64 * MEBIBYTE)
    assert settings.transfer.parallel_uploads == 2
    assert settings.transfer.read_timeout_seconds == 1.5
    assert settings.ui.show_hidden is True


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[transfer]\npart_size = "1 MiB"', "transfer.part_size: expected at least 5 MiB (got '1 MiB')"),
        ('[transfer]\npart_size = "big"', "transfer.part_size: expected a size such as 8 MiB, or bytes as"),
        ("[transfer]\npart_size = 6442450944", "transfer.part_size: expected at most 5 GiB (got 6442450944)"),
        ('[transfer]\nbandwidth_limit = "fast"', "transfer.bandwidth_limit: expected a size such as 8 MiB"),
        ("[transfer]\nbandwidth_limit = -1", "transfer.bandwidth_limit: expected"),
        ("[transfer]\nmultipart_threshold = true", "transfer.multipart_threshold: expected a whole number (got true)"),
        ("[transfer]\nparallel_uploads = 0", "transfer.parallel_uploads: expected at least 1 (got 0)"),
        ("[transfer]\nparallel_parts = 257", "transfer.parallel_parts: expected at most 256 (got 257)"),
        ("[transfer]\nretries = 1.5", "transfer.retries: expected a whole number (got 1.5)"),
        ("[transfer]\nretries = false", "transfer.retries: expected a whole number (got false)"),
        ('[transfer]\nchecksum = "md4"', "transfer.checksum: expected 'auto', 'crc64nvme'"),
        ("[transfer]\nread_timeout_seconds = 0", "transfer.read_timeout_seconds: expected more than 0 (got 0)"),
        ('[transfer]\nread_timeout_seconds = "soon"', "transfer.read_timeout_seconds: expected a number (got 'soon')"),
        ("[mongodb]\ntimeout_seconds = inf", "mongodb.timeout_seconds: expected at most 3,600 (got inf)"),
        ("[mongodb]\ntimeout_seconds = nan", "mongodb.timeout_seconds: expected more than 0 (got nan)"),
        ('[mongodb]\ndatabase = ""', "mongodb.database: must not be empty"),
        ('[mongodb]\ndatabase = "a.b"', "mongodb.database: expected a database name"),
        (f'[mongodb]\ndatabase = "{"x" * 64}"', "mongodb.database: expected a database name: at most 63 bytes"),
        ('[mongodb]\ncollection = "system.x"', "mongodb.collection: expected a collection name"),
        ('[mongodb]\ncollection = "a..b"', "mongodb.collection: expected a collection name"),
        ("[mongodb]\nuri = 5", "mongodb.uri: expected text"),
        ('[s3]\nendpoint_url = "s3.example.com"', "s3.endpoint_url: expected an address such as https://"),
        ('[s3]\nendpoint_url = "http://h:99999"', "s3.endpoint_url: expected an address such as https://"),
        ('[s3]\nendpoint_url = "http://[x"', "s3.endpoint_url: expected an address such as https://"),
        ("[s3]\nbucket = 7", "s3.bucket: expected text (got 7)"),
        ("[s3]\nmetadata = 7", "s3.metadata: expected a table of settings (got 7)"),
        ("[s3.metadata]\na = 7", "s3.metadata.a: expected text (got 7)"),
        ("[s3.bucket]\nname = 7", "s3.bucket: expected text (got a table)"),
        ('[ui]\nshow_hidden = "maybe"', "ui.show_hidden: expected true or false (got 'maybe')"),
        ("[ui]\ndirectory = 1", "ui.directory: expected a path (got 1)"),
        ('transfer = "fast"', "transfer: expected a table of settings (got text)"),
        ("transfer = [1]", "transfer: expected a table of settings (got a list)"),
        ("watch = 3", "watch: expected a list of tables (got a single value)"),
        ("[[watch]]\n[[watch]]", "watch[1].folder: is missing"),
        ("[transfer]\nretry = 1", "transfer.retry: unknown key; did you mean retries?"),
        ("[transfer]\nxyzzy = 1", "transfer.xyzzy: unknown key; known here: bandwidth_limit, checksum,"),
        ("[trnsfer]", "trnsfer: unknown key; did you mean transfer?"),
        ('bucket = "x"', "bucket: unknown key; did you mean s3.bucket?"),
        ('[[watch]]\nfolder = "x"\nfoldr = 1', "watch[0].foldr: unknown key; did you mean folder?"),
        (
            "qqqqqqqqqqqqqqqqqqqq = 1",
            "unknown key; known here: accept, headers, keys, mongodb, s3, schedule, select, transfer, ui,",
        ),
    ],
)
def test_errors_name_the_file_the_key_and_what_was_expected(file, text, said):
    message = complaint(file, text)
    assert f"{file}: {said}" in message or (message.startswith(f"{file}: ") and said in message)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("TRANSFER__RETRIES", "x", "transfer.retries: expected a whole number (got 'x')"),
        ("S3__BUKET", "x", "s3.buket: unknown key; did you mean UPLOAD_CONSOLE_S3__BUCKET?"),
        ("S3_BUCKET", "x", "s3_bucket: unknown key; did you mean UPLOAD_CONSOLE_S3__BUCKET?"),
        ("TRANSFER", "x", "transfer: expected a table of settings (got text)"),
        ("S3__BUCKET__NAME", "x", "s3.bucket: expected text (got a table)"),
    ],
)
def test_errors_name_the_variable(name, value, said):
    assert complaint(environment={f"UPLOAD_CONSOLE_{name}": value}) == f"UPLOAD_CONSOLE_{name}: {said}"


def test_variables_that_contradict_each_other_are_an_error_whatever_their_order():
    pair = {"UPLOAD_CONSOLE_S3": "x", "UPLOAD_CONSOLE_S3__BUCKET": "y"}
    for environment in (pair, dict(reversed(pair.items()))):
        assert complaint(environment=environment).startswith("UPLOAD_CONSOLE_S3__BUCKET: unknown key")


def test_errors_name_the_flag_also_when_the_file_had_it_right(file):
    message = complaint(file, '[s3]\nendpoint_url = "http://fine"', s3__endpoint_url="nonsense")
    assert message.startswith("--s3-endpoint: s3.endpoint_url: expected an address")
    assert complaint(transfer__retries="x").startswith("command line: transfer.retries: expected a whole number")


def test_all_errors_are_told_at_once(file):
    message = complaint(file, "[transfer]\nretries = -1\nparallel_parts = 0\n[s3]\nbuket = 1")
    assert len(message.splitlines()) == 3


@pytest.mark.parametrize(
    ("content", "said"), [(b"[s3", "not TOML"), (b"\xff\xfe", "not TOML"), (b'a = "\x1b[31m"', "not TOML")]
)
def test_a_file_that_is_no_toml_is_named(file, content, said):
    file.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        load(file, {}, {})
    assert caught.value.message.startswith(f"{file}: {said}")


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    for path, reason in ((tmp_path / "none.toml", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(ConfigurationError) as caught:
            load(path, {}, {})
        assert caught.value.message.startswith(f"{path}: {reason}")


def test_keys_and_values_are_shown_escaped(file):
    message = complaint(file, '[s3]\nendpoint_url = "\\u001b[31m\\u202e"\n["\\u001b"]\n')
    assert "\x1b" not in message
    assert "\u202e" not in message


SECRET = "s3cr3t-pass"
CHMOD = "chmod 600 takes that right from them."
URI = f"mongodb://user:{SECRET}@host:27017/?replicaSet=rs0"


@pytest.mark.parametrize(
    "text",
    [
        f'mongodb = "{URI}"',
        f'[mongodb]\nuri = ["{URI}"]',
        f'[mongodb.uri]\nvalue = "{URI}"',
        f'[mongodb]\nurl = "{URI}"',
        f'[mongodb]\nuri = "{URI}"\ntimeout_seconds = "x"',
        f'uri = "{URI}"',
        f'[s3]\nendpoint_url = "http://user:{SECRET}@host"',
        f'[mongodb]\nuri = "{URI}',
        f'[ui]\ntheme = 1\nshow_hidden = "{URI}"',
        f's3 = ["{URI}"]',
        f'watch = "{URI}"',
        f'[s3]\nendpoint_url = "user:{SECRET}@host:9000"',
        f'[s3]\nendpoint_url = "http://user:{SECRET}/more@host:9000"',
        f'[s3]\nendpoint_url = "http://user:x/{SECRET}@host:9000"',
        f'[s3]\nendpoint_url = "http://user:{SECRET}/host"',
        f'[s3]\nendpoint_url = "user:{SECRET}"',
        f'[s3]\nendpoint_url = "https://host:9000/?token={SECRET}"',
        f'[s3]\nendpoint_url = "host:9000?token={SECRET}"',
        f'[s3]\nendpoint_url = "https://host#{SECRET}"',
        f'[s3]\nregion = ["http://user:{SECRET}@host"]',
        f'[transfer]\nchecksum = "http://user:{SECRET}@host"',
        f'[[watch]]\nfolder = "x"\nto = "s3://key:{SECRET}@bucket"',
        f'["{URI}"]',
        f'[s3]\n"http://user:{SECRET}@host" = 1',
        f'[mongodb]\nuri = "{URI}"\nuri_file = "/etc/uri"',
        f'[mongodb]\nuri_file = "{URI}"',
    ],
)
def test_no_password_in_any_complaint(file, text):
    file.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load(file, {}, {})
    assert SECRET not in caught.value.message
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("localhost:9000", "(got 'localhost:9000')"),
        ("ftp://host:9000/path?a=b", "(got 'ftp://host:9000…')"),
        ("http://", "(got text that is not repeated, as it may hold a secret)"),
    ],
)
def test_what_can_be_no_secret_is_repeated(file, value, shown):
    assert complaint(file, f'[s3]\nendpoint_url = "{value}"').endswith(shown)


def test_the_uri_may_be_in_a_file_of_its_own(file, tmp_path):
    uri = tmp_path / "uri"
    uri.write_text(f"{URI}\n")
    uri.chmod(0o600)
    file.write_text(f'[mongodb]\nuri_file = "{uri}"\n')
    settings = load(file, {}, {})
    assert settings.mongodb.uri.get_secret_value() == URI
    assert settings.remarks == ()
    uri.chmod(0o644)
    assert load(file, {}, {}).remarks == (f"{uri} holds a password, and other users can read it: {CHMOD}",)


def test_of_uri_and_uri_file_the_stronger_layer_wins(file, tmp_path):
    uri = tmp_path / "uri"
    uri.write_text("mongodb://of-the-file")
    file.write_text('[mongodb]\nuri = "mongodb://weaker"\n')
    environment = {"UPLOAD_CONSOLE_MONGODB__URI_FILE": str(uri)}
    assert load(file, environment, {}).mongodb.uri.get_secret_value() == "mongodb://of-the-file"
    uri.unlink()
    stronger = load(file, environment, {"mongodb.uri": "mongodb://stronger"})
    assert stronger.mongodb.uri.get_secret_value() == "mongodb://stronger"
    assert complaint(None, environment=environment) == (
        f"UPLOAD_CONSOLE_MONGODB__URI_FILE: mongodb.uri_file: {uri}: No such file or directory"
    )
    file.write_text(f'[mongodb]\nuri = "mongodb://one"\nuri_file = "{uri}"\n')
    assert "mongodb.uri is set too" in complaint(file, file.read_text())


@pytest.mark.parametrize("mode", [0o666, 0o646, 0o602])
def test_a_file_that_others_can_write_is_refused_by_name(file, mode):
    file.write_text("")
    file.chmod(mode)
    with pytest.raises(ConfigurationError) as caught:
        load(file, {}, {})
    assert caught.value.message == f"{file} can be written by other users (mode {mode:04o}), so it is not read."
    assert "chmod go-w" in caught.value.advice


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("is_link", [False, True])
def test_a_file_or_link_of_another_user_is_refused_by_name(file, tmp_path, is_link):
    target = tmp_path / "target.toml" if is_link else file
    target.write_text("")
    if is_link:
        file.symlink_to(target)
    os.chown(file, 65534, 65534, follow_symlinks=False)
    with pytest.raises(ConfigurationError) as caught:
        load(file, {}, {})
    assert str(file) in caught.value.message
    assert "(uid 65534), neither to you nor to root" in caught.value.message


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_group_of_others_may_not_write_and_one_of_ones_own_may(file):
    file.write_text("")
    file.chmod(0o664)
    assert load(file, {}, {}).mongodb.uri
    os.chown(file, 0, 65534)
    with pytest.raises(ConfigurationError, match="mode 0664"):
        load(file, {}, {})


def test_a_password_that_others_can_read_is_remarked_on(file):
    file.write_text(f'[mongodb]\nuri = "{URI}"\n')
    file.chmod(0o644)
    assert load(file, {}, {}).remarks == (f"{file} holds a password, and other users can read it: {CHMOD}",)
    file.chmod(0o600)
    assert load(file, {}, {}).remarks == ()
    file.write_text('[mongodb]\nuri = "mongodb://host/?authMechanism=MONGODB-X509"\n')
    file.chmod(0o644)
    assert load(file, {}, {}).remarks == ()


def test_they_say_where_they_were_read(file):
    file.write_text("")
    assert load(file, {}, {}).origin == str(file)
    assert load(None, {}, {}).origin == "no file; environment, flags and defaults"


def test_no_password_in_what_settings_show():
    settings = load(None, {"UPLOAD_CONSOLE_MONGODB__URI": URI}, {})
    shown = [
        repr(settings),
        str(settings),
        repr(settings.mongodb),
        f"{settings.model_dump()}",
        settings.model_dump_json(),
    ]
    assert not [text for text in shown if SECRET in text]
    assert settings.mongodb.uri.get_secret_value() == URI


def test_the_file_is_looked_for_here_then_with_the_person(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "own" / "config.toml"
    monkeypatch.setattr(config, "user_file", lambda: own)
    assert find_file(None) is None
    own.parent.mkdir()
    own.touch()
    assert find_file(None) == own
    (tmp_path / "config.toml").touch()
    assert find_file(None) == Path("config.toml")
    assert find_file(Path("named.toml")) == Path("named.toml")


def test_lists_are_read_from_the_environment_as_the_file_has_them():
    found = load(None, {"UPLOAD_CONSOLE_SELECT__EXCLUDE": '["*.tmp", "drafts/"]'}, {}).select
    assert found.exclude == ("*.tmp", "drafts/")
    with pytest.raises(ConfigurationError, match=r"SELECT__EXCLUDE: select\.exclude: expected a list"):
        load(None, {"UPLOAD_CONSOLE_SELECT__EXCLUDE": "*.tmp"}, {})


def test_what_is_wrong_with_a_section_names_a_flag_that_was_given() -> None:
    with pytest.raises(ConfigurationError, match=r"^--object-lock-mode: s3: object_lock_mode and object_lock_days go"):
        load(None, {}, {"s3.object_lock_mode": "GOVERNANCE"})
