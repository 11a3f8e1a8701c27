"""A small experiment that is really trained: two layers, short sentences of the bundled corpus."""

import zipfile

import opus_tree
from fake_bin import ROOT

BUNDLED = ROOT / "resources/opus/LibreOfficeHelp/v7.4/moses/de-en.txt.zip"
UPDATES = 40
PROBE_EVERY = 15
MAX_TOKENS = 128  # two micro-batches
CONFIG = {
    "corpora": {
        "toy": opus_tree.corpus("moses")
        | {"languages": ["de", "en"], "valid": 20, "test": 10, "test_sets": ["wmt18"]}
    },
    "opus_mirror": "opus",
    "runs": [
        {
            "corpus": "toy",
            "pairs": ["en-de"],
            "languages": ["en"],
            "objectives": ["mlm", "clm", "mt"],
            "directions": "forward",
        }
    ],
    "main_runs": {"mlm": "toy/mlm/en", "clm": "toy/clm/en", "mt": "toy/mt/en-de"},
    "bpe": {"vocab_size": 300},
    "training": {
        "layers": 2,
        "heads": 2,
        "embed_dim": 16,
        "ffn_dim": 32,
        "lr": 0.002,
        "warmup_updates": 5,
        "total_updates": UPDATES,
        "tokens_per_update": 2 * MAX_TOKENS,
        "max_sentence_pieces": MAX_TOKENS,
        "tokens_per_sample": 32,
        "precision": "fp32",
        "checkpoint_every": 10,
        "trapezoid": {"every": 4, "tokens": 400},
        "probe": {"every": PROBE_EVERY, "tokens": 200, "loss_tokens": 400},
    },
}


def write_corpus(path, pairs=1500):
    """Write the first short pairs of the bundled corpus."""
    with zipfile.ZipFile(BUNDLED) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith((".de", ".en")))
        sides = [archive.read(name).decode().split("\n") for name in names]
    short = [pair for pair in zip(*sides, strict=True) if all(2 < len(s) < 60 for s in pair)]
    lines = zip(*short[:pairs], strict=True)
    members = {
        f"Toy.de-en.{language}": "".join(f"{line}\n" for line in side).encode()
        for language, side in zip(("de", "en"), lines, strict=True)
    }
    opus_tree.write_zip(path, members)
