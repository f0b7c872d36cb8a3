"""One owner for a state folder, and a scratch folder within it.

Two runs on one state would take each other's replies; two calls of a worker could spend one budget twice. The
kernel holds the lock, so it is gone when its holders are gone, however they died.

The scratch folder is on the state's disk: files in it stay where the operator keeps such files, and a worker
may hard-link a large file into `out` instead of copying it. What a killed owner left there goes away with the next.
"""

import fcntl
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

LOCK_FILE = "flower.lock"
SCRATCH = "flower.tmp"
_RETRY_SECONDS = 0.2


class Busy(RuntimeError):
    """Somebody else has the folder."""


@dataclass(frozen=True)
class Owned:
    """A state folder that is ours: the lock's descriptor, and an empty folder for this owner.

    A worker inherits the descriptor, so a worker that outlives a killed parent keeps the folder until it ends too.
    """

    lock: int
    scratch: Path


@contextmanager
def owned(state: Path, patience: float = 0.0) -> Iterator[Owned]:
    """Makes the folder if it is missing and takes it, waiting `patience` seconds for another owner."""
    state.mkdir(parents=True, exist_ok=True)
    with (state / LOCK_FILE).open("a") as file:
        _lock(file, state, time.monotonic() + patience)
        scratch = state / SCRATCH
        _remove(scratch)
        scratch.mkdir(mode=0o700)
        try:
            yield Owned(file.fileno(), scratch)
        finally:
            _remove(scratch)


def _lock(file: IO[str], state: Path, deadline: float) -> None:
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise Busy(f"another run or worker has {state}: wait until it has ended, or stop it") from None
        time.sleep(_RETRY_SECONDS)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
