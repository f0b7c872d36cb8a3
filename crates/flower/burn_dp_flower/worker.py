"""Calls a worker: `WORKER client FOLDER STATE`, `WORKER server FOLDER STATE`, `WORKER --protocol`.

The last line of its standard output is its answer, one JSON object. Its standard error goes to Flower's log. If
it exits with another code than 0, nothing has changed and there is no answer.
"""

import json
import logging
import os
import signal
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

PROTOCOL = "1"
LOG_LINES = 1000
LOG_LINE_CHARACTERS = 500
ANSWER_BYTES = 16 * 2**20
_PROTOCOL_SECONDS = 60.0

log = logging.getLogger("flwr")


class WorkerError(RuntimeError):
    """The worker cannot be run, failed, took too long, or gave an answer that is none."""


@dataclass(frozen=True)
class Worker:
    """A worker's program, and how many seconds a call may take."""

    program: Path
    seconds: float

    def check_protocol(self) -> None:
        """Refuses a program that does not speak our protocol, before it sees a file."""
        output = self._run(["--protocol"], min(self.seconds, _PROTOCOL_SECONDS), ())
        if output.strip() != PROTOCOL.encode():
            raise WorkerError(f"{self.program} does not speak protocol {PROTOCOL}: use the burn-dp of this package")

    def call(self, verb: str, folder: Path, state: Path, lock: int) -> dict[str, Any]:
        """Runs the worker on the files in `folder` and returns the object it printed last.

        The worker inherits the descriptor of the lock on its state.
        """
        output = self._run([verb, str(folder), str(state)], self.seconds, (lock,))
        lines = output.strip().splitlines()
        try:
            answer = json.loads(lines[-1])
        except (IndexError, ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise WorkerError("the last line of the worker's standard output is not a JSON object")
        return answer

    def _run(self, arguments: list[str], seconds: float, keep: tuple[int, ...]) -> bytes:
        """Runs the program to its end and returns the end of its standard output."""
        with tempfile.TemporaryFile() as output:
            try:
                # In a group of its own, so that what it started is stopped with it.
                process = subprocess.Popen(
                    [str(self.program), *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.PIPE,
                    start_new_session=True,
                    pass_fds=keep,
                )
            except OSError as error:
                raise WorkerError(f"{self.program} cannot be run: {error.strerror}") from error
            assert process.stderr is not None
            reader = threading.Thread(target=copy_to_log, args=(process.stderr,), daemon=True)
            reader.start()
            try:
                code = process.wait(seconds)
            except subprocess.TimeoutExpired:
                raise WorkerError(f"the worker took longer than {seconds:g} seconds and was stopped") from None
            finally:
                _stop(process)
                reader.join(timeout=5)
            if code != 0:
                raise WorkerError(f"the worker failed with exit code {code}; its own log lines say why")
            size = output.seek(0, os.SEEK_END)
            output.seek(max(0, size - ANSWER_BYTES))
            return output.read()


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Stops a worker that is still running (it took too long, or this run is being stopped) and what it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def copy_to_log(stream: IO[bytes]) -> None:
    """Copies lines to Flower's log: a limited number, of limited length, without control characters."""
    lines = 0
    while raw := stream.readline(4 * LOG_LINE_CHARACTERS):
        lines += 1
        if lines <= LOG_LINES:
            text = raw.decode(errors="replace").rstrip()[:LOG_LINE_CHARACTERS]
            log.info("worker: %s", "".join(c if c.isprintable() else "?" for c in text))
    if lines > LOG_LINES:
        log.info("worker: %d more lines were left out", lines - LOG_LINES)
