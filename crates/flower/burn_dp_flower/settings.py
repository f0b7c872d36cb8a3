"""What the operator of a machine chose: which program is the worker, where its state is, and the limits.

On a node these come from `--node-config` of the SuperNode or, for what it does not say, from the environment.
Never from a message: whoever submits a run chooses neither the program nor the data of a node.
On the server they come from the run's config or, for what it does not say, from the SuperLink's environment.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .parcel import DEFAULT_MAX_BYTES
from .worker import Worker

WORKER_VARIABLE = "BURN_DP_WORKER"
STATE_VARIABLE = "BURN_DP_STATE"
DEFAULT_SECONDS = 3600.0


class SettingsError(ValueError):
    """A setting is missing or makes no sense."""


@dataclass(frozen=True)
class Settings:
    """A machine's worker, its state folder, and the largest message it takes."""

    worker: Worker
    state: Path
    max_bytes: int


def node_settings(config: Mapping[str, Any], environment: Mapping[str, str]) -> Settings:
    """The settings of a node.

    A simulation has many nodes in one environment. There each takes a folder of its own in the state folder.
    """
    settings = _settings(config, environment, "--node-config")
    if not config.get("state") and "partition-id" in config:
        folder = settings.state / f"node-{int(config['partition-id'])}"
        return Settings(settings.worker, folder, settings.max_bytes)
    return settings


def server_settings(config: Mapping[str, Any], environment: Mapping[str, str]) -> Settings:
    """The settings of the server."""
    return _settings(config, environment, "[tool.flwr.app.config]")


def _settings(config: Mapping[str, Any], environment: Mapping[str, str], where: str) -> Settings:
    worker = _path(config, environment, "worker", WORKER_VARIABLE, where)
    state = _path(config, environment, "state", STATE_VARIABLE, where)
    seconds = _positive(config, "timeout", DEFAULT_SECONDS)
    max_bytes = int(_positive(config, "max-bytes", DEFAULT_MAX_BYTES))
    return Settings(Worker(worker, seconds), state, max_bytes)


def _path(config: Mapping[str, Any], environment: Mapping[str, str], key: str, variable: str, where: str) -> Path:
    """A path. Not a relative one: Flower's processes do not run in the operator's folder."""
    text = str(config.get(key) or environment.get(variable) or "")
    if not text:
        raise SettingsError(f"no {key}: set {key} in {where}, or {variable} in the environment")
    path = Path(text).expanduser()
    if not path.is_absolute():
        raise SettingsError(f"the {key} must be an absolute path, not {text}")
    return path


def _positive(config: Mapping[str, Any], key: str, default: float) -> float:
    value = config.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise SettingsError(f"{key} must be a number above 0")
    return float(value)
