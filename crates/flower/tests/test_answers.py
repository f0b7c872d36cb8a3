"""The answers of a server's worker."""

import pytest

from burn_dp_flower.answers import Answer, Order, read_answer
from burn_dp_flower.worker import WorkerError


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out" / "deep").mkdir(parents=True)
    (tmp_path / "out" / "deep" / "model").write_text("x")
    (tmp_path / "secret").write_text("x")
    return tmp_path / "out"


SEND = [{"to": "7", "files": {"model.bin": "deep/model"}}]


def test_a_full_answer(out):
    said = {"send": SEND, "wait": 1, "seconds": 2.5, "label": "round 1", "done": False, "of a later version": 0}
    order = Order("7", {"model.bin": (out / "deep" / "model").resolve()})
    assert read_answer(said, out) == Answer([order], 1.0, 2.5, "round 1", False)


def test_short_answers(out):
    assert read_answer({"wait": 3}, out) == Answer([], 3.0, 0.0, "", False)
    assert read_answer({"done": True}, out) == Answer([], 0.0, 0.0, "", True)


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"wait": 0},
        {"wait": -1},
        {"wait": "1"},
        {"wait": True},
        {"wait": float("nan")},
        {"wait": float("inf")},
        {"wait": 1e9},
        {"send": SEND, "wait": 1},
        {"send": SEND, "wait": 1, "seconds": 0},
        {"send": SEND, "done": True},
        {"send": SEND * 2, "wait": 1, "seconds": 1},
        {"send": {}, "wait": 1},
        {"send": ["7"], "wait": 1, "seconds": 1},
        {"send": [{"to": 7, "files": {}}], "wait": 1, "seconds": 1},
        {"send": [{"to": "7"}], "wait": 1, "seconds": 1},
        {"wait": 1, "done": 1},
        {"wait": 1, "label": None},
    ],
)
def test_answers_that_make_no_sense_are_refused(out, said):
    with pytest.raises(WorkerError):
        read_answer(said, out)


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "deep", "missing", "link", "", 3, None])
def test_files_outside_of_out_are_refused(out, path):
    (out / "link").symlink_to(out.parent / "secret")
    with pytest.raises(WorkerError, match="not a file in out/"):
        read_answer({"send": [{"to": "7", "files": {"m": path}}], "wait": 1, "seconds": 1}, out)


def test_hostile_names_are_refused(out):
    with pytest.raises(WorkerError, match="1 to 64"):
        read_answer({"send": [{"to": "7", "files": {"../m": "deep/model"}}], "wait": 1, "seconds": 1}, out)
