"""One holder at a time, and a dead one is replaced."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from model.errors import UnavailableError
from model.folder import LocalFolder
from training.retrain.lease import Lease, held_lease

HOLD = (
    "import sys, time; from pathlib import Path; from model.folder import LocalFolder;"
    "from training.retrain.lease import Lease;"
    "lease = Lease(LocalFolder(Path(sys.argv[1])), seconds=float(sys.argv[2]));"
    "lease.acquire(); print('held', flush=True); time.sleep(600)"
)


def holder(folder: Path, seconds: float) -> "subprocess.Popen[str]":
    """A process that holds the lease."""
    command = [sys.executable, "-c", HOLD, str(folder), str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_who_holds_it_keeps_others_out_and_gives_it_back(tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path)
    with held_lease(folder, seconds=0.4) as lease:
        lease.certainly()
        time.sleep(1.0)  # longer than it lasts: it is renewed
        lease.certainly()
        with pytest.raises(UnavailableError, match="another retraining is running") as caught:
            Lease(folder, seconds=0.4).acquire()
        assert "free after 0.4 seconds" in str(caught.value.hint)
    assert folder.read("lease.json") is None
    with held_lease(folder, seconds=0.4):
        pass


def test_of_many_that_want_it_at_once_one_gets_it(tmp_path: Path) -> None:
    folder, got, refused = LocalFolder(tmp_path), list[Lease](), list[str]()

    def want() -> None:
        lease = Lease(folder, seconds=0.8)
        try:
            lease.acquire()
            got.append(lease)
        except UnavailableError as error:
            refused.append(error.message)

    threads = [threading.Thread(target=want) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(got), len(refused)) == (1, 7)
    got[0].certainly()
    got[0].release()


def test_a_killed_holder_is_replaced_at_once_on_its_own_machine(tmp_path: Path) -> None:
    process = holder(tmp_path, seconds=600.0)  # longer than anybody would wait
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with held_lease(LocalFolder(tmp_path), seconds=600.0) as lease:
        lease.certainly()


def test_of_a_container_with_the_name_of_this_machine_nothing_is_taken_for_dead(tmp_path: Path) -> None:
    process = holder(tmp_path, seconds=0.4)
    try:
        told = json.loads((tmp_path / "lease.json").read_text())
        assert told["numbered"] is not None
        told |= {"numbered": "elsewhere", "pid": 1, "process": "0"}
        (tmp_path / "lease.json").write_text(json.dumps(told))  # which its holder renews
        with pytest.raises(UnavailableError, match="another retraining is running"):
            Lease(LocalFolder(tmp_path), seconds=30.0).acquire()
    finally:
        process.kill()
        process.communicate()


def test_a_holder_elsewhere_is_replaced_when_it_does_not_renew(tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path)
    folder.write("lease.json", json.dumps({"holder": "x", "host": "elsewhere", "pid": 1, "renewals": 3}).encode())
    with held_lease(folder, seconds=0.5) as lease:
        lease.certainly()


def test_who_was_replaced_learns_of_it_before_publishing(tmp_path: Path) -> None:
    process = holder(tmp_path, seconds=0.5)
    os.kill(process.pid, signal.SIGSTOP)  # as a machine that hangs
    try:
        told = json.loads((tmp_path / "lease.json").read_text())
        (tmp_path / "lease.json").write_text(json.dumps(told | {"host": "elsewhere"}))
        first = Lease(LocalFolder(tmp_path), seconds=0.5)
        first.acquire()
        second = Lease(LocalFolder(tmp_path), seconds=0.5)
        with pytest.raises(UnavailableError, match="the lease was lost; nothing is published"):
            second.certainly()
        os.kill(process.pid, signal.SIGCONT)
        time.sleep(0.5)
        first.certainly()  # the one that woke up has not taken it back
        first.release()
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("content", [b"", b"nonsense", b"[]", b"{}"])
def test_what_cannot_be_read_is_replaced(tmp_path: Path, content: bytes) -> None:
    folder = LocalFolder(tmp_path)
    folder.write("lease.json", content)
    with held_lease(folder, seconds=0.3) as lease:
        lease.certainly()
