"""The server's loop, on a grid whose nodes are functions."""

import json
import time

import pytest
from flwr.app import ArrayRecord, ConfigRecord, Error, Message

from burn_dp_flower import server
from burn_dp_flower.client import answer
from burn_dp_flower.locking import Busy, owned
from burn_dp_flower.mail import Mail
from burn_dp_flower.parcel import CHUNK_BYTES, CHUNKS, HEAD, Packer
from burn_dp_flower.server import serve
from burn_dp_flower.settings import server_settings
from burn_dp_flower.worker import WorkerError
from conftest import FAKE_WORKER, FakeGrid


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(server, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(server, "GATHER_SECONDS", 0.1)
    monkeypatch.setattr(server, "ARRIVAL_SECONDS", 0.1)


@pytest.fixture
def node(tmp_path):
    """A node that runs the fake worker."""

    def make(number):
        config = {"worker": str(FAKE_WORKER), "state": str(tmp_path / f"node-{number}")}
        return lambda message: answer(message.content, config, {})

    return make


def settings(worker, tmp_path, **more):
    return server_settings({"worker": str(worker), "state": str(tmp_path / "state"), **more}, {})


def journal(tmp_path):
    return json.loads((tmp_path / "state" / "journal.json").read_text())


ALL = [[10, 20], [11, 22], [20, 40], [21, 42], [30, 60], [31, 62]]


def test_three_rounds(tmp_path, node):
    grid = FakeGrid({5: node(5), 6: node(6)})
    serve(grid, settings(FAKE_WORKER, tmp_path))
    assert journal(tmp_path)["answers"] == ALL
    assert grid.sent == [5, 6] * 3


@pytest.mark.parametrize("trouble", [
    "error", "refused", "hostile", "malformed", "impostor", "gibibyte", "truncated", "lying",
])  # fmt: skip
def test_a_node_in_trouble_is_failed_and_the_rounds_go_on(tmp_path, node, trouble):
    def bad(message):
        if trouble == "error":
            return Error(2, "the node's worker gave no answer")
        if trouble == "malformed":
            return ValueError("Flower cannot read this")
        (tmp_path / "f").write_text("x" * 1000)
        content = Packer().pack({"answer": tmp_path / "f"})
        if trouble == "hostile":
            return content
        if trouble == "gibibyte":
            part, many = next(iter(Packer().pack({"f": zeros})[CHUNKS].values())), 2**30 // CHUNK_BYTES + 1
            content[CHUNKS] = ArrayRecord({f"answer:{index}": part for index in range(many)})
            content[HEAD] = ConfigRecord({"format": 1, "files": json.dumps({"answer": many * CHUNK_BYTES})})
            return content
        if trouble == "truncated":
            content[CHUNKS] = ArrayRecord({})
            return content
        if trouble == "lying":
            content[HEAD] = ConfigRecord({"format": 1, "files": '{"answer": 2}'})
            return content
        reply = Message(content, reply_to=message)
        reply.metadata.__dict__["_src_node_id"] = 5
        return reply

    zeros = tmp_path / "zeros"
    zeros.write_bytes(bytes(CHUNK_BYTES))
    grid = FakeGrid({5: node(5), 6: bad})
    grid.refuses = {6} if trouble == "refused" else set()
    # A GiB is more than is taken without a setting.
    limit = {} if trouble == "gibibyte" else {"max-bytes": 100}
    serve(grid, settings(FAKE_WORKER, tmp_path, **limit))
    assert journal(tmp_path)["answers"] == [[10, 20], [20, 40], [30, 60]]
    assert journal(tmp_path)["failed"] == ["6"] * 3


# A worker that sends one file to the nodes that a list names, and notes what it saw of each call.
SENDER = """
(state / "calls").mkdir(exist_ok=True)
number = len(list((state / "calls").iterdir()))
saw = json.loads((folder / "in" / "online.json").read_text())
saw["in"] = sorted(path.name for path in (folder / "in").iterdir() if path.is_dir())
(state / "calls" / f"{number:03}").write_text(json.dumps(saw))
(folder / "out" / "number").write_text("4")
plan = json.loads((state / "plan").read_text())
if number == len(plan):
    print(json.dumps({"done": True}))
else:
    to, wait, seconds = plan[number]
    send = [{"to": node, "files": {"number": "number"}} for node in to]
    print(json.dumps({"send": send, "wait": wait, "seconds": seconds, "label": "x"}))
"""


def calls(tmp_path, worker, grid, plan):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "plan").write_text(json.dumps(plan))
    serve(grid, settings(worker, tmp_path))
    return [json.loads(path.read_text()) for path in sorted((tmp_path / "state" / "calls").iterdir())]


def test_a_node_that_is_lost_is_waited_for_and_then_failed(tmp_path, program, node):
    grid = FakeGrid({5: node(5), 6: lambda message: None})
    first, second, third, fourth = calls(
        tmp_path, program(SENDER), grid, [[["5", "6"], 9, 1], [[], 0.05, 1], [[], 9, 1]]
    )
    assert (first["in"], first["waiting"], first["failed"], first["online"]) == ([], [], [], ["5", "6"])
    assert (second["in"], second["waiting"], second["failed"]) == (["5"], ["6"], [])
    assert (third["in"], third["waiting"], third["failed"]) == ([], ["6"], [])
    assert (fourth["in"], fourth["waiting"], fourth["failed"]) == ([], [], ["6"])
    assert abs(time.time() - fourth["now"]) < 60


