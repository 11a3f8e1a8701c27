import random

import pytest
import sentencepiece
from fairseq.data import Dictionary, data_utils

from closer_look.data.text import read_lines, write_lines
from closer_look.jobs.command import run
from closer_look.jobs.job import InputError
from scripts.data.binarise import binarise
from scripts.data.learn_bpe import Lines, learn_bpe, list_pieces, train_model

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
    """A folder with two languages of text in three parts and a joint model."""
    folder = tmp_path_factory.mktemp("data")
    for language, alphabet in (("en", "abcdefgh"), ("de", "efghiäöüß")):
        for part, count in (("train", 400), ("valid", 20), ("test", 10)):
            write(folder / f"{part}.{language}.gz", make_lines(alphabet, count, seed=count))
    text = [folder / "train.en.gz", folder / "train.de.gz"]
    learn_bpe(text, folder / "spm.model", folder / "dict.txt", 400, SAMPLE)
    return folder


def test_the_dictionary_has_the_vocabulary_size_for_fairseq(data):
    dictionary = Dictionary.load(str(data / "dict.txt"))
    assert len(dictionary) == 400
    assert dictionary.symbols[4:] == list_pieces((data / "spm.model").read_bytes())
    assert not SPECIAL & set(dictionary.symbols[4:])


def test_specials_in_the_text_do_not_become_pieces(tmp_path):
    lines = [f"{'x' * (i % 9)}<pad>{'x' * (i % 7)} <s>a</s> <unk>" for i in range(500)]
    pieces = list_pieces(train_model(Lines([write(tmp_path / "t.gz", lines)]), 14, SAMPLE))
    assert not SPECIAL & set(pieces)
    assert len(pieces) == 10


def test_every_character_of_every_file_is_covered(data):
    processor = sentencepiece.SentencePieceProcessor(model_file=str(data / "spm.model"))
    assert not [c for c in "abcdefghiäöüß" if processor.is_unknown(processor.piece_to_id(c))]


def test_learning_again_gives_the_same_bytes(data):
    text = [data / "train.en.gz", data / "train.de.gz"]
    assert train_model(Lines(text), 400, SAMPLE) == (data / "spm.model").read_bytes()


def test_a_sample_is_drawn_from_all_of_the_text_the_same_each_time(data):
    text = [data / "train.en.gz", data / "train.de.gz"]
    first, again = (train_model(Lines(text), 60, sample=101) for _ in range(2))
    assert first == again
    pieces = list_pieces(first)
    assert pieces != list_pieces(train_model(Lines(text), 60, SAMPLE))
    assert {"a", "ß"} < set(pieces)


@pytest.mark.parametrize(
    ("vocab_size", "message"),
    [
        (10**6, r"^bpe.vocab_size: .*too high \(1000000\).* value <= \d+"),
        (5, r"^bpe.vocab_size: 5 is less than the text has different characters \(\d+\)$"),
    ],
)
def test_a_vocabulary_size_that_the_text_cannot_give(data, vocab_size, message):
    with pytest.raises(InputError, match=message) as error:
        train_model(Lines([data / "train.en.gz"]), vocab_size, SAMPLE)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("length", [1500, 20_000])
def test_long_lines_are_learned_from_too(tmp_path, length):
    """SentencePiece by itself skips what is over 4,192 bytes, and then knows none of it."""
    rng = random.Random(1)
    lines = ["".join(rng.choices("一二三四五六七八九十", k=length)) for _ in range(9)]
    text = [write(tmp_path / "zh", lines), write(tmp_path / "en", ["some words"] * 99)]
    model, dictionary = tmp_path / "spm.model", tmp_path / "dict.txt"
    facts = learn_bpe(text, model, dictionary, 60, SAMPLE)
    assert facts == {"pieces": 56, "lines": 108, "skipped": 0}
    counts = binarise(
        {"train_source": text[0]}, model, dictionary, tmp_path / "bin", "zh", None, threads=1
    )
    assert counts["train"]["unknown"] == 0
    assert counts["train"]["tokens"] > 1000


def test_what_sentencepiece_skips_is_counted_and_refused_above_a_share(tmp_path):
    text = [write(tmp_path / "t", ["a b c", "d ▅ e", "f ▅"])]
    files = tmp_path / "spm.model", tmp_path / "dict.txt"
    assert learn_bpe(text, *files, 11, SAMPLE, 0.7)["skipped"] == 2
    message = "t: of the lines: 2 of 3 would be left out: 2 with U.2585, which SentencePiece"
    with pytest.raises(InputError, match=message):
        learn_bpe(text, *files, 11, SAMPLE, 0.5)
    text = [write(tmp_path / "u", ["▅", "▅▅"])]
    with pytest.raises(InputError, match="u: no line for SentencePiece to learn from"):
        learn_bpe(text, *files, 11, SAMPLE, 0.5)


