"""What the operator of a machine chose."""

from pathlib import Path

import pytest

from burn_dp_flower.settings import SettingsError, node_settings, server_settings

BOTH = {"worker": "/w", "state": "/s"}
ENVIRONMENT = {"BURN_DP_WORKER": "/ew", "BURN_DP_STATE": "/es"}


def test_the_node_config_wins_over_the_environment():
    settings = node_settings(BOTH | {"timeout": 5, "max-bytes": 10}, ENVIRONMENT)
    assert (settings.worker.program, settings.state) == (Path("/w"), Path("/s"))
    assert (settings.worker.seconds, settings.max_bytes) == (5.0, 10)


def test_the_environment_says_what_the_config_does_not():
    settings = server_settings({"worker": "", "state": ""}, ENVIRONMENT)
    assert (settings.worker.program, settings.state) == (Path("/ew"), Path("/es"))
    assert (settings.worker.seconds, settings.max_bytes) == (3600.0, 256 * 2**20)


def test_nodes_of_a_simulation_have_folders_of_their_own():
    assert node_settings({"partition-id": 7}, ENVIRONMENT).state == Path("/es/node-7")
    assert node_settings({"partition-id": 7, "state": "/s"}, ENVIRONMENT).state == Path("/s")


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"worker": "/w"},
        BOTH | {"worker": "w"},
        BOTH | {"state": "../s"},
        BOTH | {"timeout": 0},
        BOTH | {"timeout": "5"},
        BOTH | {"timeout": float("nan")},
        BOTH | {"timeout": True},
        BOTH | {"max-bytes": -1},
    ],
)
def test_settings_that_make_no_sense_are_refused(config):
    with pytest.raises(SettingsError):
        node_settings(config, {})
