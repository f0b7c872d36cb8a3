"""A user's project: a folder with one `pyproject.toml`.

It names the client app and the server app of this package, which is installed where SuperLink and SuperNodes run.
So there is no Python to write, and no code of ours to copy into projects and to keep up to date there.
"""

import re
from pathlib import Path

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,62}", re.ASCII)

_TEMPLATE = """\
[project]
name = "{name}"
version = "1.0.0"
dependencies = ["burn-dp-flower"]

[tool.flwr.app]
publisher = "burn-dp"
fab-include = ["README.md"]

[tool.flwr.app.components]
serverapp = "burn_dp_flower.server:app"
clientapp = "burn_dp_flower.client:app"

# The server's machine. Nodes say theirs in --node-config. How to train is the worker's business.
[tool.flwr.app.config]
worker = "{worker}"
state = "{state}"
timeout = 3600  # seconds that one call of the server's worker may take
max-bytes = 268435456  # of one node's reply
"""

_README = """\
# {name}

A federation of burn-dp workers. Start it with `flwr run . NAME`, where NAME is a SuperLink in Flower's own
configuration. On the same state, a new run goes on where the last one ended.
"""


class ProjectError(ValueError):
    """The project cannot be made."""


def make_project(folder: Path, worker: str = "", state: str = "") -> None:
    """Writes a project. It overwrites nothing.

    Without worker and state the SuperLink's environment says them.
    """
    name = folder.resolve().name
    if _NAME.fullmatch(name) is None:
        raise ProjectError(f"{name} is no name for a project: a letter, then letters, digits and dashes")
    for text in (worker, state):
        if not text.isprintable() or '"' in text or "\\" in text:
            raise ProjectError("a path here has no quotes, backslashes or control characters")
    folder.mkdir(parents=True, exist_ok=True)
    for file, template in (("pyproject.toml", _TEMPLATE), ("README.md", _README)):
        try:
            with (folder / file).open("x", encoding="utf-8") as output:
                output.write(template.format(name=name, worker=worker, state=state))
        except FileExistsError:
            raise ProjectError(f"{folder / file} exists: choose another folder") from None
