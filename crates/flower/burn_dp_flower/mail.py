"""Messages under way: who was asked, until when, who answered, who did not.

A node has at most one open request. A new one replaces it, and a reply to the old one is not taken any more.
"""

import logging
import time
from dataclasses import dataclass
from pathlib import Path

from flwr.app import Message, MessageType
from flwr.serverapp import Grid
from google.protobuf.message import DecodeError

from .answers import Answer, Order
from .identity import by_name
from .parcel import Packer, ParcelError, unpack
from .versions import online_nodes

# What Flower raises when it reads a reply that a hostile node has made up. Errors of the network are none of these.
MALFORMED = (ValueError, TypeError, LookupError, AttributeError, AssertionError, RecursionError, DecodeError)

log = logging.getLogger("flwr")


@dataclass(frozen=True)
class Request:
    """An open request: the node that was asked, Flower's number of it, and when (monotonic) its reply is late."""

    node: str
    number: int
    deadline: float


class Mail:
    """Sends a worker's files and collects replies. Lives as long as the run, so late replies still find a reader."""

    def __init__(self, grid: Grid, max_bytes: int) -> None:
        """Nothing is under way."""
        self._grid = grid
        self._max_bytes = max_bytes
        self._numbers: dict[str, int] = {}
        self._open: dict[str, Request] = {}
        self._told: set[str] = set()

    def waiting(self) -> list[str]:
        """The nodes whose reply may still come."""
        return sorted(request.node for request in self._open.values())

    def online(self) -> list[str]:
        """The nodes that Flower counts as online, by name. A dead node counts for up to a minute."""
        online = by_name(online_nodes(self._grid))
        self._numbers |= online
        self._told = set(online)
        return sorted(online)

    def arrived(self) -> bool:
        """Whether a node is online that was not when `online` was last asked."""
        return not self._told.issuperset(by_name(online_nodes(self._grid)))

    def send(self, answer: Answer) -> set[str]:
        """Sends the answer's orders and returns the nodes that could not be reached."""
        packer = Packer()
        failed = {order.to for order in answer.send if order.to not in self._numbers}
        for orders in _same_files([order for order in answer.send if order.to in self._numbers]):
            content = packer.pack(orders[0].files)
            numbers = [self._numbers[order.to] for order in orders]
            messages = [Message(content, number, MessageType.TRAIN, ttl=answer.seconds) for number in numbers]
            # Flower answers None for a message that it could not take, and nothing if it took none.
            keys: list[str | None] = list(self._grid.push_messages(messages))
            keys += [None] * (len(orders) - len(keys))
            for order, number, key in zip(orders, numbers, keys, strict=True):
                if key is None:
                    failed.add(order.to)
                else:
                    self._await(key, Request(order.to, number, time.monotonic() + answer.seconds))
        return failed

    def _await(self, key: str, request: Request) -> None:
        self._open = {other: open_ for other, open_ in self._open.items() if open_.node != request.node}
        self._open[key] = request

    def collect(self, inbox: Path) -> tuple[set[str], set[str]]:
        """Writes the replies that are there to `inbox`, a folder for each node.

        Returns the nodes that answered, and those that failed: by an error, by a reply that breaks the rules, or by
        none in time.
        """
        answered: set[str] = set()
        failed: set[str] = set()
        for key, request in list(self._open.items()):
            came = self._pull(key, request, inbox)
            if came is None and time.monotonic() >= request.deadline:
                log.warning("burn-dp: node %s did not answer in time", request.node)
                came = False
            if came is not None:
                del self._open[key]
                (answered if came else failed).add(request.node)
        return answered, failed

    def _pull(self, key: str, request: Request, inbox: Path) -> bool | None:
        """Whether the node answered well; None if nothing is there yet.

        Asks for one reply at a time: Flower holds in memory all that one call asks for, and a malformed reply takes
        the others of its call with it.
        """
        try:
            replies = list(self._grid.pull_messages([key]))
            # The source of an error is the SuperLink. What it replies to says which node it is about.
            replies = [reply for reply in replies if reply.metadata.reply_to_message_id == key]
            if not replies:
                return None
            self._take(replies[0], request, inbox)
        except MALFORMED as error:
            log.warning("burn-dp: node %s: %s", request.node, error)
            return False
        return True

    def _take(self, reply: Message, request: Request, inbox: Path) -> None:
        if reply.has_error():
            raise ParcelError(f"no reply, but error {reply.error.code} of Flower's")
        if reply.metadata.src_node_id != request.number:
            raise ParcelError("another node has replied to its message")
        unpack(reply.content, inbox / request.node, self._max_bytes)


def _same_files(orders: list[Order]) -> list[list[Order]]:
    """Orders with equal files together: Flower hashes a message's content once for each call that sends it."""
    groups: dict[tuple[tuple[str, Path], ...], list[Order]] = {}
    for order in orders:
        groups.setdefault(tuple(sorted(order.files.items())), []).append(order)
    return list(groups.values())
