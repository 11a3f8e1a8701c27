"""The test sets that sacrebleu has."""

import sacrebleu


def sacrebleu_pair(languages: str) -> str:
    """Return sacrebleu's name of a pair: OPUS has codes with a region, as in `en-zh_cn`."""
    return "-".join(code.partition("_")[0] for code in languages.split("-"))


def has_pair(test_set: str, languages: str) -> bool:
    """Tell whether a test set has a pair, in this direction."""
    return sacrebleu_pair(languages) in sacrebleu.get_langpairs_for_testset(test_set)
