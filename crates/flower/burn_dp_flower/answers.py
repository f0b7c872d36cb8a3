"""What the server's worker answered, checked.

The fields are `send`, `wait`, `seconds`, `label`, `done`; README.md describes them. A field that this version
does not know is ignored.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .parcel import ParcelError, check_name
from .worker import WorkerError

MAX_SECONDS = 30 * 24 * 3600.0


@dataclass(frozen=True)
class Order:
    """Files for one node: the name in the message, and the file that it is."""

    to: str
    files: dict[str, Path]


@dataclass(frozen=True)
class Answer:
    """What to send, how long a reply may take, and when to call the worker again."""

    send: list[Order]
    wait: float
    seconds: float
    label: str
    done: bool


def read_answer(said: dict[str, Any], out: Path) -> Answer:
    """Checks an answer. The paths in it are relative to `out` and stay within it."""
    done = said.get("done", False)
    label = said.get("label", "")
    entries = said.get("send", [])
    if not isinstance(done, bool) or not isinstance(label, str) or not isinstance(entries, list):
        raise WorkerError("in the worker's answer, done is no boolean, label no text, or send no list")
    if done and entries:
        raise WorkerError("the worker's answer is done and still sends: nobody would wait for the replies")
    orders = [_order(entry, out) for entry in entries]
    if len({order.to for order in orders}) != len(orders):
        raise WorkerError("the worker's answer sends twice to one node")
    wait = 0.0 if done else _duration(said, "wait")
    seconds = _duration(said, "seconds") if orders else 0.0
    return Answer(orders, wait, seconds, label, done)


def _order(entry: Any, out: Path) -> Order:
    to, files = (entry.get("to"), entry.get("files")) if isinstance(entry, dict) else (None, None)
    if not isinstance(to, str) or not isinstance(files, dict):
        raise WorkerError("in the worker's answer, an entry of send lacks to (text) or files (an object)")
    return Order(to, {name: _file(name, path, out) for name, path in files.items()})


def _file(name: str, relative: Any, out: Path) -> Path:
    try:
        check_name(name)
    except ParcelError as error:
        raise WorkerError(f"in the worker's answer: {error}") from error
    root = out.resolve()
    path = (root / relative).resolve() if isinstance(relative, str) else root
    if not path.is_relative_to(root) or not path.is_file():
        raise WorkerError(f"in the worker's answer, {name} is not a file in out/")
    return path


def _duration(said: dict[str, Any], field: str) -> float:
    value = said.get(field)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise WorkerError(f"the worker's answer lacks {field}, a number of seconds")
    if not 0 < value <= MAX_SECONDS:
        raise WorkerError(f"in the worker's answer, {field} is not above 0 and at most {MAX_SECONDS:g}")
    return float(value)
