"""Calls of a worker: its answer, its failures, its log, and its time."""

import logging
import os
import time

import pytest

from burn_dp_flower.locking import owned
from burn_dp_flower.worker import LOG_LINES, Worker, WorkerError


def call(path, tmp_path, seconds=20.0):
    with owned(tmp_path / "state") as own:
        return Worker(path, seconds).call("client", own.scratch, tmp_path / "state", own.lock)


def test_the_last_line_is_the_answer(program, tmp_path):
    path = program("print('hello')\nprint(json.dumps({'verb': verb, 'state': str(state)}))\nprint()")
    assert call(path, tmp_path) == {"verb": "client", "state": str(tmp_path / "state")}


@pytest.mark.parametrize("output", ["", "[]", "3", "not json", '{"a": 1}\\nlast', "[" * 5000])
def test_an_answer_that_is_no_object_is_refused(program, tmp_path, output):
    with pytest.raises(WorkerError, match="not a JSON object"):
        call(program(f"print('{output}')"), tmp_path)


def test_another_exit_code_is_no_answer(program, tmp_path):
    with pytest.raises(WorkerError, match="exit code 3"):
        call(program("print('{}')\nsys.exit(3)"), tmp_path)


def test_a_missing_program_is_a_clear_error(tmp_path):
    with pytest.raises(WorkerError, match="cannot be run: No such file"):
        call(tmp_path / "missing", tmp_path)


def test_a_slow_worker_is_stopped_with_its_children(program, tmp_path):
    path = program("(state / 'pid').write_text(str(os.getpid()))\nos.fork()\ntime.sleep(60)")
    start = time.monotonic()
    with pytest.raises(WorkerError, match="longer than 1 seconds"):
        call(path, tmp_path, 1.0)
    assert time.monotonic() - start < 10
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "state" / "pid").read_text()), 0)


def test_standard_error_goes_to_the_log_with_limits(program, tmp_path, caplog):
    lines = LOG_LINES + 5
    with caplog.at_level(logging.INFO, logger="flwr"):
        call(
            program(f"for i in range({lines}): print('\\x1b[31m', 'x' * 900, file=sys.stderr)\nprint('{{}}')"), tmp_path
        )
    said = [record.getMessage() for record in caplog.records]
    assert said[0] == "worker: ?[31m " + "x" * 494
    assert len(said) == LOG_LINES + 1
    assert said[-1] == "worker: 5 more lines were left out"


@pytest.mark.parametrize(("output", "code"), [("2", 0), ("", 0), ("1 1", 0), ("one", 0), ("1", 1)])
def test_another_protocol_is_refused(tmp_path, output, code):
    path = tmp_path / "worker"
    path.write_text(f"#!/bin/sh\necho {output}\nexit {code}\n")
    path.chmod(0o755)
    with pytest.raises(WorkerError):
        Worker(path, 20.0).check_protocol()


def test_our_protocol_is_taken(program):
    Worker(program(""), 20.0).check_protocol()
