"""One owner for a state folder."""

import subprocess
import sys
import time

import pytest

from burn_dp_flower.locking import SCRATCH, Busy, owned


def test_a_second_owner_fails_at_once(tmp_path):
    with owned(tmp_path):
        start = time.monotonic()
        with pytest.raises(Busy, match="another run or worker"), owned(tmp_path):
            pass
        assert time.monotonic() - start < 1
    with owned(tmp_path):
        pass


def test_a_patient_owner_waits(tmp_path):
    with owned(tmp_path):
        start = time.monotonic()
        with pytest.raises(Busy), owned(tmp_path, patience=0.5):
            pass
        assert time.monotonic() - start >= 0.5


def test_a_child_that_has_the_descriptor_keeps_the_folder(tmp_path):
    with owned(tmp_path) as own:
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(own.lock,))
    with pytest.raises(Busy), owned(tmp_path):
        pass
    child.communicate(b"\n")
    with owned(tmp_path):
        pass


def test_scratch_is_empty_and_goes_away(tmp_path):
    (tmp_path / SCRATCH).mkdir()
    (tmp_path / SCRATCH / "of a killed owner").write_text("x")
    with owned(tmp_path) as own:
        assert own.scratch.parent == tmp_path
        assert list(own.scratch.iterdir()) == []
        (own.scratch / "in").mkdir()
    assert not (tmp_path / SCRATCH).exists()
