"""Flower's own processes: a SuperLink, two SuperNodes, three rounds of the fake worker."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from burn_dp_flower.versions import flower_version, tells_keys
from conftest import FAKE_WORKER

pytest.importorskip("flwr")
BLOB = 12_000_000  # three chunks of zeros, two of them equal


def loopback(folder, *flags):
    command = Path(sys.executable).parent / "burn-dp-flower"
    return subprocess.run(
        [command, "loopback", str(FAKE_WORKER), str(folder), *flags],
        capture_output=True,
        text=True,
        timeout=400,
    )


@pytest.mark.loopback
@pytest.mark.parametrize("flags", [(), ("--tls",)], ids=["insecure", "tls"])
def test_three_rounds_on_flower(tmp_path, flags):
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "plan.json").write_text(json.dumps({"bytes": BLOB}))
    done = loopback(tmp_path, *flags)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("finished:completed")
    journal = json.loads((tmp_path / "server" / "journal.json").read_text())
    assert sorted(journal["answers"]) == [[10, 20], [11, 22], [20, 40], [21, 42], [30, 60], [31, 62]]
    assert journal["failed"] == []
    assert [len((tmp_path / f"node-{i}" / "ledger").read_text().split()) for i in range(2)] == [3, 3]
    assert "worker: answered" in (tmp_path / "logs" / "node-0.log").read_text()
    if flags and tells_keys(flower_version()):
        prepared = loopback(tmp_path, *flags, "--prepare").stdout.split()
        assert sorted(prepared) == sorted(journal["nodes"])
    assert not left_running(tmp_path)


def left_running(folder):
    """Command lines of processes that mention the folder."""
    lines = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout.splitlines()
    return [line for line in lines if str(folder) in line]
