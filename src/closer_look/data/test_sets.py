"""The test sets that sacrebleu has."""

import sacrebleu

TRADITIONAL = ("tw", "hk", "mo", "hant")
"""Regions and the script of Chinese in which sacrebleu has no test set."""


def sacrebleu_pair(languages: str) -> str:
    """Return sacrebleu's name of a pair: OPUS has codes with a region, as in `en-zh_cn`."""
    return "-".join(code.partition("_")[0] for code in languages.split("-"))


def has_pair(test_set: str, languages: str) -> bool:
    """Tell whether a test set has a pair, in this direction and script."""
    parts = [code.lower().split("_") for code in languages.split("-")]
    if any(code == "zh" and {*others} & {*TRADITIONAL} for code, *others in parts):
        return False
    return sacrebleu_pair(languages) in sacrebleu.get_langpairs_for_testset(test_set)
