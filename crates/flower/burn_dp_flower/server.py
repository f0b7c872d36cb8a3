"""The server: calls its worker, carries what it sends, and calls it again, until it is done.

What a round is, whom to ask, when a round ends and how to go on after a crash is the worker's business. Its
journal is in its state folder: a new `flwr run` on the same state goes on where the last one ended.
"""

import json
import logging
import os
import shutil
import time
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from .answers import Answer, read_answer
from .locking import owned
from .mail import Mail
from .settings import Settings, server_settings

POLL_SECONDS = 0.2
# After a first reply, others get this long to join it: a call of the worker for each would be wasteful.
GATHER_SECONDS = 1.0
# How often to look who has come online: whoever is due and was not can be asked then, not at the round's deadline.
ARRIVAL_SECONDS = 5.0

log = logging.getLogger("flwr")

# Flower looks for this line in the syntax tree, so it stays a plain assignment.
app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Runs the worker's federation to its end."""
    serve(grid, server_settings(context.run_config, os.environ))


def serve(grid: Grid, settings: Settings) -> None:
    """Holds the state for as long as the run lives, and calls the worker until it is done."""
    with owned(settings.state) as own:
        settings.worker.check_protocol()
        folder = own.scratch
        inbox, outbox = folder / "in", folder / "out"
        mail = Mail(grid, settings.max_bytes)
        failed: set[str] = set()
        inbox.mkdir()
        while True:
            outbox.mkdir()
            _write_online(inbox, mail, failed)
            answer = read_answer(settings.worker.call("server", folder, settings.state, own.lock), outbox)
            shutil.rmtree(inbox)
            inbox.mkdir()
            if answer.done:
                log.info("burn-dp: %s: done", answer.label)
                return
            failed = mail.send(answer)
            shutil.rmtree(outbox)
            if answer.send:
                log.info("burn-dp: %s: sent to %d nodes", answer.label, len(answer.send) - len(failed))
            failed |= _collect(mail, inbox, answer, bool(failed))


def _write_online(inbox: Path, mail: Mail, failed: set[str]) -> None:
    """Tells the worker the time and who is where.

    A worker sends again to whom it has asked and who is neither answered nor failed nor waiting: after a crash, that
    is everybody who is still due.
    """
    content = {"now": time.time(), "online": mail.online(), "waiting": mail.waiting(), "failed": sorted(failed)}
    (inbox / "online.json").write_text(json.dumps(content))


def _collect(mail: Mail, inbox: Path, answer: Answer, news: bool) -> set[str]:
    """Waits until the worker must be called, and returns the nodes that failed meanwhile.

    It must be called when its wait is over, or when there is news (a reply, a failure, a node that has come online) and
    either nobody else is awaited or others had their time to join.
    """
    start = time.monotonic()
    end = start + answer.wait
    look = start + ARRIVAL_SECONDS
    failed: set[str] = set()
    while True:
        before = time.monotonic()
        came, lost = mail.collect(inbox)
        failed |= lost
        now = time.monotonic()
        if now >= look:
            news = news or mail.arrived()
            look = now + ARRIVAL_SECONDS
        if (came or lost or news) and not mail.waiting():
            _sleep(start + POLL_SECONDS)  # a worker that asks unreachable nodes only would otherwise spin
            return failed
        if came or lost or news:
            news = True
            end = min(end, now + GATHER_SECONDS)
        if now >= end:
            return failed
        # As long as asking took, at least: many open requests must not keep the SuperLink busy with questions.
        _sleep(min(end, now + max(POLL_SECONDS, now - before)))


def _sleep(until: float) -> None:
    time.sleep(max(0.0, until - time.monotonic()))
