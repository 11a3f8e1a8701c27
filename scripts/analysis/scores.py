"""List the scores of all runs on text that they were not trained on."""

from closer_look.analysis.frames import read
from closer_look.analysis.scores import SIGNATURES, table
from closer_look.analysis.tables import write
from closer_look.jobs.job import job

CAPTION = (
    "Scores on text that was not trained on; the paper prints none. Losses are in nats per "
    "predicted token (BPE piece or end of a line), perplexities their exponentials; per word, the "
    "same nats are shared among the words (characters, where a script has no blanks) and ends of "
    "lines. Masked: of the tokens that fixed masks hide. Unigram: by the frequencies of the "
    "training text alone. BLEU and chrF by sacrebleu{}."
)


def caption(signatures: list[str]) -> str:
    """Return the caption with the signatures, each once."""
    return CAPTION.format(f" ({', '.join(signatures)})" if signatures else "")


if __name__ == "__main__":
    with job(snakemake):
        rows = table(read(snakemake.input.scores), snakemake.params.runs)
        signatures = rows[SIGNATURES].melt()["value"].dropna().unique()
        write(rows, caption(signatures), **dict(snakemake.output.items()), unprinted=SIGNATURES)
