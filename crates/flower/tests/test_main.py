"""The command line (test_loopback.py has the trial), and what Flower looks for in a project."""

import ast
from pathlib import Path

import pytest

from burn_dp_flower import client, server
from burn_dp_flower.main import main
from burn_dp_flower.versions import (
    Ports,
    is_supported,
    parse_version,
    superlink_flags,
    superlink_ports,
    supernode_flags,
)
from conftest import FAKE_WORKER


def test_new_writes_a_project_once(tmp_path, capsys):
    folder = tmp_path / "my-run"
    assert main(["new", str(folder), "--worker", "/w", "--state", "/s"]) == 0
    text = (folder / "pyproject.toml").read_text()
    assert 'name = "my-run"' in text and 'worker = "/w"' in text and 'state = "/s"' in text
    assert "max-bytes = 268435456" in text
    assert main(["new", str(folder)]) == 1
    assert "exists" in capsys.readouterr().err
    assert (folder / "pyproject.toml").read_text() == text


@pytest.mark.parametrize("arguments", [["no name"], ["run", "--worker", 'a"b'], ["run", "--state", "a\nb"]])
def test_new_refuses_what_would_break_the_file(tmp_path, arguments):
    assert main(["new", str(tmp_path / arguments[0]), *arguments[1:]]) == 1
    assert list(tmp_path.iterdir()) == []


def test_check(tmp_path, capsys):
    assert main(["check", str(FAKE_WORKER)]) == 0
    assert "speaks protocol 1" in capsys.readouterr().out
    assert main(["check", str(tmp_path / "missing")]) == 1
    assert "cannot be run" in capsys.readouterr().err


@pytest.mark.parametrize("module", [client, server])
def test_app_is_a_plain_assignment(module):
    tree = ast.parse(Path(module.__file__).read_text())
    names = [target.id for node in tree.body if isinstance(node, ast.Assign) for target in node.targets]
    assert "app" in names


def test_the_releases_that_are_supported():
    supported = [text for text in ("1.27.9", "1.28.0", "1.42.0", "1.43.0", "2.0") if is_supported(parse_version(text))]
    assert supported == ["1.28.0", "1.42.0"]


def test_flags_follow_the_release():
    assert superlink_ports((1, 40), iter([1, 2, 3])) == Ports(1, 1, 1)
    assert superlink_ports((1, 39), iter([1, 2, 3])) == Ports(1, 2, 3)
    assert superlink_flags((1, 42), Ports(1, 1, 1))[1:] == ["--host", "127.0.0.1", "--port", "1"]
    assert superlink_flags((1, 28), Ports(1, 2, 3))[::2] == [
        "--fleet-api-address",
        "--control-api-address",
        "--serverappio-api-address",
    ]
    assert supernode_flags((1, 28), 9) == ["--clientappio-api-address", "127.0.0.1:9"]
