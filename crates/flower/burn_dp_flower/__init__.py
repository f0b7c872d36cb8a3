"""Runs burn-dp workers as the server and the clients of a Flower federation.

Flower moves messages between machines. A worker is a program that does the rest: training, clipping, noise,
accounting, journals. This package starts workers, hands them the files that came, and sends the files that
they leave. It knows nothing of rounds, models or privacy.

From a message to the worker and back:

* `client`: a node. One message, one call of its worker, one reply.
* `server`: asks the server's worker what to send, carries it, and calls the worker again.
* `mail`: messages under way, and who answered.
* `parcel`: files as the content of a message, with the limits on what the other side may send.
* `worker`: calls a worker and reads its answer (`answers`).
* `settings`, `locking`, `identity`: what the machine's operator chose, one owner for a folder, who a node is.

For the command line: `main`, `project`, `loopback`, `processes`, `stopping`, `keys`, and `versions`, the one place that
knows how releases of Flower differ.
"""
