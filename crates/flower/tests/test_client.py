"""A node: the worker's files go in and out, and nothing else leaves."""

import pytest
from flwr.app import Context, Message, RecordDict

from burn_dp_flower.client import NO_ANSWER, answer, train
from burn_dp_flower.locking import owned
from burn_dp_flower.parcel import Packer, ParcelError, unpack
from burn_dp_flower.worker import WorkerError
from conftest import FAKE_WORKER


def content(tmp_path, text="21", name="number"):
    (tmp_path / name).write_text(text)
    return Packer().pack({name: tmp_path / name})


def config(worker, tmp_path, **more):
    return {"worker": str(worker), "state": str(tmp_path / "state"), **more}


def test_the_fake_worker_answers(tmp_path):
    reply = answer(content(tmp_path), config(FAKE_WORKER, tmp_path), {})
    unpack(reply, tmp_path / "reply")
    assert (tmp_path / "reply" / "answer").read_text() == "42"
    assert (tmp_path / "state" / "ledger").read_text() == "21\n"


def test_a_worker_may_answer_nothing(program, tmp_path):
    unpack(answer(content(tmp_path), config(program("print('{}')"), tmp_path), {}), tmp_path / "reply")
    assert list((tmp_path / "reply").iterdir()) == []


@pytest.mark.parametrize("body", ["(folder / 'out' / 'd').mkdir()", "(folder / 'out' / 'l').symlink_to('/etc/passwd')"])
def test_links_and_folders_are_not_sent(program, tmp_path, body):
    with pytest.raises(ParcelError, match="not a plain file"):
        answer(content(tmp_path), config(program(body + "\nprint('{}')"), tmp_path), {})


def test_a_node_limits_what_it_takes(tmp_path):
    with pytest.raises(ParcelError, match="larger than 1 bytes"):
        answer(content(tmp_path), config(FAKE_WORKER, tmp_path, **{"max-bytes": 1}), {})


def test_a_worker_of_another_protocol_sees_no_file(tmp_path):
    path = tmp_path / "worker"
    path.write_text(f"#!/bin/sh\n[ $1 = --protocol ] || touch {tmp_path}/called\necho 2\n")
    path.chmod(0o755)
    with pytest.raises(WorkerError, match="protocol 1"):
        answer(content(tmp_path), config(path, tmp_path), {})
    assert not (tmp_path / "called").exists()


def test_calls_on_one_state_do_not_overlap(program, tmp_path):
    with owned(tmp_path / "state"), pytest.raises(RuntimeError, match="another run or worker"):
        answer(content(tmp_path), config(program("print('{}')"), tmp_path, timeout=0.3), {})


def test_a_server_learns_one_fixed_sentence(program, tmp_path):
    worker = program("sys.exit('the record of Jane Doe is odd')")
    asked = Message(content(tmp_path), 5, "train")
    context = Context(1, 5, config(worker, tmp_path), RecordDict(), {})
    said = train(asked, context)
    assert said.has_error() and said.error.code == 2 and said.error.reason == NO_ANSWER
    nowhere = train(asked, Context(1, 5, {}, RecordDict(), {}))
    assert nowhere.error.reason == NO_ANSWER
