"""Flower's strategies and mods in one process: all of Flower but its network.

A strategy's own loop (`Strategy.start`) asks a grid for nodes, hands it messages and takes replies. The grid here gives each
message to a client app at once. So sampling, clipping, aggregation, noise and accounting are Flower's code, called in
Flower's order, and only SuperLink and SuperNodes are left out.
"""

import logging

from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

logging.getLogger("flwr").setLevel(logging.CRITICAL)
logging.getLogger("absl").setLevel(logging.ERROR)  # orders that Google's accountant leaves out
# Flower makes messages only in a process that knows its run.
TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1


class InProcess(Grid):
    """A grid of nodes numbered from 1. `behave(message, context)` answers for all of them."""

    def __init__(self, nodes, behave):
        self.nodes, self.behave = list(range(1, nodes + 1)), behave
        self.states = {node: RecordDict() for node in self.nodes}

    def set_run(self, run):
        pass

    @property
    def run(self):
        raise NotImplementedError

    def create_message(self, *arguments, **named):
        raise NotImplementedError

    def push_messages(self, messages):
        raise NotImplementedError

    def pull_messages(self, message_ids):
        raise NotImplementedError

    def get_node_ids(self):
        return self.nodes

    def send_and_receive(self, messages, *, timeout=None):
        """The replies; a node for which `behave` returns None does not reply in time."""
        replies = []
        for message in messages:
            node = message.metadata.dst_node_id
            context = Context(1, node, {"client": node - 1}, self.states[node], {})
            reply = self.behave(message, context)
            if reply is not None:
                replies.append(reply)
        return replies


def client_app(train, mods=()):
    """A client app whose `train(weights, client)` returns new weights. Its mods are Flower's."""
    app = ClientApp(mods=list(mods))

    @app.train()
    def answer(message, context):
        weights = message.content["arrays"].to_numpy_ndarrays()
        return reply(message, train(weights, context.node_config["client"]))

    return app


def reply(message, arrays, examples=1):
    """A reply with these arrays under the names that came. Equal weights: Flower's accountant takes no others."""
    names = list(message.content["arrays"])
    record = ArrayRecord(dict(zip(names, map(Array, arrays), strict=True)))
    metrics = MetricRecord({"num-examples": examples})
    return Message(RecordDict({"arrays": record, "metrics": metrics}), reply_to=message)


def record(*arrays):
    """Arrays as a strategy takes them."""
    return ArrayRecord({f"array-{index}": Array(array) for index, array in enumerate(arrays)})
