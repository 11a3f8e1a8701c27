import os
import random
import zipfile
from argparse import Namespace

import pytest
import torch

from closer_look.jobs.job import InputError
from closer_look.training.checkpoints import (
    Checkpoint,
    Damage,
    discard_unusable,
    newest_checkpoint,
    read,
    settle,
)


def save(path, updates):
    history, extra = [{"num_updates": updates}], {"previous_training_time": 36.0 * updates}
    state = {"optimizer_history": history, "extra_state": extra, "model": torch.ones(999)}
    torch.save(state | {"args": Namespace(arch="transformer")}, path)
    return path


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1000])


def flip(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 16
    path.write_bytes(content)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_without_checkpoints_the_last_is_where_the_first_will_be(tmp_path):
    assert newest_checkpoint(tmp_path / "none") == (tmp_path / "none" / "checkpoint_last.pt", 0, 0)


def test_the_newest_checkpoint_is_that_of_the_most_updates(tmp_path):
    last = save(tmp_path / "checkpoint_last.pt", 20)
    save(tmp_path / "checkpoint_1_9.pt", 9)
    assert newest_checkpoint(tmp_path) == (last, 20, 0.2)
    newer = save(tmp_path / "checkpoint_2_100.pt", 100)
    assert newest_checkpoint(tmp_path) == (newer, 100, 1.0)


def test_a_truncated_checkpoint_is_passed_over(tmp_path):
    truncate(save(tmp_path / "checkpoint_last.pt", 300))
    save(tmp_path / "checkpoint_1_90.pt", 90)
    good = save(tmp_path / "checkpoint_1_100.pt", 100)
    truncate(save(tmp_path / "checkpoint_1_200.pt", 200))
    assert newest_checkpoint(tmp_path).path == good


def test_a_flipped_bit_never_changes_what_is_read(tmp_path):
    """Bits of no meaning, such as a time, may flip; all others make the file a broken one."""
    path = save(tmp_path / "checkpoint_last.pt", 300)
    content, whole = path.read_bytes(), torch.load(path, weights_only=False)
    chance, noticed = random.Random(1), 0
    for position in chance.sample(range(len(content)), 200):
        path.write_bytes(content)
        flip(path, position)
        try:
            read(path)
        except Damage:
            noticed += 1
        else:
            found = torch.load(path, weights_only=False)
            assert torch.equal(found.pop("model"), whole["model"])
            assert found == {name: value for name, value in whole.items() if name != "model"}
    assert noticed > 100


def test_a_flipped_bit_of_a_parameter_is_noticed(tmp_path):
    path = save(tmp_path / "checkpoint_last.pt", 300)
    flip(path, path.read_bytes().index(torch.ones(2).numpy().tobytes()) + 2000)
    with pytest.raises(Damage, match="^checksum of .*data/0$"):
        read(path)


class Malice:
    def __reduce__(self):
        return os.mkdir, ("harm",)


def test_what_is_pickled_in_a_checkpoint_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = save(tmp_path / "checkpoint_last.pt", 300)
    torch.save(torch.load(path, weights_only=False) | {"best": Malice()}, path)
    with pytest.raises(InputError, match=f"^{path}: not a checkpoint of ours.* posix.mkdir"):
        newest_checkpoint(tmp_path)
    assert not (tmp_path / "harm").exists()


def test_training_goes_on_from_the_newest_that_is_whole(tmp_path):
    truncate(save(tmp_path / "checkpoint_last.pt", 300))
    truncate(save(tmp_path / "checkpoint_1_300.pt", 300))
    save(tmp_path / "checkpoint_1_200.pt", 200)
    found, damages = settle(tmp_path, 400)
    assert found == newest_checkpoint(tmp_path) == (tmp_path / "checkpoint_last.pt", 200, 2.0)
    assert len(damages) == 2 and all(": damaged: " in line for line in damages)
    aside = ["checkpoint_1_300.pt.unusable", "checkpoint_last.pt.unusable"]
    assert names(tmp_path) == sorted(["checkpoint_1_200.pt", "checkpoint_last.pt", *aside])
    discard_unusable(tmp_path)
    assert names(tmp_path) == ["checkpoint_1_200.pt", "checkpoint_last.pt"]


def test_training_goes_back_to_what_the_log_reaches(tmp_path):
    last = save(tmp_path / "checkpoint_last.pt", 300)
    for updates in (100, 200, 300):
        save(tmp_path / f"checkpoint_1_{updates}.pt", updates)
    found, damages = settle(tmp_path, 299)
    assert found == (last, 200, 2.0)
    assert damages[0] == f"{last}: of update 300, the log is whole up to 299"
    assert "checkpoint_1_300.pt" not in names(tmp_path)


@pytest.mark.parametrize("spoil", [truncate, lambda path: path.write_bytes(b"")])
def test_with_nothing_but_broken_checkpoints_training_begins_anew(tmp_path, spoil):
    last = save(tmp_path / "checkpoint_last.pt", 300)
    for path in (last, save(tmp_path / "checkpoint_1_100.pt", 100)):
        spoil(path)
    found, damages = settle(tmp_path, 300)
    assert found == Checkpoint(last)
    assert len(damages) == 2
    assert not last.exists()


def test_a_whole_state_is_left_as_it_is(tmp_path):
    save(tmp_path / "checkpoint_1_300.pt", 300)
    last = save(tmp_path / "checkpoint_last.pt", 301)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert settle(tmp_path, 301) == ((last, 301, 3.01), [])
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_checkpoints_have_checksums_of_their_own(tmp_path):
    with zipfile.ZipFile(save(tmp_path / "checkpoint_last.pt", 1)) as archive:
        assert all(entry.CRC for entry in archive.infolist() if entry.file_size)
