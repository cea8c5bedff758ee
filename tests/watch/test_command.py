"""`upload-console watch` as systemd, cron and a person at a prompt call it: in a process of its own."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.faults.proxy import FaultProxy, Hold
from tests.watch.conftest import World
from tests.watch.waiting import until

Start = Callable[..., "Running"]


class Running:
    """The program, and the lines of JSON that it has written so far."""

    def __init__(self, process: subprocess.Popen[str], out: Path) -> None:
        self.process = process
        self._out = out

    @property
    def text(self) -> str:
        return self._out.read_text()

    def lines(self, event: str = "") -> list[dict[str, Any]]:
        complete = self.text.rpartition("\n")[0].splitlines()
        return [line for line in map(json.loads, complete) if not event or line["event"] == event]

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        return self.process.wait(timeout=150)

    def complains_of(self, words: str) -> bool:
        """Read its errors until a line has these words; False if it ends before."""
        assert self.process.stderr is not None
        return any(words in line for line in self.process.stderr)


@pytest.fixture
def start(world: World, environment: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:

        def start(
            *arguments: str, json_lines: bool = True, through: Sequence[str] = (), to: Any = None, **more: str
        ) -> Running:
            out = tmp_path / f"out-{len(os.listdir(tmp_path))}"
            process = subprocess.Popen(
                [*through, sys.executable, "-m", "console", "watch", *arguments, *(["--json"] if json_lines else [])],
                stdout=to or stack.enter_context(out.open("w")),
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, **environment, "XDG_STATE_HOME": str(tmp_path / "state"), **more},
            )
            stack.callback(end, process)
            return Running(process, out)

        yield start


def end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.kill()
    print(process.communicate()[1])  # what it complained of is shown with the test that failed


@pytest.fixture
def config(world: World, tmp_path: Path) -> Path:
    file = tmp_path / "config.toml"
    file.write_text(rules(world.folder))
    return file


def rules(folder: Path, **settings: str) -> str:
    lines = [
        f"{name} = {value}" for name, value in {"folder": f'"{folder}"', "quiet_seconds": "0.3", **settings}.items()
    ]
    return "\n".join(["[[watch]]", *lines, ""])


def test_the_service_sends_tells_and_ends_in_order(world: World, start: Start, config: Path) -> None:
    world.write("a.txt", age_seconds=60)
    program = start("--config", str(config))
    until(lambda: program.lines("completed"))
    (completed,) = program.lines("completed")
    assert completed["path"] == str(world.folder / "a.txt")
    assert completed["destination"] == f"s3://{world.bucket}/a.txt"
    assert program.end() == 0
    assert program.lines("stopped")
    assert world.documents(status="completed")
    assert world.records.runners.live() == []


def test_ctrl_c_is_an_interruption(world: World, start: Start) -> None:
    program = start(str(world.folder))
    until(lambda: program.lines("scanned"))
    assert program.end(signal.SIGINT) == 130


def test_people_get_lines_without_anything_that_a_terminal_would_act_on(world: World, start: Start) -> None:
    world.write("evil\x1b[31m\nname", age_seconds=60)
    program = start(str(world.folder), "--once", json_lines=False)
    assert program.wait() == 0
    assert "\x1b" not in program.text
    assert r"evil\x1b[31m\nname" in program.text
    assert "completed" in program.text


def test_sighup_reads_the_rules_again_and_wrong_ones_change_nothing(
    world: World, start: Start, config: Path, tmp_path: Path
) -> None:
    program = start("--config", str(config))
    until(lambda: program.lines("scanned"))
    other = tmp_path / "other"
    other.mkdir()
    config.write_text(rules(world.folder) + rules(other))
    program.process.send_signal(signal.SIGHUP)
    until(lambda: len(program.lines("scanned")) == 2)
    assert [line["rule"] for line in program.lines("watching")] == [str(world.folder), str(other)]
    config.write_text("[[watch]]\nfoldr = 1\n")
    program.process.send_signal(signal.SIGHUP)
    assert program.complains_of("the rules stay as they are")
    (other / "a.txt").write_text("still watched")
    until(lambda: program.lines("completed"))
    assert program.end() == 0


def test_once_sends_what_is_there_cares_for_it_proves_it_and_ends(
    world: World, start: Start, config: Path, tmp_path: Path
) -> None:
    proof = tmp_path / "proof.jsonl"
    config.write_text(rules(world.folder, after='"delete"', manifest=f'"{proof}"'))
    old, new = world.write("old.txt", age_seconds=60), world.write("new.txt")
    program = start("--once", "--config", str(config))
    assert program.wait() == 0
    assert not old.exists()
    assert not new.exists()
    assert len(world.documents(status="completed")) == 2
    head, *entries, foot = [json.loads(line) for line in proof.read_text().splitlines()]
    assert (head["objects"], head["not_completed"]) == (2, 0)
    assert {entry["path"] for entry in entries} == {str(old), str(new)}
    assert foot["seal"]
    again = start("--once", "--config", str(config))
    assert again.wait() == 0
    assert json.loads(proof.read_text().splitlines()[0]) == head
    assert again.lines("queued") == []


def test_once_leaves_what_is_being_written_and_says_so(world: World, start: Start, config: Path) -> None:
    path = world.folder / "open.log"
    with path.open("w") as stream:
        stream.write("half")
        stream.flush()
        program = start("--once", "--config", str(config))
        assert program.wait() == 0
    assert [line["path"] for line in program.lines("left")] == [str(path)]
    assert world.documents() == []


def test_once_ends_with_1_where_an_upload_failed(world: World, start: Start, config: Path) -> None:
    config.write_text(rules(world.folder, to='"s3://there-is-no-such-bucket"'))
    world.write("a.txt", age_seconds=60)
    program = start("--once", "--config", str(config))
    assert program.wait() == 1
    assert world.documents(status="failed")


def test_a_folder_of_the_configuration_that_is_away_does_not_hold_up_the_others(
    world: World, start: Start, config: Path, tmp_path: Path
) -> None:
    config.write_text(rules(tmp_path / "unmounted") + rules(world.folder))
    world.write("a.txt", age_seconds=60)
    for flag, event in (("--dry-run", "would_send"), ("--once", "completed")):
        program = start(flag, "--config", str(config))
        assert program.wait() == 1
        assert [line["path"] for line in program.lines("missing")] == [str(tmp_path / "unmounted")]
        assert [line["path"] for line in program.lines(event)] == [str(world.folder / "a.txt")]


def loop(folder: Path) -> str:
    folder.symlink_to(folder)
    return "Too many levels of symbolic links"


def close(folder: Path) -> str:
    folder.mkdir(mode=0)
    return "Permission denied"


def close_above(folder: Path) -> str:
    folder.mkdir()
    folder.parent.chmod(0)
    return "Permission denied"


@pytest.mark.parametrize("spoil", [loop, close, close_above])
def test_once_ends_with_1_where_a_folder_cannot_be_read_and_the_others_are_sent(
    world: World, start: Start, config: Path, tmp_path: Path, spoil: Callable[[Path], str]
) -> None:
    (tmp_path / "above").mkdir()
    folder = tmp_path / "above" / "spoiled"
    problem = spoil(folder)
    config.write_text(rules(folder) + rules(world.folder))
    world.write("a.txt", age_seconds=60)
    try:
        program = start("--once", "--config", str(config), through=as_somebody_with_no_more_rights_than_others())
        assert program.wait() == 1
    finally:
        (tmp_path / "above").chmod(0o700)
    assert [line["message"] for line in program.lines("trouble")] == [f"{folder}: {problem}"]
    assert [line["path"] for line in program.lines("completed")] == [str(world.folder / "a.txt")]
    assert program.complains_of(f"{folder} was not scanned completely")


def as_somebody_with_no_more_rights_than_others() -> list[str]:
    """What a program is started through so that it may not read everything, as root may."""
    if os.geteuid() != 0:
        return []
    through = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    try:
        tried = subprocess.run([*through, "true"], capture_output=True)
    except OSError:
        pytest.skip("there is no setpriv program")
    if tried.returncode:
        pytest.skip("this root may not give up rights")
    return through


def test_a_dry_run_says_what_would_be_sent_and_why_not(world: World, start: Start, config: Path) -> None:
    world.write("sent.txt", age_seconds=60)
    assert start("--once", "--config", str(config)).wait() == 0
    config.write_text(rules(world.folder, extensions='[".txt"]', exclude='["drafts/"]'))
    world.write("new.txt", age_seconds=60)
    world.write("wrong.exe", age_seconds=60)
    world.write("drafts/a.txt")
    world.write("half.txt.part")
    (world.folder / "out").symlink_to("/etc/passwd")
    world.pass_time(0.4)
    program = start("--dry-run", "--config", str(config))
    assert program.wait() == 0
    said = {(line["event"], os.path.relpath(line["path"], world.folder)) for line in program.lines()}
    assert said == {
        ("would_send", "new.txt"),
        ("sent_already", "sent.txt"),
        ("refused", "wrong.exe"),
        ("refused", "out"),
        ("left_out", "drafts"),
        ("left_out", "half.txt.part"),
    }
    (line,) = program.lines("would_send")
    assert line["destination"] == f"s3://{world.bucket}/new.txt"
    assert len(world.documents()) == 1


def test_systemd_hears_that_it_is_ready_alive_and_stopping(world: World, start: Start, tmp_path: Path) -> None:
    address = f"\0upload-console-test-{os.getpid()}-{world.bucket}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(120)
        program = start(str(world.folder), NOTIFY_SOCKET=f"@{address[1:]}", WATCHDOG_USEC="300000")
        heard: list[str] = []

        def hear(word: str) -> str:
            while not any(word in message for message in heard):
                heard.append(manager.recv(4096).decode())
            return next(message for message in heard if word in message)

        assert "STATUS=" in hear("READY=1")
        assert "1 of 1 folder watched" in hear("WATCHDOG=1")
        program.process.send_signal(signal.SIGHUP)
        assert "MONOTONIC_USEC=" in hear("RELOADING=1")
        program.process.terminate()
        hear("STOPPING=1")
        assert program.wait() == 0


def test_metrics_and_health_on_loopback(world: World, start: Start, config: Path) -> None:
    world.write("a.txt", age_seconds=60)
    os.mkfifo(world.folder / "pipe")
    port = free_port()
    program = start("--config", str(config), "--metrics-port", str(port))
    until(lambda: program.lines("completed"))

    def fetch(path: str) -> tuple[str, str]:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
            return answer.headers["Content-Type"], answer.read().decode()

    label = f'{{rule="{world.folder}"}}'
    kind, text = until(lambda: found if f"_sent{label} 1" in (found := fetch("/metrics"))[1] else None)
    assert kind.startswith("application/openmetrics-text")
    assert text.endswith("# EOF\n")
    assert f"upload_console_watch_working{label} 1" in text
    assert f"upload_console_watch_queued_total{label} 1" in text
    assert f'reason="a named pipe",rule="{world.folder}"}} 1' in text
    assert fetch("/healthz")[1] == "1 of 1 folder watched, 1 upload queued\n"
    with pytest.raises(urllib.error.HTTPError, match="404"):
        fetch("/secret")
    assert program.end() == 0


def free_port() -> int:
    """Neither among those for outgoing connections nor among those of the embedded servers: it stays free."""
    while True:
        port = random.randrange(18_000, 19_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def test_wrong_usage_ends_with_2_and_a_sentence(start: Start) -> None:
    program = start("/there/is/none", "--once")
    assert program.wait() == 2
    assert program.complains_of("Wrong usage: /there/is/none does not exist, or is not a folder")


def test_a_database_that_is_away_ends_with_3(start: Start, world: World) -> None:
    program = start(
        str(world.folder),
        UPLOAD_CONSOLE_MONGODB__URI="mongodb://127.0.0.1:1",
        UPLOAD_CONSOLE_MONGODB__TIMEOUT_SECONDS="0.5",
    )
    assert program.wait() == 3


def test_a_killed_service_leaves_its_work_to_the_next_one(world: World, start: Start, config: Path) -> None:
    """kill -9 in the middle: all files are sent, none twice."""
    for number in range(100):
        world.write(f"{number}", f"{number}" * 100, age_seconds=60)
    with FaultProxy(world.settings.s3.endpoint_url or "") as proxy:
        proxy.plan("PutObject", Hold(), when=lambda request: request.key == "50")
        names = f'[s3]\nendpoint_names = {{ "{proxy.url}" = "{world.settings.s3.endpoint_url}" }}\n'
        config.write_text(names + config.read_text())
        program = start("--config", str(config), "--s3-endpoint", proxy.url)
        until(lambda: program.lines("completed"))
        program.process.kill()
        program.wait()
        assert 0 < len(world.documents(status="completed")) < 100
        again = start("--once", "--config", str(config), "--s3-endpoint", proxy.url)
        assert again.wait() == 0
    assert len(world.documents(status="completed")) == len(world.documents()) == 100


@pytest.mark.parametrize("reader", ["full", "gone"])
def test_a_service_that_nobody_hears_ends_with_a_failure(start: Start, world: World, reader: str) -> None:
    """Its watches would go on, or not, and nobody would know: systemd starts it again."""
    with ExitStack() as stack:
        if reader == "full":
            out: Any = stack.enter_context(open("/dev/full", "w"))
        else:
            read, out = os.pipe()
            stack.callback(os.close, out)
            os.close(read)
        world.write("a.txt", age_seconds=60)
        running = start(str(world.folder), to=out)
        said = running.process.communicate(timeout=150)[1]
    assert running.process.returncode == 1
    assert "Standard output: cannot be written" in said
    assert "Traceback" not in said


def test_a_single_run_sends_all_though_nobody_reads(start: Start, world: World) -> None:
    read, out = os.pipe()
    os.close(read)
    for name in ("a.txt", "b.txt"):
        world.write(name, age_seconds=60)
    running = start("--once", str(world.folder), to=out)
    os.close(out)
    said = running.process.communicate(timeout=150)[1]
    assert running.process.returncode == 0, said
    assert "Traceback" not in said
    assert len(world.documents(status="completed")) == 2


def test_lines_of_json_have_names_as_the_system_has_them(start: Start, world: World) -> None:
    names = ["new\nline", "caf\udce9", "[red]\x1b[31m\u200d"]
    for name in names:
        world.write(name, age_seconds=60)
    running = start("--dry-run", str(world.folder))
    said = running.process.communicate(timeout=150)[1]
    assert running.process.returncode == 0, said
    assert {os.path.basename(line["path"]) for line in running.lines()} >= set(names)
    assert "\x1b" not in running.text
