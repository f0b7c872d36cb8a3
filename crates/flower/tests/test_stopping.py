"""Ending a process with its children, in whatever session they are."""

import subprocess
import sys
import time

from burn_dp_flower import stopping

CHILD = "import subprocess, sys; print(subprocess.Popen(['sleep', '60'], start_new_session=True).pid, flush=True);"


def start(body):
    process = subprocess.Popen([sys.executable, "-c", CHILD + body], stdout=subprocess.PIPE)
    return process, int(process.stdout.readline())


def runs(pid):
    return pid in {member.pid for member in stopping._running()}


def test_children_in_other_sessions_end_too(monkeypatch):
    monkeypatch.setattr(stopping, "STOP_SECONDS", 0.5)
    process, child = start("import time; time.sleep(60)")
    assert runs(child)
    stopping.stop([process])
    assert process.returncode == -15
    time.sleep(0.2)
    assert not runs(child)


def test_a_process_that_does_not_listen_is_ended_too(monkeypatch):
    monkeypatch.setattr(stopping, "STOP_SECONDS", 0.5)
    process, child = start("import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(60)")
    process.stdout.readline()
    stopping.stop([process])
    assert process.returncode == -9
    time.sleep(0.2)
    assert not runs(child)


def test_nothing_to_stop():
    stopping.stop([])


def test_a_kill_ends_children_in_other_sessions_at_once():
    process, child = start("import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)")
    stopping.kill([process])
    assert process.returncode == -9
    time.sleep(0.2)
    assert not runs(child)
