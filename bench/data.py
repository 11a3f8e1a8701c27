"""What preparing data takes: time and memory of each step, beside the tools run by hand.

A corpus of Europarl's size, made of the bundled text: each of its pairs is joined with another one,
every time a different one, so that no two are equal and sentences are as long as Europarl's. By
hand means `opus_read`, SentencePiece on plain files, and `fairseq-preprocess` on its output. Prints
a Markdown table, a row after each step.
"""

import argparse
import gzip
import multiprocessing
import os
import resource
import shutil
import tempfile
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]

BUNDLED = ROOT / "resources/opus/LibreOfficeHelp/v7.4/moses/de-en.txt.zip"
PAIRS = 1_900_000  # Europarl's of German and English
CORPUS = {"source": "opus", "name": "Bench", "version": "v1", "format": "moses"}
SIDES = ("en", "de")
THREADS = len(os.sched_getaffinity(0))


def paths(name: str) -> list[str]:
    """Return the two files of a text in the working folder."""
    return [name.format(side) for side in SIDES]


def ours_read(size: int) -> None:
    """Read the archive."""
    from scripts.data.read import read

    read("download", CORPUS, *SIDES, *paths("read.{}.gz"))


def hand_read(size: int) -> None:
    """Read it with `opus_read`."""
    from closer_look.jobs.command import run

    corpus = ("-d", CORPUS["name"], "-r", CORPUS["version"], "-p", CORPUS["format"])
    output = ("-wm", "moses", "-w", *paths("hand.{}"))
    where = ("-s", SIDES[0], "-t", SIDES[1], "-dl", "download", "-rd", "download", "-q")
    run("opus_read", *corpus, *output, *where)


def ours_clean(size: int) -> None:
    """Clean what was read."""
    from scripts.data.clean import clean

    clean(*paths("read.{}.gz"), *paths("clean.{}.gz"), 250, 9.0)


def ours_split(size: int) -> None:
    """Split what is clean."""
    from scripts.data.split import PARTS, split

    outputs = {part: paths(f"{part}.{{}}.gz") for part in PARTS}
    split(*paths("clean.{}.gz"), outputs, 2500, 2500, None, 1)


def ours_learn_bpe(size: int) -> None:
    """Learn a joint vocabulary."""
    from scripts.data.learn_bpe import learn_bpe

    learn_bpe(paths("train.{}.gz"), "spm.model", "dict.txt", size, 10**7)


def hand_learn_bpe(size: int) -> None:
    """Learn it with SentencePiece from plain files."""
    from sentencepiece import SentencePieceTrainer

    options = {"model_prefix": "hand", "model_type": "bpe", "character_coverage": 1.0}
    SentencePieceTrainer.train(input=paths("train.{}"), vocab_size=size, pad_id=3, **options)


def ours_binarise(size: int) -> None:
    """Make the dataset of a translation model."""
    from scripts.data.binarise import binarise

    text = dict(zip(("train_source", "train_target"), paths("train.{}.gz"), strict=True))
    binarise(text, "spm.model", "dict.txt", "bin", *SIDES, THREADS)


def hand_binarise(size: int) -> None:
    """Make it with SentencePiece and `fairseq-preprocess`."""
    from sentencepiece import SentencePieceProcessor

    from closer_look.jobs.command import run

    processor = SentencePieceProcessor(model_file="spm.model", num_threads=THREADS)
    for source, target in zip(paths("train.{}"), paths("hand.bpe.{}"), strict=True):
        with (
            open(source, encoding="utf-8") as lines,
            open(target, "w", encoding="utf-8") as encoded,
        ):
            while batch := [line.rstrip("\n") for line in lines.readlines(1 << 20)]:
                pieces = processor.encode(batch, out_type=str)
                encoded.writelines(" ".join(line) + "\n" for line in pieces)
    options = ("-s", SIDES[0], "-t", SIDES[1], "--joined-dictionary", "--srcdict", "dict.txt")
    workers = ("--workers", THREADS + 1)  # one less is at work at a time
    run("fairseq-preprocess", *options, *workers, "--trainpref", "hand.bpe", "--destdir", "hand")


STEPS = {
    "read": (ours_read, hand_read),
    "clean": (ours_clean, None),
    "split": (ours_split, None),
    "learn_bpe": (ours_learn_bpe, hand_learn_bpe),
    "binarise": (ours_binarise, hand_binarise),
}


def write_corpus(archive: Path, pairs: int) -> None:
    """Write an OPUS archive of format "moses" with so many different pairs."""
    archive.parent.mkdir()
    with zipfile.ZipFile(BUNDLED) as bundled, zipfile.ZipFile(archive, "w", 8) as made:
        for side in SIDES:
            lines = bundled.read(f"LibreOfficeHelp.de-en.{side}").decode().splitlines()
            with made.open(f"Bench.de-en.{side}", "w", force_zip64=True) as file:
                for number in range(pairs):
                    again, index = divmod(number, len(lines))
                    other = lines[(index + again + 1) % len(lines)]
                    file.write(f"{lines[index]} {other}\n".encode())


def unpack() -> None:
    """Write the training text as the plain files that the tools want."""
    for compressed, plain in zip(paths("train.{}.gz"), paths("train.{}"), strict=True):
        with gzip.open(compressed) as source, open(plain, "wb") as target:
            shutil.copyfileobj(source, target)


class Cost(NamedTuple):
    """What a step takes, with its child processes."""

    seconds: float
    cpu_seconds: float
    memory: float
    """The most MB of one process."""


def measure(step: Callable[[int], None], size: int) -> Cost:
    """Run a step in this process."""
    log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    start = time.perf_counter()
    step(size)
    seconds = time.perf_counter() - start
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu_seconds = sum(usage.ru_utime + usage.ru_stime for usage in used)
    return Cost(seconds, cpu_seconds, max(usage.ru_maxrss for usage in used) * 1024 / 1e6)


def in_a_new_process(step: Callable[[int], None], size: int) -> Cost:
    """Return what `measure` does, in a process that has done nothing else."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(measure, step, size).result()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=PAIRS, help="sentence pairs of the corpus")
    parser.add_argument("--vocab-size", type=int, default=32_000, help="pieces of the BPE")
    arguments = parser.parse_args()
    print(f"| data, {arguments.pairs:,} pairs | s | CPU s | MB | by hand, s | CPU s | MB |")
    print("|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        archive = Path("download/Bench_v1_moses_de-en.txt.zip")
        write_corpus(archive, arguments.pairs)
        for name, steps in STEPS.items():
            cells = [name]
            for step in steps:
                cost = step and in_a_new_process(step, arguments.vocab_size)
                cells += [f"{number:.0f}" for number in cost] if cost else [""] * 3
            print(f"| {' | '.join(cells)} |", flush=True)
            if name == "split":
                unpack()
        made = [archive, *Path().glob("*.gz"), *Path("bin").iterdir()]
        ratio = sum(path.stat().st_size for path in made) / archive.stat().st_size
        print(f"\nOn disk: {ratio:.1f} times the {archive.stat().st_size / 1e6:.0f} MB downloaded")


if __name__ == "__main__":
    main()
