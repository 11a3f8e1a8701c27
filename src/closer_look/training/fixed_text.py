"""The fixed text that losses are measured on, against the text that a model learns from."""

from ..jobs.job import InputError
from ..trees import Tree

GREATEST_RATIO, ALWAYS = 10, 1 << 16
"""What may be measured on: so many times the tokens of the training text, and so many anyway. Text
that repeats tells nothing new, and a slip of a few zeros would take hours without a word."""


def check_fixed_text(settings: Tree, parts: Tree) -> None:
    """Raise `InputError` if a loss is to be measured on far more tokens than there are.

    `parts` are the counts of the binarised data, as its manifest has them.
    """
    tokens = max(part["tokens"] for name, part in parts.items() if name.startswith("train"))
    for key, size in (("trapezoid", "tokens"), ("probe", "tokens"), ("probe", "loss_tokens")):
        wanted = settings[key][size] if settings[key]["every"] else 0
        if wanted > max(GREATEST_RATIO * tokens, ALWAYS):
            raise InputError(
                f"training.{key}.{size}: {wanted} are more than {GREATEST_RATIO} times the "
                f"{tokens} tokens of the training text"
            )
