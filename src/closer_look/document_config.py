"""Write config/README.md, the reference of every key, from the schema of the configuration."""

from collections.abc import Iterator
from pathlib import Path

import yaml

from .trees import Tree

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
INTRODUCTION = """\
# Configuration

`config.yaml` is the paper's experiment. `snakemake --configfile config/NAME.yaml` changes what is
in NAME.yaml and keeps the rest: mappings are merged key by key, lists are replaced. Each of the
other files here asks one question, in its first lines; models that files share are trained once. A
mistake is refused in one line before anything runs, a key that is given twice too. Integers are
below 2^31, and `1.0e+5` is one; text that YAML would take for something else (`no`, `7.0`) must be
quoted. On the command line, `--config 'seeds=[1,2]'` sets a key of the top level, and
`--config 'training={lr: 0.1}'` one below it. What belongs to the machine and not to the experiment
(memory, threads, `max_tokens` of a micro-batch) is in `../profiles/`.

"""

REMAINDER = """
What no option of fairseq's makes equal between the objectives, and therefore is no setting: the
masked model's output head (a dense layer and a norm before the matrix, a bias after it), the
initial values (masked: normal with a deviation of 0.02; else embed_dim^-0.5 for
embeddings, 0.044 at 512, and uniform distributions for the layers), and the source's embeddings of
a translation model, which are a table of their own. Table 2 lists these with the settings, as
built.
"""


def reference(schema: Tree) -> str:
    """Return the reference as Markdown: a table for each object of the schema."""
    sections = [
        ("Top level", schema),
        ("A corpus: `corpora.NAME`", schema["$defs"]["corpus"]),
        ("A part: `corpora.NAME.parts`", schema["$defs"]["part"]),
        ("An entry of `runs`", schema["$defs"]["runs"]),
        ("`training` and every variant", schema["$defs"]["training"]),
    ]
    tables = [f"## {title}\n\n{_table(definition)}" for title, definition in sections]
    return INTRODUCTION + "\n".join(tables) + REMAINDER


def _table(definition: Tree) -> str:
    rows = ["| key | values | meaning |", "|---|---|---|", *_rows(definition)]
    return "\n".join(rows) + "\n"


def _rows(definition: Tree, prefix: str = "") -> Iterator[str]:
    """Yield a row for each key that is described, `probe.every` below `probe` and so on."""
    for key, entry in definition["properties"].items():
        if "description" in entry:
            meaning = " ".join(entry["description"].split())
            yield f"| `{prefix}{key}` | {_values(entry)} | {meaning} |"
        if "properties" in entry:
            yield from _rows(entry, f"{prefix}{key}.")


def _values(entry: Tree) -> str:
    """Return what an entry accepts, in words."""
    if "enum" in entry:
        return ", ".join(f"`{value}`" for value in entry["enum"])
    if entry.get("type") == "array":
        item = entry["items"]
        return f"list of {_values(item)}" if "$ref" not in item else "list"
    if "$ref" in entry:
        return "mapping"
    kinds = [entry["type"]] if isinstance(entry["type"], str) else entry["type"]
    terms = {"object": "mapping", "string": "text"}
    kind = " or ".join(terms.get(kind, kind) for kind in kinds)
    limits = {
        "minimum": "≥",
        "exclusiveMinimum": ">",
        "maximum": "≤",
        "exclusiveMaximum": "<",
    }
    bounds = [f"{sign} {entry[limit]}" for limit, sign in limits.items() if limit in entry]
    return " ".join([kind, *bounds])


if __name__ == "__main__":
    schema = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    (ROOT / "config/README.md").write_text(reference(schema), encoding="utf-8")
