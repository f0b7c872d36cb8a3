"""Several hosts: the coordinator's and the nodes' commands."""

import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from burn_dp_flower.coordinator import Address, key_text, parse_address, prepare_superlink, register
from burn_dp_flower.identity import key_file_name, key_text_name
from burn_dp_flower.main import main
from burn_dp_flower.node import prepare_node, trust
from burn_dp_flower.processes import LoopbackError, free_ports, status_of
from burn_dp_flower.versions import ONE_PORT_SINCE, flower_version
from conftest import FAKE_WORKER

PORT = 9092


def test_addresses():
    assert parse_address("10.0.0.1:9092") == Address("10.0.0.1", PORT)
    assert parse_address("[fd00::1]:9092") == Address("fd00::1", PORT)
    assert str(parse_address("[fd00::1]:9092")) == "[fd00::1]:9092"
    assert str(parse_address("link.example:9092")) == "link.example:9092"
    for text in ["10.0.0.1", ":9092", "a:b", "a:0", "a:65536", ""]:
        with pytest.raises(ValueError, match="not an address"):
            parse_address(text)


@pytest.fixture
def listening(tmp_path):
    """A TLS server with a coordinator's certificate; returns its address and fingerprint."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = Address("127.0.0.1", server.getsockname()[1])
        fingerprint = prepare_superlink(tmp_path / "a", address)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "a/tls/link.crt", tmp_path / "a/tls/link.key")
        secure = context.wrap_socket(server, server_side=True)

        def answer():
            while True:
                try:
                    secure.accept()[0].close()
                except ssl.SSLError:
                    continue
                except OSError:
                    return

        threading.Thread(target=answer, daemon=True).start()
        yield address, fingerprint
        secure.close()


def test_a_node_trusts_the_certificate_whose_fingerprint_it_was_told(tmp_path, listening):
    address, fingerprint = listening
    prepare_node(tmp_path / "b")
    root = trust(tmp_path / "b", address, fingerprint.upper())
    context = ssl.create_default_context(cafile=root)  # the law: what was pinned verifies the host, by name
    with (
        socket.create_connection((address.host, address.port)) as connection,
        context.wrap_socket(connection, server_hostname=address.host) as secure,
    ):
        assert secure.version()


@pytest.mark.parametrize("told", ["0" * 64, "short"])
def test_a_node_takes_no_other_certificate(tmp_path, listening, told):
    prepare_node(tmp_path / "b")
    with pytest.raises(ValueError, match="another certificate|not a fingerprint"):
        trust(tmp_path / "b", listening[0], told)
    assert not (tmp_path / "b" / "link.crt").exists()


def test_a_kept_certificate_is_not_replaced(tmp_path, listening):
    address, fingerprint = listening
    prepare_node(tmp_path / "b")
    trust(tmp_path / "b", address, fingerprint)
    with pytest.raises(ValueError, match="of another SuperLink"):
        trust(tmp_path / "b", address, "0" * 64)


def test_a_second_start_keeps_keys_and_certificate(tmp_path):
    first = prepare_superlink(tmp_path / "a", Address("127.0.0.1", PORT)), prepare_node(tmp_path / "b")
    assert first == (prepare_superlink(tmp_path / "a", Address("127.0.0.1", PORT)), prepare_node(tmp_path / "b"))
    for private in [tmp_path / "a/tls/link.key", tmp_path / "b/node.key"]:
        assert private.stat().st_mode & 0o077 == 0
    for folder in [tmp_path / "a", tmp_path / "b", tmp_path / "b/state"]:
        assert folder.stat().st_mode & 0o077 == 0


def test_a_key_is_a_file_or_its_text(tmp_path):
    name, text = prepare_node(tmp_path / "b")
    public = tmp_path / "b/node.key.pub"
    assert key_text(text) == key_text(str(public)) == text
    assert name == key_file_name(public) == key_text_name(text.encode())
    with pytest.raises(ValueError):
        key_text("ecdsa-sha2-nistp384 nonsense")


def test_a_population_does_not_change_under_a_run(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr("burn_dp_flower.coordinator.call_flwr", lambda *arguments: calls.append(arguments[2:]))
    prepare_superlink(tmp_path / "a", Address("127.0.0.1", PORT))
    with pytest.raises(ValueError, match="no node is registered"):
        register(tmp_path / "a", [])
    one, two = (prepare_node(tmp_path / name) for name in "bc")
    assert register(tmp_path / "a", [one[1]]) == [one[0]]
    assert register(tmp_path / "a", [one[1]]) == [one[0]]  # told twice, registered once
    assert [call[:2] for call in calls] == [("supernode", "register")]
    assert (tmp_path / "a/server/clients.txt").read_text().split() == [one[0]]
    with pytest.raises(ValueError, match="keeps its population"):
        register(tmp_path / "a", [two[1]])
    assert len(calls) == 1
    assert (tmp_path / "a/server/clients.txt").read_text().split() == [one[0]]


def test_a_coordinators_folder_is_needed(tmp_path, capsys):
    assert main(["run", str(FAKE_WORKER), str(tmp_path), "ecdsa-sha2-nistp384 x"]) == 1
    assert "start `burn-dp-flower superlink` there first" in capsys.readouterr().err


def test_a_superlink_that_is_gone_is_an_error_that_says_what_to_do():
    assert status_of({"runs": [{"status": "finished:failed"}]}) == "finished:failed"
    for answer in [{"success": False, "error-message": "connection refused"}, {"runs": []}]:
        with pytest.raises(LoopbackError, match="start it again to go on"):
            status_of(answer)


@pytest.mark.loopback
@pytest.mark.skipif(flower_version() < ONE_PORT_SINCE, reason="these commands need one port for all APIs")
def test_the_commands_of_the_guide(tmp_path):
    address = f"127.0.0.1:{next(free_ports())}"
    told = command("superlink", address, tmp_path / "a", "--prepare").stdout.split()
    fingerprint = told[told.index(address) + 1]
    started = [start(tmp_path / "a.log", "superlink", address, tmp_path / "a")]
    try:
        keys = []
        for name in "bc":
            arguments = ["node", address, fingerprint, FAKE_WORKER, tmp_path / name]
            keys.append(command(*arguments, "--prepare").stdout.splitlines()[-1])
            started.append(start(tmp_path / f"{name}.log", *arguments))
        done = command("run", FAKE_WORKER, tmp_path / "a", *keys, "--timeout", "300")
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.rstrip().endswith("finished:completed")
        assert sorted((tmp_path / "a/server/clients.txt").read_text().split()) == sorted(
            key_text_name(key.encode()) for key in keys
        )
        for name in "bc":
            assert len((tmp_path / name / "state/ledger").read_text().split()) == 3
    finally:
        for process in reversed(started):
            process.send_signal(signal.SIGTERM)
        for process in started:
            process.wait(60)
    assert not [line for line in processes() if str(tmp_path) in line]


def command(*arguments):
    program = Path(sys.executable).parent / "burn-dp-flower"
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, timeout=400)


def start(log, *arguments):
    program = Path(sys.executable).parent / "burn-dp-flower"
    with log.open("w") as output:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        return subprocess.Popen([program, *map(str, arguments)], stdout=output, stderr=output, env=environment)


def processes():
    return subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout.splitlines()
