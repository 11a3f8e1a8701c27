"""The page: everything in one HTML file that needs no network, below a size that can be mailed."""

import base64
import gzip
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import jinja2
import pandas as pd
from plotly.offline import get_plotlyjs

from ..analysis.frames import load
from ..jobs.job import InputError
from .exhibits import Figure, Table, number, title
from .explorer import Explorer, estimator_label
from .runs import RULE, RunSummary, agreed, hardware, labels, own_facts, version, warnings
from .verdicts import arrange, count, mark, of_paper, survivors, tally

MOST_BYTES = 15_000_000
POINTS = (200, 140, 100, 70, 50, 35, 25)
"""Of a curve: as many as a small panel can show, fewer where the page would grow too large."""

TABLES = (
    *("totals", "curves", "head_curves", "milestones", "losses", "completeness", "probes"),
    "scores",
)
"""Those of a run, by the rules `aggregate` and `score`."""

ASSETS = Path(__file__).parent / "assets"
SCRIPTS = ("data.js", "views.js", "charts.js", "explorer.js")
GRADIENTS = {
    "own_batch": "Gradient of the batch that made the step: the paper’s.",
    "next_batch": "Gradient of the next batch, which had no part in the step.",
    "trapezoid": "Gradients of fixed text, mean of both ends of a stride of updates.",
    "probe": "Gradients on fixed batches, integrated by Simpson’s rule.",
}
"""What each estimator multiplies a step with."""


Exhibit = TypeVar("Exhibit", Figure, Table)


class PageError(InputError):
    """The page cannot be made small enough."""


class RunFiles(NamedTuple):
    """The files of a run: its manifest, and its TABLES by name."""

    manifest: Path
    tables: dict[str, Path]


def page(
    runs: Sequence[RunFiles],
    main_runs: Sequence[str],
    claims: pd.DataFrame,
    figures: Sequence[Figure],
    tables: Sequence[Table],
) -> str:
    """Return the page, of at most MOST_BYTES.

    `main_runs` names the runs that the explorer shows at first; `claims` is as of
    `closer_look.analysis.claims.evaluate`. Raises `PageError` if even the shortest curves make too
    large a page.
    """
    summaries = _summaries(runs)
    plotly = get_plotlyjs()
    script = "\n".join((ASSETS / name).read_text(encoding="utf-8") for name in SCRIPTS)
    content = {
        "claims": arrange(claims),
        "estimators": list(claims["estimator"].unique()),
        "figures": _by_name(figures),
        "tables": _by_name(tables),
        "runs": {run: list(warnings(run, summaries)) for run in summaries},
        "summed": list(dict.fromkeys(name for run in summaries for name in run.shares)),
        "policy": policy(script, plotly),
        "plotly": packed(plotly.encode()),
        "style": (ASSETS / "page.css").read_text(encoding="utf-8"),
        "script": script,
    }
    template = _environment().get_template("page.html.j2")
    for points in POINTS:
        explorer = Explorer(points)
        for summary, files in zip(summaries, runs, strict=True):
            read = {name: load(path) for name, path in files.tables.items()}
            explorer.add(summary.label, summary.name in main_runs, read)
        index = json.dumps(explorer.index(), allow_nan=False, separators=(",", ":")).encode()
        html = template.render(
            content, index=packed(index), curves=packed(bytes(explorer.buffer.bytes))
        )
        if len(html.encode()) <= MOST_BYTES:
            return html
    raise PageError(f"the page has over {MOST_BYTES} bytes even with {POINTS[-1]} points a curve")


def policy(*scripts: str) -> str:
    """Return the page's Content-Security-Policy: it loads nothing, and runs these scripts alone.

    Styles may be in elements, since charts make some.
    """
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    sources = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {sources}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def packed(content: bytes) -> str:
    """Return bytes compressed, as text that an HTML file can hold."""
    return base64.b64encode(gzip.compress(content, mtime=0)).decode()


def _by_name(exhibits: Sequence[Exhibit]) -> dict[str, list[Exhibit]]:
    """Return the exhibits of each name, one for each estimator; the paper's numbered ones first."""
    names = sorted({exhibit.name for exhibit in exhibits})
    names.sort(key=lambda name: not name[-1].isdigit())
    return {name: [exhibit for exhibit in exhibits if exhibit.name == name] for name in names}


def _summaries(runs: Sequence[RunFiles]) -> list[RunSummary]:
    manifests = [json.loads(Path(files.manifest).read_text(encoding="utf-8")) for files in runs]
    names = labels([manifest["run"] for manifest in manifests])
    tables = [
        [load(files.tables[name]) for name in ("losses", "completeness", "scores")]
        for files in runs
    ]
    return [
        RunSummary(label, manifest, *read)
        for label, manifest, read in zip(names, manifests, tables, strict=True)
    ]


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"estimator": estimator_label, "digits": number}
    functions: list[Callable[..., object]] = [count, mark, of_paper, survivors, tally]
    functions += [agreed, own_facts, title, hardware, version]
    environment.globals |= {function.__name__: function for function in functions}
    environment.globals |= {"gradients": GRADIENTS, "rule": RULE}
    return environment
