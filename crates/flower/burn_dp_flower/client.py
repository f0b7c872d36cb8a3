"""A node: one message in, one call of the node's worker, one reply out."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp

from .locking import owned
from .parcel import Packer, ParcelError, unpack
from .settings import node_settings

# The text of an exception may hold paths, values, even records. All a server learns is this.
NO_ANSWER = "the node's worker gave no answer"
NO_ANSWER_CODE = 2  # Flower's code for a client app that failed

log = logging.getLogger("flwr")

# Flower looks for this line in the syntax tree, so it stays a plain assignment.
app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """Answers a message. Whatever goes wrong, the server gets the same sentence."""
    try:
        content = answer(message.content, context.node_config, os.environ)
    except Exception:
        log.exception("burn-dp: no answer to this message")
        return Message(Error(NO_ANSWER_CODE, NO_ANSWER), reply_to=message)
    return Message(content, reply_to=message)


def answer(content: RecordDict, node_config: Mapping[str, Any], environment: Mapping[str, str]) -> RecordDict:
    """Unpacks the files, calls the worker, and packs what it left in `out`."""
    settings = node_settings(node_config, environment)
    worker = settings.worker
    with owned(settings.state, worker.seconds) as own:
        folder = own.scratch
        unpack(content, folder / "in", settings.max_bytes)
        (folder / "out").mkdir()
        worker.check_protocol()
        said = worker.call("client", folder, settings.state, own.lock)
        if label := said.get("label"):
            log.info("burn-dp: %s", label)
        return Packer().pack(_reply(folder / "out"))


def _reply(folder: Path) -> dict[str, Path]:
    """Every file in the folder. Links and folders are a mistake of the worker's."""
    for path in folder.iterdir():
        if path.is_symlink() or not path.is_file():
            raise ParcelError(f"the worker left something in out/ that is not a plain file: {path.name}")
    return {path.name: path for path in sorted(folder.iterdir())}
