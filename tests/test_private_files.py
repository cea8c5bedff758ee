"""What is written is for this user alone, whatever the umask and whoever was there before."""

from __future__ import annotations

import errno
import os
import resource
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from console.commands.configuration import first_steps
from console.errors import ConsoleError, UsageError
from console.events.recording import ResumeFile
from console.files.beneath import parent_of
from console.files.file_list import listed_paths
from console.private_files import (
    WrittenByOthers,
    make_private_folder,
    open_private,
    opened_ours,
    require_ours,
    write_private,
)
from console.settings import S3Settings, TransferSettings, load
from console.transfer.sender import client_options
from console.ui.events.event_detail import write_new
from console.ui.remembered import Remembered


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o777])
def _umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.usefixtures("_umask")
def test_under_any_umask(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "program"
    make_private_folder(folder)
    os.close(open_private(folder / "file"))
    assert [mode(tmp_path / "state"), mode(folder), mode(folder / "file")] == [0o700, 0o700, 0o600]


@pytest.mark.usefixtures("_umask")
def test_a_first_configuration_and_its_folders_are_private(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    file = tmp_path / ".config" / "upload-console" / "config.toml"
    first_steps.write(file, {"s3.bucket": "uploads"})
    assert [mode(path) for path in (file, file.parent, file.parent.parent, tmp_path)] == [0o600, 0o700, 0o700, 0o755]


@pytest.mark.usefixtures("_umask")
def test_no_folder_that_files_are_moved_to_can_be_written_by_everybody(tmp_path: Path) -> None:
    umask = os.umask(0)
    os.umask(umask)
    if umask == 0o777:
        return
    with parent_of(str(tmp_path / "sent" / "more" / "file"), str(tmp_path), make=True):
        assert mode(tmp_path / "sent") == mode(tmp_path / "sent" / "more") == 0o775 & ~umask


def test_a_folder_that_others_could_enter_is_closed_to_them(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    make_private_folder(tmp_path)
    assert mode(tmp_path) == 0o700


def test_a_file_in_the_folders_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(FileExistsError):
        make_private_folder(tmp_path / "state")


def test_a_file_that_is_there_keeps_its_mode_and_is_emptied(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("before")
    file.chmod(0o640)
    os.close(open_private(file, os.O_WRONLY | os.O_APPEND))
    assert file.read_text() == "before"
    os.close(open_private(file))
    assert file.read_text() == ""
    assert mode(file) == 0o640


def test_one_that_must_be_new_is(tmp_path: Path) -> None:
    os.close(open_private(tmp_path / "file", os.O_WRONLY | os.O_EXCL))
    with pytest.raises(FileExistsError):
        open_private(tmp_path / "file", os.O_WRONLY | os.O_EXCL)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_another_user_has_put_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("theirs")
    for name in ("folder", "file"):
        os.chown(tmp_path / name, 65534, 65534)
    with pytest.raises(PermissionError, match="belongs to another user"):
        make_private_folder(tmp_path / "folder")
    with pytest.raises(PermissionError, match="belongs to another user"):
        open_private(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "theirs"
    (tmp_path / "ours").mkdir(0o755)
    (tmp_path / "link").symlink_to("ours")
    os.chown(tmp_path / "link", 65534, 65534, follow_symlinks=False)
    with pytest.raises(PermissionError, match="belongs to another user"):
        make_private_folder(tmp_path / "link")
    assert mode(tmp_path / "ours") == 0o755


@pytest.mark.usefixtures("_umask")
def test_what_the_screen_remembers_is_private_and_survives_a_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "state" / "screen.json"
    Remembered(path).keep("bookmarks", ["/secret"])
    assert [mode(path.parent), mode(path)] == [0o700, 0o600]
    with full_disk():
        Remembered(path).keep("bookmarks", ["/another one that does not fit"])
    assert Remembered(path).get("bookmarks", list) == ["/secret"]
    assert list(path.parent.iterdir()) == [path]


@contextmanager
def full_disk() -> Iterator[None]:
    """No file gets more than ten bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("is_new", [False, True])
def test_a_full_disk_leaves_what_was_there_and_is_named(tmp_path: Path, is_new: bool) -> None:
    path = tmp_path / "kept.json"
    if not is_new:
        path.write_text("before")
    with full_disk(), pytest.raises(OSError, match=r"kept\.json") as caught:
        write_private(path, "more than ten bytes", is_new=is_new)
    assert caught.value.errno == errno.EFBIG
    assert [file.name for file in tmp_path.iterdir()] == ([] if is_new else ["kept.json"])
    assert is_new or path.read_text() == "before"


def test_a_new_file_takes_no_place_of_another(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.symlink_to("nowhere")
    with pytest.raises(FileExistsError):
        write_private(path, "text", is_new=True)
    assert [file.name for file in tmp_path.iterdir()] == ["config.toml"]
    path.unlink()
    write_private(path, "text\udcff", is_new=True)
    assert path.read_text() == "text\\udcff"
    assert mode(path) == 0o600


def test_init_that_finds_the_disk_full_leaves_no_configuration(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    with full_disk(), pytest.raises(UsageError, match=r"config\.toml: File too large"):
        first_steps.write(file, {"s3.bucket": "uploads"})
    assert not list(tmp_path.iterdir())


def test_a_saved_event_that_finds_the_disk_full_is_not_there(tmp_path: Path) -> None:
    with full_disk(), pytest.raises(UsageError, match="File too large"):
        write_new(tmp_path / "event.json", "{'a': 'long enough'}")
    assert not list(tmp_path.iterdir())


def test_a_device_is_taken_as_it_is() -> None:
    os.close(open_private(Path(os.devnull)))


def _given_away(path: Path) -> Path:
    os.chown(path, 65534, 65534, follow_symlinks=False)
    return path


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("folder_mode", [0o700, 0o777, 0o1777])
def test_a_link_of_another_user_leads_nothing_into_our_files(tmp_path: Path, folder_mode: int) -> None:
    (mine := tmp_path / "mine").write_text("before")
    (shared := tmp_path / "shared").mkdir()
    shared.chmod(folder_mode)
    (shared / "link").symlink_to(mine)
    (shared / "nowhere").symlink_to(tmp_path / "new")
    for name in ("link", "nowhere"):
        with pytest.raises(PermissionError, match="the link belongs to another user"):
            open_private(_given_away(shared / name))
    assert mine.read_text() == "before"
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(("folder_mode", "is_followed"), [(0o700, True), (0o1777, True), (0o777, False)])
def test_our_own_link_is_followed_where_nobody_can_exchange_it(
    tmp_path: Path, folder_mode: int, is_followed: bool
) -> None:
    (mine := tmp_path / "mine").write_text("before")
    (shared := tmp_path / "shared").mkdir()
    shared.chmod(folder_mode)
    (shared / "link").symlink_to(mine)
    if is_followed:
        os.close(open_private(shared / "link"))
        assert mine.read_text() == ""
    else:
        with pytest.raises(OSError, match="symbolic links"):
            open_private(shared / "link")
        assert mine.read_text() == "before"


def test_a_hard_link_that_somebody_may_have_made_is_not_emptied(tmp_path: Path) -> None:
    (mine := tmp_path / "mine").write_text("before")
    (shared := tmp_path / "shared").mkdir()
    shared.chmod(0o777)
    os.link(mine, shared / "report")
    with pytest.raises(PermissionError, match="another name"):
        open_private(shared / "report")
    assert mine.read_text() == "before"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_fifo_of_another_user_is_neither_waited_for_nor_written_to(tmp_path: Path) -> None:
    os.mkfifo(fifo := tmp_path / "fifo")
    _given_away(fifo)
    with pytest.raises(PermissionError, match="belongs to another user"):
        open_private(fifo)
    with pytest.raises(WrittenByOthers), opened_ours(fifo):
        pass


def test_what_decides_is_read_only_where_nobody_else_can_have_written_it(tmp_path: Path) -> None:
    (file := tmp_path / "file").write_text("ours")
    (link := tmp_path / "link").symlink_to(file)
    file.chmod(0o644)
    for path in (file, link):
        with opened_ours(path) as stream:
            assert stream.read() == b"ours"
        require_ours(path)
    file.chmod(0o666)
    for path in (file, link):
        with pytest.raises(WrittenByOthers, match="can be written by other users"), opened_ours(path):
            pass
        with pytest.raises(WrittenByOthers, match="can be written by other users"):
            require_ours(path)
    (folder := tmp_path / "certificates").mkdir()
    folder.chmod(0o777)
    with pytest.raises(WrittenByOthers):
        require_ours(folder)


def test_what_a_pipe_of_ours_says_is_waited_for(tmp_path: Path) -> None:
    os.mkfifo(fifo := tmp_path / "fifo", 0o600)
    writer = threading.Thread(target=fifo.write_text, args=("from a password manager",))
    writer.start()
    with opened_ours(fifo) as stream:
        assert stream.read() == b"from a password manager"
    writer.join()


_OF_OTHERS = "can be written by other users (mode 0666)"


def _use(what: str, file: Path) -> None:
    match what:
        case "s3.sse_customer_key_file":
            client_options(S3Settings(sse_customer_key_file=file), TransferSettings())
        case "s3.ca_bundle":
            client_options(S3Settings(ca_bundle=file), TransferSettings())
        case "mongodb.uri_file":
            load(None, {}, {"mongodb.uri_file": str(file)})
        case "--files-from":
            list(listed_paths(str(file), "/"))
        case "resume file":
            ResumeFile(file)


@pytest.mark.parametrize(
    "what", ["s3.sse_customer_key_file", "s3.ca_bundle", "mongodb.uri_file", "--files-from", "resume file"]
)
def test_each_file_that_decides_something_is_refused_by_name(tmp_path: Path, what: str) -> None:
    (file := tmp_path / "file").write_bytes(b"x" * 32)
    file.chmod(0o666)
    with pytest.raises(ConsoleError) as caught:
        _use(what, file)
    assert what in caught.value.message
    assert f"{file} {_OF_OTHERS}" in caught.value.message
    assert caught.value.advice


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_resume_file_goes_through_no_link_of_another_user(tmp_path: Path) -> None:
    (link := tmp_path / "resume.json").symlink_to(tmp_path / "elsewhere")
    _given_away(link)
    with pytest.raises(UsageError, match=r"resume\.json is a link that belongs to"):
        ResumeFile(link)


def test_a_key_that_others_can_read_is_remarked_on(tmp_path: Path) -> None:
    (file := tmp_path / "key").write_bytes(b"x" * 32)
    file.chmod(0o644)
    assert (
        "holds a key, and other users can read it" in load(None, {}, {"s3.sse_customer_key_file": str(file)}).remarks[0]
    )
    file.chmod(0o600)
    assert not load(None, {}, {"s3.sse_customer_key_file": str(file)}).remarks
