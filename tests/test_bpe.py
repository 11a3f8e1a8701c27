import random
from pathlib import Path

import pytest
import sentencepiece
from fairseq.data import Dictionary, data_utils

from binarise import binarise
from encode import encode
from job import InputError
from learn_bpe import learn_bpe, list_pieces, train_model
from text import read_lines, write_lines

SAMPLE = 10_000
SPECIAL = {"<unk>", "<s>", "</s>", "<pad>"}


def make_lines(alphabet, count, seed):
    """Return random lines of words that recur."""
    rng = random.Random(seed)
    words = ["".join(rng.choices(alphabet, k=rng.randint(1, 8))) for _ in range(200)]
    return [" ".join(rng.choices(words, k=rng.randint(1, 12))) for _ in range(count)]


def write(path, lines):
    with write_lines(path) as write_line:
        for line in lines:
            write_line(line)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with two languages of text in three parts, a joint model and the encoded text."""
    folder = tmp_path_factory.mktemp("data")
    for language, alphabet in (("en", "abcdefgh"), ("de", "efghiäöüß")):
        for part, count in (("train", 400), ("valid", 20), ("test", 10)):
            write(folder / f"{part}.{language}.gz", make_lines(alphabet, count, seed=count))
    text = [folder / "train.en.gz", folder / "train.de.gz"]
    learn_bpe(text, folder / "spm.model", folder / "dict.txt", 400, SAMPLE)
    for path in list(folder.glob("*.gz")):
        encode(path, folder / "spm.model", folder / path.stem, threads=1)
    return folder


def test_the_dictionary_has_the_vocabulary_size_for_fairseq(data):
    dictionary = Dictionary.load(str(data / "dict.txt"))
    assert len(dictionary) == 400
    assert dictionary.symbols[4:] == list_pieces((data / "spm.model").read_bytes())
    assert not SPECIAL & set(dictionary.symbols[4:])


def test_specials_in_the_text_do_not_become_pieces(tmp_path):
    lines = [f"{'x' * (i % 9)}<pad>{'x' * (i % 7)} <s>a</s> <unk>" for i in range(500)]
    pieces = list_pieces(train_model([write(tmp_path / "t.gz", lines)], 14, SAMPLE))
    assert not SPECIAL & set(pieces)
    assert len(pieces) == 10


def test_every_character_of_every_file_is_covered(data):
    processor = sentencepiece.SentencePieceProcessor(model_file=str(data / "spm.model"))
    assert not [c for c in "abcdefghiäöüß" if processor.is_unknown(processor.piece_to_id(c))]


def test_learning_again_gives_the_same_bytes(data):
    text = [data / "train.en.gz", data / "train.de.gz"]
    assert train_model(text, 400, SAMPLE) == (data / "spm.model").read_bytes()


def test_a_sample_is_drawn_from_all_of_the_text_the_same_each_time(data):
    text = [data / "train.en.gz", data / "train.de.gz"]
    first, again = (train_model(text, 60, sample=101) for _ in range(2))
    assert first == again
    pieces = list_pieces(first)
    assert pieces != list_pieces(train_model(text, 60, SAMPLE))
    assert {"a", "ß"} < set(pieces)


@pytest.mark.parametrize(
    ("vocab_size", "message"),
    [(10**6, r"vocab_size: .*too high \(1000000\).* value <= \d+"), (5, "vocab_size: .*smaller.*")],
)
def test_a_vocabulary_size_that_the_text_cannot_give(data, vocab_size, message):
    with pytest.raises(InputError, match=message) as error:
        train_model([data / "train.en.gz"], vocab_size, SAMPLE)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("threads", [1, 2])
def test_encoding_is_line_by_line_and_decodes_to_the_text(data, tmp_path, monkeypatch, threads):
    monkeypatch.setattr("encode.BATCH", 7)
    encode(data / "valid.de.gz", data / "spm.model", tmp_path / "out", threads)
    processor = sentencepiece.SentencePieceProcessor(model_file=str(data / "spm.model"))
    encoded = [line.split(" ") for line in read_lines(tmp_path / "out")]
    assert [processor.decode(pieces) for pieces in encoded] == list(
        read_lines(data / "valid.de.gz")
    )
    assert encoded == processor.encode(list(read_lines(data / "valid.de.gz")), out_type=str)


def texts(data, **sides):
    return {
        f"{p}_{side}": data / f"{p}.{language}"
        for p in ("train", "valid", "test")
        for side, language in sides.items()
    }


def dataset_lines(prefix, dictionary):
    """Return the lines of a binary dataset as fairseq reads them back."""
    return [
        dictionary.string(line) for line in data_utils.load_indexed_dataset(str(prefix), dictionary)
    ]


def facts(path, unknown=0):
    """Return the counts that a dataset of an encoded file should have."""
    lines = list(read_lines(path))
    tokens = sum(len(line.split()) for line in lines) + len(lines)
    return {"sentences": len(lines), "tokens": tokens, "unknown": unknown}


def test_a_language_model_dataset(data, tmp_path):
    """Unknown characters are counted, an empty part is left out, nothing else is in the folder."""
    text = texts(data, source="en")
    text["valid_source"] = tmp_path / "unknown"
    text["valid_source"].write_text("日 本\n" + (data / "valid.en").read_text())
    text["test_source"] = tmp_path / "empty"
    text["test_source"].touch()
    folder = tmp_path / "bin"
    counts = binarise(text, data / "dict.txt", folder, "en", None, threads=3)
    assert counts == {
        "train": facts(data / "train.en"),
        "valid": facts(text["valid_source"], unknown=2),
    }
    files = {"dict.txt", "train.bin", "train.idx", "valid.bin", "valid.idx"}
    assert {path.name for path in folder.iterdir()} == files
    dictionary = Dictionary.load(str(folder / "dict.txt"))
    assert dataset_lines(folder / "train", dictionary) == list(read_lines(data / "train.en"))


def test_a_translation_dataset(data, tmp_path):
    text = texts(data, source="en", target="de")
    counts = binarise(text, data / "dict.txt", tmp_path, "en", "de", threads=1)
    assert counts == {
        f"{part}.en-de.{language}": facts(data / f"{part}.{language}")
        for part in ("test", "train", "valid")
        for language in ("de", "en")
    }
    dictionary = Dictionary.load(str(tmp_path / "dict.de.txt"))
    assert dictionary == Dictionary.load(str(data / "dict.txt"))
    lines = dataset_lines(tmp_path / "valid.en-de.de", dictionary)
    assert lines == list(read_lines(data / "valid.de"))


def test_a_failure_of_fairseq_is_its_last_line(data, tmp_path):
    Path(tmp_path, "dict.txt").write_text("a 1\na 1\n")
    with pytest.raises(InputError, match="^fairseq-preprocess: RuntimeError: Duplicate word.*'a'"):
        binarise(texts(data, source="en"), tmp_path / "dict.txt", tmp_path / "bin", "en", None, 1)
