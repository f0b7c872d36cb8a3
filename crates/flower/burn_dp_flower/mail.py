"""Messages under way: who was asked, until when, who answered, who did not.

A node has at most one open request. A new one replaces it, and a reply to the old one is not taken any more.
"""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flwr.app import Message, MessageType
from flwr.serverapp import Grid

from .answers import Answer, Order
from .identity import by_name
from .parcel import Packer, ParcelError, unpack
from .versions import online_nodes

# Flower holds all replies of one pull in memory, so a pull asks for a few only.
REPLIES_AT_ONCE = 4

log = logging.getLogger("flwr")


@dataclass(frozen=True)
class Request:
    """An open request: the node that was asked, and the time (monotonic) after which its reply is late."""

    node: str
    deadline: float


class Mail:
    """Sends a worker's files and collects replies. Lives as long as the run, so a late round's replies arrive."""

    def __init__(self, grid: Grid, max_bytes: int) -> None:
        """Nothing is under way."""
        self._grid = grid
        self._max_bytes = max_bytes
        self._numbers: dict[str, int] = {}
        self._open: dict[str, Request] = {}

    def waiting(self) -> list[str]:
        """The nodes whose reply may still come."""
        return sorted(request.node for request in self._open.values())

    def online(self) -> list[str]:
        """The nodes that Flower counts as online, by name. A dead node counts for up to a minute."""
        online = by_name(online_nodes(self._grid))
        self._numbers |= online
        return sorted(online)

    def send(self, answer: Answer) -> set[str]:
        """Sends the answer's orders and returns the nodes that could not be reached."""
        packer = Packer()
        failed: set[str] = set()
        for orders in _same_files(answer.send):
            known = [order for order in orders if order.to in self._numbers]
            failed |= {order.to for order in orders} - {order.to for order in known}
            content = packer.pack(orders[0].files)
            messages = [
                Message(
                    content,
                    self._numbers[order.to],
                    MessageType.TRAIN,
                    ttl=answer.seconds,
                    group_id=answer.label,
                )
                for order in known
            ]
            # Flower answers None for a message that it could not take, and nothing if it took none.
            numbers = list(self._grid.push_messages(messages)) if messages else []
            numbers += [None] * (len(known) - len(numbers))
            for order, number in zip(known, numbers, strict=True):
                if number is None:
                    failed.add(order.to)
                else:
                    self._await(order.to, number, answer.seconds)
        return failed

    def _await(self, node: str, message: str, seconds: float) -> None:
        self._open = {key: request for key, request in self._open.items() if request.node != node}
        self._open[message] = Request(node, time.monotonic() + seconds)

    def collect(self, inbox: Path) -> tuple[set[str], set[str]]:
        """Writes the replies that are there to `inbox`, a folder for each node.

        Returns the nodes that answered, and those that failed: by an error, by a reply that breaks the rules, or by
        none in time.
        """
        answered: set[str] = set()
        failed: set[str] = set()
        for batch in _batches(list(self._open)):
            for reply in self._grid.pull_messages(batch):
                # The source of an error is the SuperLink. What it replies to says which node it is about.
                request = self._open.pop(reply.metadata.reply_to_message_id, None)
                if request is not None:
                    (answered if self._take(request.node, reply, inbox) else failed).add(request.node)
        now = time.monotonic()
        for message, request in list(self._open.items()):
            if request.deadline <= now:
                del self._open[message]
                failed.add(request.node)
                log.warning("burn-dp: node %s did not answer in time", request.node)
        return answered, failed

    def _take(self, node: str, reply: Message, inbox: Path) -> bool:
        if reply.has_error():
            log.warning("burn-dp: node %s: error %s of Flower's", node, reply.error.code)
            return False
        try:
            unpack(reply.content, inbox / node, self._max_bytes)
        except ParcelError as error:
            log.warning("burn-dp: node %s: its reply was refused: %s", node, error)
            return False
        return True


def _same_files(orders: list[Order]) -> list[list[Order]]:
    """Orders with equal files together: Flower hashes a message's content once for each call that sends it."""
    groups: dict[tuple[tuple[str, Path], ...], list[Order]] = {}
    for order in orders:
        groups.setdefault(tuple(sorted(order.files.items())), []).append(order)
    return list(groups.values())


def _batches(items: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(items), REPLIES_AT_ONCE):
        yield items[start : start + REPLIES_AT_ONCE]
