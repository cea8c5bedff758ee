"""`services` as a process: its line, its end by any signal, its folder."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socketserver
import subprocess
import sys
from contextlib import contextmanager
from threading import Thread
from urllib.parse import urlsplit

import psutil
import pytest
from botocore.exceptions import ClientError
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from console.commands.demo import ServicesLine
from console.embedded.lifetime import LOOPBACK
from console.embedded.services import EmbeddedServices
from console.errors import EmbeddedServerFailed
from tests.embedded.conftest import PATIENCE_SECONDS


def insert(line, document):
    with MongoClient(line["mongodb_uri"], serverSelectionTimeoutMS=60_000) as client:
        client.test.things.insert_one(document)


def documents(line):
    with MongoClient(line["mongodb_uri"], serverSelectionTimeoutMS=60_000) as client:
        return list(client.test.things.find())


class ForeignServer(socketserver.TCPServer):
    allow_reuse_address = True


@contextmanager
def foreign_server(port):
    """It hangs up on everybody: a mongod asks it for 10 s and more whether it is itself, if it is let to."""
    with ForeignServer((LOOPBACK, port), socketserver.BaseRequestHandler) as server:
        thread = Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield
        server.shutdown()
        thread.join()


def test_both_servers_answer_when_the_line_is_there(running_services):
    line = running_services.line
    assert line.keys() == ServicesLine.model_fields.keys()
    ServicesLine.model_validate(line)
    with MongoClient(line["mongodb_uri"], serverSelectionTimeoutMS=60_000) as client:
        assert client.admin.command("hello")["isWritablePrimary"]
    s3 = running_services.s3()
    s3.put_object(Bucket=line["bucket"], Key="a/b", Body=b"x")
    assert s3.head_object(Bucket=line["bucket"], Key="a/b")["ContentLength"] == 1


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 0), (signal.SIGHUP, 0), (signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)],
)
def test_no_process_and_no_private_folder_outlive_it(start_services, number, code):
    services = start_services()
    folder = services.folder
    assert folder.is_dir()
    assert services.end(number) == code
    assert not folder.exists()
    assert services.process.stdout.read() == ""
    assert services.process.stderr.read() == ""


def test_signals_of_the_terminal_reach_only_us(running_services):
    own_group = os.getpgid(running_services.process.pid)
    assert own_group not in {os.getpgid(process.pid) for process in running_services.descendants}


def test_a_signal_while_starting_leaves_nothing(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-m", "console", "services", "--json", "--dir", tmp_path], stdout=subprocess.PIPE
    ) as process:
        us = psutil.Process(process.pid)
        while not (descendants := us.children(recursive=True)):
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0
        _, alive = psutil.wait_procs(descendants, timeout=PATIENCE_SECONDS)
        assert not alive
    with (tmp_path / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # as long as one of its servers runs, it is held


def started_again(start_services, directory, before):
    """Start as before; of three times one is when no other program has taken one of the ports meanwhile."""
    for _ in range(3):
        again = start_services(directory)
        assert again.line["access_key"] == before.line["access_key"]
        if again.line == before.line:
            return again
        again.end(signal.SIGTERM)
        before = again
    raise AssertionError(f"never the same: {before.line}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_kept_folder_comes_back_as_it_was(start_services, tmp_path, number):
    """But for what an upload that was killed left behind."""
    first = start_services(tmp_path)
    insert(first.line, {"_id": "kept"})
    first.s3().put_object(Bucket=first.line["bucket"], Key="ü", Body=b"kept")
    first.end(number)
    leftover = tmp_path / "s3/uploads/folder/.rclone_temp_put_abc"
    leftover.parent.mkdir()
    leftover.write_bytes(b"half")

    second = started_again(start_services, tmp_path, first)
    assert not leftover.exists()
    assert documents(second.line) == [{"_id": "kept"}]
    assert second.s3().get_object(Bucket=second.line["bucket"], Key="ü")["Body"].read() == b"kept"


def test_a_start_right_after_a_crash_waits_for_the_old_servers_to_end(start_services, tmp_path):
    first = start_services(tmp_path)
    insert(first.line, {"_id": "kept"})
    first.process.kill()
    first.process.wait(PATIENCE_SECONDS)
    second = start_services(tmp_path)
    assert documents(second.line) == [{"_id": "kept"}]
    first.assert_nothing_is_left()


def test_ports_that_were_taken_meanwhile_are_replaced(start_services, tmp_path):
    first = start_services(tmp_path)
    insert(first.line, {"_id": "kept"})
    ports = [urlsplit(first.line[name]).port for name in ("mongodb_uri", "s3_endpoint")]
    first.end(signal.SIGTERM)
    with foreign_server(ports[0]), foreign_server(ports[1]):
        second = start_services(tmp_path)
        assert second.line["mongodb_uri"] != first.line["mongodb_uri"]
        assert second.line["s3_endpoint"] != first.line["s3_endpoint"]
        insert(second.line, {"_id": "new"})
        assert documents(second.line) == [{"_id": "kept"}, {"_id": "new"}]


def test_a_folder_in_use_is_refused_with_the_process_that_uses_it(start_services, refused_services, tmp_path):
    first = start_services(tmp_path)
    second = refused_services(tmp_path)
    assert second.returncode == 3
    assert second.stdout == ""
    assert str(tmp_path) in second.stderr
    assert f"process {first.process.pid} " in second.stderr
    assert "Traceback" not in second.stderr
    assert documents(first.line) == []


@pytest.mark.parametrize("content", ["{", '{"mongodb_port": "x"}'])
def test_a_damaged_folder_says_which_file_and_what_to_do(tmp_path, content):
    (tmp_path / "services.json").write_text(content)
    refused = refusal(tmp_path)
    assert str(tmp_path / "services.json") in refused.message
    assert "Remove that file" in refused.advice


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    assert str(tmp_path / "file" / "folder") in refusal(tmp_path / "file" / "folder").message


@pytest.mark.parametrize("name", ["mongodb", "s3"])
def test_a_file_in_a_servers_place_is_named(tmp_path, name):
    (tmp_path / name).write_text("")
    assert str(tmp_path / name) in refusal(tmp_path).message


def refusal(directory):
    """What the program says of it, and exits with 3: test_a_folder_in_use_is_refused... sees that it does."""
    with pytest.raises(EmbeddedServerFailed) as caught:
        EmbeddedServices.start(directory)
    assert caught.value.exit_code == 3
    return caught.value


@pytest.mark.parametrize("name", ["mongod", "rclone"])
def test_a_server_that_dies_ends_the_other_with_an_error(start_services, name):
    services = start_services()
    services.server(name).kill()
    assert services.process.wait(PATIENCE_SECONDS) == 3
    services.assert_nothing_is_left()
    assert f"{name} ended by itself (exit code 137)" in services.process.stderr.read()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's death")
def test_servers_end_when_their_supervisors_are_killed(start_services):
    services = start_services()
    servers = [services.server("mongod"), services.server("rclone")]
    supervisors = [server.parent() for server in servers]
    services.process.send_signal(signal.SIGSTOP)  # it would end one when the other has gone
    os.waitid(os.P_PID, services.process.pid, os.WSTOPPED | os.WNOWAIT)
    for supervisor in supervisors:
        supervisor.kill()
    _, alive = psutil.wait_procs(servers, timeout=PATIENCE_SECONDS)
    assert not alive
    services.process.send_signal(signal.SIGCONT)
    assert services.process.wait(PATIENCE_SECONDS) == 3


def test_the_secret_key_is_checked_and_not_seen_by_other_users(running_services):
    for process in running_services.descendants:
        assert running_services.line["secret_key"] not in " ".join(process.cmdline())
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        running_services.s3(aws_secret_access_key="wrong").list_buckets()


def test_mongodb_answers_nobody_without_the_password(running_services):
    line = running_services.line
    parts = urlsplit(line["mongodb_uri"])
    for process in running_services.descendants:
        assert parts.password not in " ".join(process.cmdline())
    for user in ("", f"{parts.username}:wrong@"):
        uri = f"mongodb://{user}{LOOPBACK}:{parts.port}/?directConnection=true"
        with MongoClient(uri, serverSelectionTimeoutMS=60_000) as client:
            with pytest.raises(OperationFailure):
                client.test.things.find_one()
            with pytest.raises(OperationFailure):  # not even the first one to come may make himself a user
                client.admin.command("createUser", "me", pwd="mine", roles=["root"])


def test_all_that_it_keeps_is_for_its_user_alone(start_services, tmp_path):
    before = os.umask(0)
    try:
        services = start_services(tmp_path / "new" / "data")
        services.s3().put_object(Bucket=services.line["bucket"], Key="a/b", Body=b"x")
        entries = [tmp_path / "new", *(tmp_path / "new").rglob("*")]
        assert {str(entry): oct(mode) for entry in entries if (mode := entry.lstat().st_mode) & 0o077} == {}
    finally:
        os.umask(before)


def test_a_kept_folder_from_before_passwords_gets_one(start_services, tmp_path):
    first = start_services(tmp_path)
    insert(first.line, {"_id": "kept"})
    first.end(signal.SIGTERM)
    file = tmp_path / "services.json"
    kept = json.loads(file.read_text())
    del kept["mongodb_password"]
    file.write_text(json.dumps(kept))
    tmp_path.chmod(0o755)
    second = start_services(tmp_path)
    assert documents(second.line) == [{"_id": "kept"}]
    assert urlsplit(second.line["mongodb_uri"]).password != urlsplit(first.line["mongodb_uri"]).password
    assert tmp_path.stat().st_mode & 0o077 == 0


def test_a_folder_that_others_may_change_is_refused(tmp_path):
    (tmp_path / "something").write_text("of mine")
    tmp_path.chmod(0o777)
    assert "other users may change what is in it" in refusal(tmp_path).message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["something"]


def test_the_persons_own_rclone_configuration_has_no_say(start_services, tmp_path, monkeypatch):
    (tmp_path / "rclone.conf").write_text("this is no configuration")
    monkeypatch.setenv("RCLONE_CONFIG", str(tmp_path / "rclone.conf"))
    monkeypatch.setenv("RCLONE_READ_ONLY", "true")
    monkeypatch.setenv("RCLONE_AUTH_KEY", '"their,own"')
    services = start_services()
    services.s3().put_object(Bucket=services.line["bucket"], Key="x", Body=b"x")
