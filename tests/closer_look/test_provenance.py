import json
import subprocess
import sys

import pytest

from closer_look.jobs import provenance
from closer_look.jobs.provenance import attempt, attempts, code, devices


@pytest.fixture
def root(tmp_path):
    for name in ("workflow/Snakefile", "scripts/train.py", "scripts/__pycache__/train.pyc"):
        path = tmp_path / "repository" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "repository"


def git(root, *arguments):
    command = ["git", "-C", root, "-c", "user.name=me", "-c", "user.email=me@here", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_code_is_a_commit_and_whether_it_is_changed(root):
    git(root, "init")
    git(root, "add", "workflow", "scripts/train.py")
    git(root, "commit", "-m", "first")
    (root / "results.txt").write_text("not code")
    (root / "scripts/__pycache__/train.pyc").unlink()
    assert code(root) | {"sha256": None} == {
        "commit": git(root, "rev-parse", "HEAD"),
        "modified": False,
        "sha256": None,
    }
    (root / "scripts/train.py").write_text("other")
    assert code(root)["modified"]


def test_without_git_the_code_is_a_checksum(root):
    git(root.parent, "init")  # a repository of something else around it
    before = code(root)
    assert (before["commit"], before["modified"]) == (None, None)
    (root / "scripts/__pycache__/train.pyc").write_text("another interpreter's")
    assert code(root) == before
    (root / "scripts/train.py").write_text("other")
    assert code(root)["sha256"] != before["sha256"]


CHURN = """
import sys
from itertools import count
from pathlib import Path

folder = Path(sys.argv[1])
print("ready", flush=True)
for number in count():
    path = folder / f"__pycache__/train.cpython-311.pyc.{number % 50}"
    path.write_text("written beside, then renamed")
    path.unlink()
"""


@pytest.mark.parametrize("with_git", [True, False])
def test_what_python_and_numba_leave_beside_the_code_is_no_code(root, with_git):
    if with_git:
        git(root, "init")
        (root / ".gitignore").write_text("__pycache__/\n")
    before = code(root)
    for name in ("cpu_kernel-12.py311.nbi", "cpu_kernel-12.py311.1.nbc"):
        (root / "scripts/__pycache__" / name).write_text("compiled")
    churn = subprocess.Popen(
        [sys.executable, "-c", CHURN, root / "scripts"], stdout=subprocess.PIPE, text=True
    )
    try:
        churn.stdout.readline()
        assert [code(root) for _ in range(20)] == [before] * 20
    finally:
        churn.kill()
        churn.communicate()
    (root / "scripts/new.py").write_text("not committed yet")
    assert code(root)["sha256"] != before["sha256"]


def test_a_file_of_git_that_is_gone_is_a_change(root):
    git(root, "init")
    git(root, "add", "workflow", "scripts/train.py")
    git(root, "commit", "-m", "first")
    before = code(root)
    (root / "scripts/train.py").unlink()
    assert code(root)["modified"]
    assert code(root)["sha256"] != before["sha256"]


def test_without_git_installed_the_commit_is_unknown(root, monkeypatch):
    git(root, "init")
    monkeypatch.setenv("PATH", "/nowhere")
    assert code(root)["commit"] is None


def test_an_attempt_has_an_end_unless_it_was_killed(tmp_path):
    path = tmp_path / "attempts.json"
    with pytest.raises(RuntimeError), attempt(path, from_update=0):
        raise RuntimeError
    with attempt(path, from_update=7):
        while_it_runs = json.loads(path.read_text())
    assert [found["finished"] is None for found in while_it_runs] == [False, True]
    assert [found["finished"] is None for found in attempts(path)] == [False, False]
    assert [found["from_update"] for found in attempts(path)] == [0, 7]


def test_an_end_that_cannot_be_written_hides_no_error(tmp_path):
    folder = tmp_path / "state"
    folder.mkdir()
    with pytest.raises(RuntimeError), attempt(folder / "attempts.json"):
        (folder / "attempts.json").unlink()
        folder.rmdir()
        raise RuntimeError


def test_devices_are_cards_or_the_processor(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda card: f"card {card}")
    assert devices() == ["card 0", "card 1"]
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert devices() == [provenance.processor()] != [""]


@pytest.mark.parametrize("content", [b"", b'[{"started":', b"\0" * 99])
def test_a_damaged_list_of_attempts_begins_anew_and_says_so(tmp_path, capsys, content):
    path = tmp_path / "attempts.json"
    path.write_bytes(content)
    with attempt(path, name="next"):
        pass
    assert [found["name"] for found in attempts(path)] == ["next"]
    assert f"{path}: damaged" in capsys.readouterr().err
