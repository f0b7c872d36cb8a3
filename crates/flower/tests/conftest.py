"""What the tests share: programs made of a few lines, and a grid without Flower's processes."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from flwr.app import Error, Message, RecordDict

FAKE_WORKER = Path(__file__).with_name("fake_worker.py")


@pytest.fixture
def program(tmp_path):
    """Makes a worker of a body of Python, in which `verb`, `folder` and `state` are known."""

    def make(body: str, name: str = "worker") -> Path:
        path = tmp_path / name
        path.write_text(
            f"#!{sys.executable}\n"
            "import json, os, sys, time\n"
            "from pathlib import Path\n"
            "if sys.argv[1:] == ['--protocol']:\n"
            "    print(1)\n"
            "    sys.exit()\n"
            "verb, folder, state = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])\n" + body
        )
        path.chmod(0o755)
        return path

    return make


@pytest.fixture(autouse=True)
def task_identity():
    """Newer releases of Flower make messages only in a process that knows its run."""
    try:
        from flwr.supercore.task_identity import TaskIdentity
    except ImportError:
        return
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1


Behavior = Callable[[Message], RecordDict | Error | Message | Exception | None]


class FakeGrid:
    """A grid whose nodes are functions: they return a reply's content, an error, or None for no reply."""

    def __init__(self, nodes: dict[int, Behavior]) -> None:
        self.nodes = nodes
        self.replies: dict[str, Message | Exception] = {}
        self.sent: list[int] = []
        self.refuses: set[int] = set()

    def get_node_ids(self):
        return list(self.nodes)

    def get_nodes(self):
        return [FakeNode(number) for number in self.nodes]

    def push_messages(self, messages):
        return [self._push(message) for message in messages]

    def _push(self, message):
        number = message.metadata.dst_node_id
        if number in self.refuses:
            return None
        self.sent.append(number)
        key = f"message-{len(self.sent)}"
        message.metadata.__dict__["_message_id"] = key
        said = self.nodes[number](message) if number in self.nodes else None
        if isinstance(said, Error):
            said = Message(said, reply_to=message)
            said.metadata.__dict__["_src_node_id"] = 1  # as Flower does: the SuperLink speaks for the node
        elif isinstance(said, RecordDict):
            said = Message(said, reply_to=message)
        if said is not None:
            self.replies[key] = said
        return key

    def pull_messages(self, keys):
        found = [self.replies.pop(key) for key in keys if key in self.replies]
        for reply in found:
            if isinstance(reply, Exception):
                raise reply
        return found


class FakeNode:
    """What Flower tells of a node. Without a key, its name is its number."""

    def __init__(self, number: int) -> None:
        self.node_id = number
        self.public_key = b""
