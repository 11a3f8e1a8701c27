"""Turn encoded text into fairseq's binary datasets with `fairseq-preprocess`."""

import tempfile
from pathlib import Path

import numpy as np
from fairseq.data import Dictionary
from fairseq.data.indexed_dataset import best_fitting_int_dtype

from command import run
from job import job
from manifest import write_manifest


def count(path: Path, dictionary: Dictionary) -> dict[str, int]:
    """Return the sentences, tokens (with an end mark each sentence) and unknowns of a .bin file."""
    tokens = np.memmap(path, dtype=best_fitting_int_dtype(len(dictionary)), mode="r")
    return {
        "sentences": int(np.count_nonzero(tokens == dictionary.eos())),
        "tokens": tokens.size,
        "unknown": int(np.count_nonzero(tokens == dictionary.unk())),
    }


def binarise(
    text: dict[str, str | Path],
    dictionary: str | Path,
    folder: str | Path,
    source: str,
    target: str | None,
    threads: int,
) -> dict[str, dict[str, int]]:
    """Write the dataset of a language model or, with a `target`, of a translation model.

    `text` gives a file for each part and side: train_source, valid_target and so on. An empty one
    is left out. Returns the counts of each .bin file by its name.
    """
    folder = Path(folder)
    if target is None:
        languages = {"source": ""}
        options = ["--only-source"]
    else:
        languages = {"source": f".{source}", "target": f".{target}"}
        options = ["-s", source, "-t", target, "--joined-dictionary"]
    with tempfile.TemporaryDirectory() as temporary:
        for name, path in text.items():
            part, side = name.split("_")
            if Path(path).stat().st_size > 0:
                Path(temporary, part + languages[side]).symlink_to(Path(path).resolve())
        parts = sorted({path.name.partition(".")[0] for path in Path(temporary).iterdir()})
        for part in parts:
            options += [f"--{part}pref", f"{temporary}/{part}"]
        # fairseq has one process less than `--workers` at work at a time.
        options += ["--srcdict", dictionary, "--destdir", folder, "--workers", str(threads + 1)]
        run("fairseq-preprocess", *options)
    (folder / "preprocess.log").unlink()  # its times would make each run's folder another
    entries = Dictionary.load(str(dictionary))
    return {path.stem: count(path, entries) for path in sorted(folder.glob("*.bin"))}


if __name__ == "__main__":
    with job(snakemake):
        text = dict(snakemake.input.items())
        dictionary = text.pop("dictionary")
        folder = Path(snakemake.output.folder)
        counts = binarise(
            text,
            dictionary,
            folder,
            snakemake.params.source,
            snakemake.params.target,
            snakemake.threads,
        )
        write_manifest(
            snakemake.output.manifest,
            {path.name: path for path in sorted(folder.iterdir())},
            entries=len(Dictionary.load(dictionary)),
            parts=counts,
        )
