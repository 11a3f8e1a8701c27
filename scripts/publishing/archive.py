"""Pack all that redrawing takes: code, configuration, and the runs' tables, but no models.

In the unpacked folder Snakemake finds the tables as if it had made them there.
"""

import io
import tarfile
from pathlib import Path

import yaml

from closer_look.jobs.job import job

CODE = (
    "workflow",
    "scripts",
    "src",
    "envs",
    "profiles",
    "resources/paper",
    "resources/speeds.yaml",
)
CODE += ("Makefile", "pyproject.toml", "README.md", "LICENSE", "CITATION.cff")

GENERATED = ("__pycache__", ".egg-info")

HEADER = """\
# The configuration of the archived results, as Snakemake had it from all its sources. After
# `make install`, `.venv/bin/snakemake results/figures/figure1.pdf` draws that figure, and
# `.venv/bin/snakemake` all figures, tables and the report, from what is in results/.
"""


def pack(archive: Path, results: list[Path], config: dict) -> None:
    """Write code, configuration and `results` into a folder of the archive that has its name.

    Results keep their time stamps, by which Snakemake sees that they need not be made again; for
    the same reason the code is older than the oldest.
    """
    name = archive.name.partition(".")[0]
    before = min(path.stat().st_mtime for path in results) - 1

    def aged(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
        info.mtime = before
        return None if any(part in info.name for part in GENERATED) else info

    with tarfile.open(archive, "w:gz", dereference=True) as tar:
        for path in CODE:
            if Path(path).exists():
                tar.add(path, f"{name}/{path}", filter=aged)
        text = (HEADER + yaml.safe_dump(config, sort_keys=False, allow_unicode=True)).encode()
        info = aged(tarfile.TarInfo(f"{name}/config/config.yaml"))
        info.size = len(text)
        tar.addfile(info, io.BytesIO(text))
        for path in results:
            tar.add(path, f"{name}/{path}")


if __name__ == "__main__":
    with job(snakemake):
        # Beside the inputs, every manifest of the data that there is: what was fetched, and so on.
        data = (*Path("results/data").rglob("*.json"), *Path("results/test_sets").rglob("*.json"))
        results = sorted({*map(Path, snakemake.input), *data})
        pack(Path(snakemake.output.archive), results, snakemake.config)
