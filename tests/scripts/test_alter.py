import shutil

import numpy as np
import pytest
from fairseq.data.indexed_dataset import MMapIndexedDataset

from scripts.data.alter import alter, choose
from trainers import write_data

SENTENCES = 60


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"), SENTENCES)


def sentences(folder, name="train"):
    return [tokens.tolist() for tokens in MMapIndexedDataset(str(folder / name))]


def test_a_share_of_the_sentences_is_shuffled_up_to_the_end_mark(data, tmp_path):
    alter(data, tmp_path / "new", None, 0.5)
    before, after = sentences(data), sentences(tmp_path / "new")
    assert [sorted(tokens) for tokens in after] == [sorted(tokens) for tokens in before]
    assert all(tokens[-1] == 2 for tokens in after)
    _, shuffled = choose(SENTENCES, None, 0.5)
    differ = [a != b for a, b in zip(after, before, strict=True)]
    assert 0.3 < np.mean(differ) < 0.7
    assert not any(differ & ~shuffled)  # a shuffled one may happen to be in order


def test_of_translation_the_same_pairs_are_shuffled_differently(data, tmp_path):
    alter(data, tmp_path / "new", 20, 0.5)
    kept, shuffled = choose(SENTENCES, 20, 0.5)
    orders = []
    for side in ("en", "de"):
        name = f"train.en-de.{side}"
        before, after = sentences(data, name), sentences(tmp_path / "new", name)
        before = [before[row] for row in kept]
        unchanged = [a == b for a, b in zip(after, before, strict=True)]
        assert all(np.array(unchanged)[~shuffled])
        orders.append([after[row] for row in np.flatnonzero(shuffled)])
    assert orders[0] != orders[1]  # though both sides of this data are the same


def test_only_training_text_is_altered_and_always_in_the_same_way(data, tmp_path):
    facts = alter(data, tmp_path / "one", 20, 1.0)
    assert alter(data, tmp_path / "two", 20, 1.0) == facts
    assert facts["parts"]["train"] == {"sentences": 20, "tokens": 20 * 9, "unknown": 0}
    assert facts["parts"]["valid"]["sentences"] == 10
    for path in data.iterdir():
        one, two = (tmp_path / folder / path.name for folder in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()
        assert (one.read_bytes() == path.read_bytes()) == (not path.name.startswith("train"))


def test_samples_and_shares_are_nested():
    few, some = (set(choose(1000, number, 0.0)[0]) for number in (100, 300))
    assert few < some and len(few) == 100
    low, high = (set(np.flatnonzero(choose(1000, None, noise)[1])) for noise in (0.1, 0.3))
    assert low < high and 60 < len(low) < 140
    assert [len(part) for part in choose(10, 50, 0.0)] == [10, 10]
    assert not choose(1000, None, 0.0)[1].any() and choose(1000, None, 1.0)[1].all()


def test_without_a_change_the_text_is_what_it_was(data, tmp_path):
    alter(data, tmp_path / "new", None, 0.0)
    for path in data.iterdir():
        assert (tmp_path / "new" / path.name).read_bytes() == path.read_bytes()
    shutil.rmtree(tmp_path / "new")