def preprocess(data, folder, source, target, parts):
    """Encode the text of a dataset and call `fairseq-preprocess`; return the files it wrote."""
    processor = sentencepiece.SentencePieceProcessor(model_file=str(data / "spm.model"))
    languages = {source: f".{source}", target: f".{target}"} if target else {source: ""}
    options = ["-s", source, "-t", target, "--joined-dictionary"] if target else ["--only-source"]
    for part in parts:
        for language, suffix in languages.items():
            encoded = processor.encode(list(read_lines(parts[part][language])), out_type=str)
            write(folder / f"{part}{suffix}", map(" ".join, encoded))
        options += [f"--{part}pref", folder / part]
    destination = folder / "bin"
    run("fairseq-preprocess", *options, "--srcdict", data / "dict.txt", "--destdir", destination)
    (destination / "preprocess.log").unlink()
    return contents(destination)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def parts_of(data, *languages):
    return {
        part: {language: data / f"{part}.{language}.gz" for language in languages}
        for part in ("train", "valid", "test")
    }


def inputs(parts, source, target=None):
    sides = {"source": source} | ({"target": target} if target else {})
    return {
        f"{part}_{side}": texts[language]
        for part, texts in parts.items()
        for side, language in sides.items()
    }


def facts(path, data, unknown=0):
    """Return the counts that the dataset of a text should have."""
    processor = sentencepiece.SentencePieceProcessor(model_file=str(data / "spm.model"))
    lines = list(read_lines(path))
    tokens = sum(len(processor.encode(line)) + 1 for line in lines)
    return {"sentences": len(lines), "tokens": tokens, "unknown": unknown}


ODD = ["日 本 a", "", " b\u3000c\u2028d ", "<unk> <pad>", "e\t\x00f", "日本語 ½ ﬁ", "\ud7ff😀"]
"""Lines that a tokenizer, a normaliser or a splitter of lines could take amiss."""


@pytest.mark.parametrize(
    ("target", "threads"), [(None, 1), ("de", 2)], ids=["language model", "translation"]
)
def test_the_files_are_those_of_fairseq_preprocess(data, tmp_path, monkeypatch, target, threads):
    monkeypatch.setattr("scripts.data.binarise.BATCH", 7)
    parts = parts_of(data, "en", *filter(None, [target]))
    for language in parts["valid"]:
        lines = ODD + list(read_lines(parts["valid"][language]))
        parts["valid"][language] = write(tmp_path / f"odd.{language}", lines)
    expected = preprocess(data, tmp_path, "en", target, parts)
    assert len(expected) == (6 + 1 if target is None else 12 + 2)
    text = inputs(parts, "en", target)
    model, dictionary = data / "spm.model", data / "dict.txt"
    counts = binarise(text, model, dictionary, tmp_path / "ours", "en", target, threads)
    assert contents(tmp_path / "ours") == expected
    name = "train.en-de.de" if target else "train"
    assert counts[name] == facts(data / f"train.{target or 'en'}.gz", data)


def test_text_like_a_special_symbol_is_unknown_and_ends_no_sentence(data, tmp_path):
    text = {"train_source": write(tmp_path / "text", ["a </s> b <s>"])}
    folder = tmp_path / "bin"
    binarise(text, data / "spm.model", data / "dict.txt", folder, "en", None, threads=1)
    dictionary = Dictionary.load(str(folder / "dict.txt"))
    (tokens,) = data_utils.load_indexed_dataset(str(folder / "train"), dictionary)
    assert tokens.tolist().count(dictionary.eos()) == 1
    assert tokens.tolist().count(dictionary.unk()) == 2


def test_a_language_model_dataset(data, tmp_path):
    """Unknown characters are counted, an empty part is left out, nothing else is in the folder."""
    parts = parts_of(data, "en")
    lines = ["日 本", *read_lines(data / "valid.en.gz")]
    text = inputs(parts, "en") | {
        "valid_source": write(tmp_path / "unknown", lines),
        "test_source": write(tmp_path / "empty.gz", []),
    }
    folder = tmp_path / "bin"
    counts = binarise(text, data / "spm.model", data / "dict.txt", folder, "en", None, threads=3)
    assert counts == {
        "train": facts(data / "train.en.gz", data),
        "valid": facts(text["valid_source"], data, unknown=2),
    }
    files = {"dict.txt", "train.bin", "train.idx", "valid.bin", "valid.idx"}
    assert {path.name for path in folder.iterdir()} == files


def test_fairseq_reads_the_text_back(data, tmp_path):
    text = inputs(parts_of(data, "en", "de"), "en", "de")
    binarise(text, data / "spm.model", data / "dict.txt", tmp_path / "bin", "en", "de", threads=1)
    dictionary = Dictionary.load(str(tmp_path / "bin/dict.de.txt"))
    assert dictionary == Dictionary.load(str(data / "dict.txt"))
    prefix = str(tmp_path / "bin/valid.en-de.de")
    lines = [
        dictionary.string(tokens, bpe_symbol="sentencepiece")
        for tokens in data_utils.load_indexed_dataset(prefix, dictionary)
    ]
    assert lines == list(read_lines(data / "valid.de.gz"))
