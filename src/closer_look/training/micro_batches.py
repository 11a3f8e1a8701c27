"""The equal micro-batches of an update: their tokens, and the samples that have to fit them.

It needs no PyTorch: what does not fit is refused before any data is made.
"""

from ..jobs.job import InputError
from ..trees import Tree

LONGEST = 1024
"""Pieces of a sentence that is translated if no setting says so: fairseq's own limit."""


def longest_sentence(settings: Tree) -> int:
    """Return the pieces of the longest sentence that is translated, with its end mark.

    A matter of the experiment and not of the card: no more than an update holds.
    """
    longest: int = settings.get(limiting_setting("mt", settings), LONGEST)
    return longest


def limiting_setting(objective: str, settings: Tree) -> str:
    """Return the name of the setting that limits the pieces of a sample."""
    if objective != "mt":
        return "tokens_per_sample"
    is_update = settings["tokens_per_update"] < settings.get("max_sentence_pieces", LONGEST)
    return "tokens_per_update" if is_update else "max_sentence_pieces"


def micro_batches(tokens_per_update: int, max_tokens: int, devices: int) -> tuple[int, int]:
    """Return the tokens of a micro-batch on one device, at most `max_tokens`, and their number.

    Raises `InputError` if no equal micro-batches make the update.
    """
    devices = max(devices, 1)
    number = -(-tokens_per_update // (max_tokens * devices))
    tokens, rest = divmod(tokens_per_update, number * devices)
    if rest:
        raise InputError(
            f"training.tokens_per_update: {tokens_per_update} is not divisible into {number} equal "
            f"micro-batches on {devices} device(s) of at most {max_tokens} tokens (max_tokens)"
        )
    return tokens, number


def check_fits(objective: str, settings: Tree, tokens: int) -> None:
    """Raise `InputError` if a sample, by the setting that limits it, exceeds a micro-batch."""
    key = limiting_setting(objective, settings)
    size = settings.get(key, LONGEST)
    if size > tokens:
        raise InputError(
            f"training.{key}: {size} do not fit a micro-batch of {tokens} tokens: raise "
            f"`max_tokens` of the rule `train` (in the profile) to {size}, or give it fewer "
            "devices: what is trained must not depend on them"
        )


def check_max_tokens(
    objective: str, settings: Tree, max_tokens: object, devices: int | None
) -> None:
    """Raise `InputError` if `max_tokens` is no number of tokens, or if a training cannot have them.

    Without knowing the `devices` only what none of their numbers could mend is refused.
    """
    if not isinstance(max_tokens, int) or max_tokens < 1:
        raise InputError(
            f"max_tokens of the rule `train`: {max_tokens!r} is no number of tokens of at least 1: "
            "give one by `--set-resources train:max_tokens=` or in the profile"
        )
    check_fits(objective, settings, min(max_tokens, settings["tokens_per_update"]))
    if devices is not None:
        tokens, _ = micro_batches(settings["tokens_per_update"], max_tokens, devices)
        check_fits(objective, settings, tokens)