def test_a_node_that_nobody_knows_is_failed(tmp_path, program, node):
    first, second = calls(tmp_path, program(SENDER), FakeGrid({5: node(5)}), [[["5", "77"], 9, 9]])
    assert (second["in"], second["failed"]) == (["5"], ["77"])


def test_a_new_request_replaces_the_old_one(tmp_path, program, node):
    grid = FakeGrid({6: lambda message: None})
    first, second, third = calls(tmp_path, program(SENDER), grid, [[["6"], 0.05, 9], [["6"], 0.1, 0.05]])
    assert second["waiting"] == ["6"]
    assert (third["waiting"], third["failed"]) == ([], ["6"])
    assert grid.sent == [6, 6]


def test_a_replayed_reply_is_none(tmp_path, program, node):
    """It answers the first message. A second time it is not taken for an answer to the second."""
    first_reply = []

    def replays(message):
        if not first_reply:
            first_reply.append(Message(node(6)(message), reply_to=message))
        return first_reply[0]

    grid = FakeGrid({6: replays})
    first, second, third = calls(tmp_path, program(SENDER), grid, [[["6"], 9, 9], [["6"], 9, 0.1]])
    assert (second["in"], second["failed"]) == (["6"], [])
    assert (third["in"], third["failed"]) == ([], ["6"])


def test_a_worker_is_called_again_when_its_wait_is_over(tmp_path, program):
    start = time.monotonic()
    calls(tmp_path, program(SENDER), FakeGrid({}), [[[], 0.3, 1]])
    assert 0.3 <= time.monotonic() - start < 5


@pytest.mark.parametrize("asked", [[], ["5"]], ids=["nobody is awaited", "somebody is awaited"])
def test_a_node_that_comes_online_is_told_at_once(tmp_path, program, node, asked):
    grid = FakeGrid({5: lambda message: None})
    looks = []

    def get_nodes():
        looks.append(1)
        if len(looks) == 3:
            grid.nodes[6] = node(6)
        return FakeGrid.get_nodes(grid)

    grid.get_nodes = get_nodes
    grid.get_node_ids = lambda: [each.node_id for each in get_nodes()]  # what older releases of Flower are asked
    start = time.monotonic()
    first, second = calls(tmp_path, program(SENDER), grid, [[asked, 60, 60]])
    assert (first["online"], second["online"]) == (["5"], ["5", "6"])
    assert (second["waiting"], second["in"], second["failed"]) == (asked, [], [])
    assert time.monotonic() - start < 20


def test_equal_files_are_pushed_in_one_call(tmp_path, program, node):
    grid = FakeGrid({number: node(number) for number in range(2, 7)})
    pushed = []
    push = grid.push_messages
    grid.push_messages = lambda messages: pushed.append(len(messages)) or push(messages)
    _, last = calls(tmp_path, program(SENDER), grid, [[["2", "3", "4", "5", "6"], 9, 9]])
    assert (pushed, last["in"]) == ([5], ["2", "3", "4", "5", "6"])


def test_replies_of_a_network_that_fails_end_the_run(tmp_path, program):
    grid = FakeGrid({5: lambda message: OSError("connection lost")})
    with pytest.raises(OSError, match="connection lost"):
        calls(tmp_path, program(SENDER), grid, [[["5"], 9, 9]])


def test_a_worker_that_fails_ends_the_run_and_the_next_run_goes_on(tmp_path, program, node):
    once = tmp_path / "fails-once"
    body = (
        "online = json.loads((folder / 'in' / 'online.json').read_text())\n"
        f"if verb == 'server' and (folder / 'in' / '6').exists() and not Path('{once}').exists():\n"
        f"    Path('{once}').touch()\n"
        "    sys.exit(7)\n"
        f"os.execv('{FAKE_WORKER}', ['worker', *sys.argv[1:]])\n"
    )
    grid, chosen = FakeGrid({5: node(5), 6: node(6)}), settings(program(body), tmp_path)
    with pytest.raises(WorkerError, match="exit code 7"):
        serve(grid, chosen)
    assert journal(tmp_path)["answers"] == []
    serve(grid, chosen)
    assert journal(tmp_path)["answers"] == ALL
    assert grid.sent == [5, 6] * 4  # the replies of the first run were lost with it, so both were asked again


def test_a_second_run_on_a_state_fails_at_once(tmp_path):
    with owned(tmp_path / "state"), pytest.raises(Busy, match="another run or worker"):
        serve(FakeGrid({}), settings(FAKE_WORKER, tmp_path))


def test_a_worker_of_another_protocol_is_refused_before_the_run(tmp_path):
    path = tmp_path / "worker"
    path.write_text("#!/bin/sh\necho 2\n")
    path.chmod(0o755)
    with pytest.raises(WorkerError, match="protocol 1"):
        serve(FakeGrid({}), settings(path, tmp_path))


def test_a_key_that_comes_back_under_another_number_is_the_same_node(monkeypatch):
    monkeypatch.setattr("burn_dp_flower.mail.online_nodes", lambda grid: [(grid, b"key")])
    monkeypatch.setattr("burn_dp_flower.identity.node_name", lambda number, key: "name")
    mail = Mail(1, 100)
    assert mail.online() == ["name"]
    mail._grid = 2
    assert mail.online() == ["name"]
    assert mail._numbers == {"name": 2}
