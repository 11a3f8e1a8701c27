"""Fetch the files of one language pair of a corpus, from the network or from a mirror of OPUS."""

import shutil
from pathlib import Path

from closer_look.data.fetch import fetch
from closer_look.data.opus import corpus_files, in_mirror, local_name
from closer_look.data.opus_database import find, open_database
from closer_look.data.patterns import without_password
from closer_look.data.sources import urls
from closer_look.data.text import check_intact
from closer_look.jobs.job import job
from closer_look.jobs.manifest import write_manifest


def copy_from_mirror(
    corpus: dict, source: str, target: str, mirror: Path, folder: Path
) -> dict[str, str]:
    """Copy the files from a tree in OPUS's layout; return where each was in it, by local name."""
    files = {local_name(p): in_mirror(mirror, p) for p in corpus_files(corpus, source, target)}
    for name, file in files.items():
        check_intact(file, name=file)
        shutil.copyfile(file, folder / name)
    return {name: str(file.relative_to(mirror)) for name, file in files.items()}


def opus_urls(
    corpus: dict, source: str, target: str, database: str | Path | None
) -> dict[str, str]:
    """Return the URL of each file of an OPUS corpus by its local name."""
    with open_database(database) as opened:
        files = find(opened, corpus, source, target)
    return {local_name(path): file.url for path, file in files.items()}


def download(
    corpus: dict,
    source: str,
    target: str,
    folder: str | Path,
    mirror: str | Path | None = None,
    database: str | Path | None = None,
) -> dict[str, str]:
    """Make `folder` with the files of a corpus, under the names that `opus_read` looks for.

    OPUS's come from the tree `mirror` where it is given, otherwise from where OpusTools'
    `database` (by default its own) says. `opus_get` itself neither resumes nor retries nor notices
    a failure. Until all is there it waits in `folder.part`, from where a later call goes on.
    Returns the origin (path in the mirror or URL) of each file by its name.
    """
    folder = Path(folder)
    part = folder.with_name(f"{folder.name}.part")
    part.mkdir(parents=True, exist_ok=True)
    if corpus["source"] == "opus" and mirror is not None:
        origins = copy_from_mirror(corpus, source, target, Path(mirror), part)
    else:
        if corpus["source"] == "opus":
            origins = opus_urls(corpus, source, target, database)
        else:
            origins = urls(corpus, source, target)
        for name, url in origins.items():
            fetch(url, part / name)
    part.replace(folder)
    return origins


if __name__ == "__main__":
    with job(snakemake):
        folder = Path(snakemake.output.folder)
        origins = download(
            snakemake.params.corpus,
            snakemake.params.source,
            snakemake.params.target,
            folder,
            # No parameters of the rule: the same files from elsewhere are no reason to fetch them.
            snakemake.config["opus_mirror"],
            snakemake.config["opus_database"],
        )
        write_manifest(
            snakemake.output.manifest,
            {name: folder / name for name in origins},
            origins={name: without_password(origin) for name, origin in origins.items()},
            bytes={name: (folder / name).stat().st_size for name in origins},
        )
