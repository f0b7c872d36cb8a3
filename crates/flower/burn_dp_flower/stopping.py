"""Ends processes and all that they have started.

Flower's programs start others in sessions of their own, which a signal to a group does not reach. So the whole
family is noted first, and none of it is left when the parents are gone.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

STOP_SECONDS = 15.0


@dataclass(frozen=True)
class Member:
    """A process. Its group tells it from a later process that gets the same number."""

    pid: int
    group: int


def stop(processes: "Sequence[subprocess.Popen[bytes]]") -> None:
    """Asks the processes to end, the last first, and ends with force what is left of them and their children."""
    members = family({process.pid for process in processes})
    for process in reversed(processes):
        _signal(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while (left := members & _running()) and time.monotonic() < deadline:
        for process in processes:
            process.poll()  # takes note of its end, so that it is no longer listed
        time.sleep(0.2)
    for member in left:
        _signal(member.pid, signal.SIGKILL)
    for process in processes:
        process.kill()  # does nothing to one that has ended
        process.wait()


def kill(processes: "Sequence[subprocess.Popen[bytes]]") -> None:
    """Ends the processes and all that they have started at once, as when their machine loses power."""
    for member in family({process.pid for process in processes}):
        _signal(member.pid, signal.SIGKILL)
    for process in processes:
        process.wait()


def family(pids: set[int]) -> set[Member]:
    """These processes, their children, the children's children, and so on."""
    table = _table()
    known = set(pids)
    while new := {member.pid for member, parent in table if parent in known} - known:
        known |= new
    return {member for member, _ in table if member.pid in known}


def _running() -> set[Member]:
    return {member for member, _ in _table()}


def _table() -> list[tuple[Member, int]]:
    """All running processes with their parents. One that has ended, but whose end nobody has noted, does not count."""
    output = subprocess.run(["ps", "-axo", "pid=,ppid=,pgid=,stat="], capture_output=True, text=True, check=True)
    rows = [line.split() for line in output.stdout.splitlines()]
    return [(Member(int(pid), int(group)), int(parent)) for pid, parent, group, state in rows if state[0] != "Z"]


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
