"""Fetch the files of one language pair of an OPUS corpus, from OPUS or from a local mirror."""

import re
import shutil
import tempfile
from pathlib import Path

from command import run
from job import InputError, job
from manifest import write_manifest
from opus import check_archive, corpus_files, local_name


def copy_from_mirror(
    corpus: dict, source: str, target: str, mirror: Path, folder: Path
) -> dict[str, str]:
    """Copy the files from a tree in OPUS layout; return where each was in it, by local name."""
    origins = {local_name(path): path for path in corpus_files(corpus, source, target)}
    for name, path in origins.items():
        check_archive(mirror / path, name=mirror / path)
        shutil.copyfile(mirror / path, folder / name)
    return origins


def download_from_opus(
    corpus: dict, source: str, target: str, database: Path | None, folder: Path
) -> dict[str, str]:
    """Download the files with `opus_get`; return the URL of each, by local name.

    The URLs are those of `database`, or of the one that comes with OpusTools. `opus_get` exits
    with 0 whatever happens, so what counts is the files: one that OPUS does not list, that does
    not arrive or that is damaged is an `InputError` with its URL.
    """
    if database is not None and not database.is_file():
        raise InputError(f"{database}: no such OpusTools database")
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        query = [
            *("-d", corpus["name"], "-r", corpus["version"], "-p", corpus["format"]),
            *("-s", source, "-t", target, "-dl", temporary),
            *("--local_db", "-db", database or f"{temporary}/opus.db"),
        ]
        listing = "\n".join(run("opus_get", *query, "--list_resources"))
        origins = {}
        for path in corpus_files(corpus, source, target):
            url = re.search(rf"https?://\S+-{re.escape(path)}(?!\S)", listing)
            if url is None:
                raise InputError(f"{path}: not among the files of OPUS")
            origins[local_name(path)] = url[0]
        printed = run("opus_get", *query, "--suppress_prompts")
        for name, url in origins.items():
            # From another host than OPUS, a file has the whole URL in its name.
            file = next(Path(temporary).glob(f"*{name}"), None)
            if file is None:
                reason = printed[-1].split(": ", 1)[-1]  # Unable to retrieve the data from ...: ...
                raise InputError(f"{url}: {reason}")
            check_archive(file, name=url)
            file.rename(folder / name)
    return origins


def download(
    corpus: dict,
    source: str,
    target: str,
    folder: str | Path,
    mirror: str | Path | None = None,
    database: str | Path | None = None,
) -> dict[str, str]:
    """Put the files of a corpus into `folder` under the names that `opus_read` looks for.

    They come from the tree `mirror` where it is given, otherwise from the network. Returns the
    origin (path in the mirror or URL) of each file by its name. Raises `InputError`.
    """
    if corpus["source"] != "opus":
        raise InputError(f"corpora: source {corpus['source']!r} cannot be fetched yet; opus can")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if mirror is not None:
        return copy_from_mirror(corpus, source, target, Path(mirror), folder)
    return download_from_opus(corpus, source, target, database and Path(database), folder)


if __name__ == "__main__":
    with job(snakemake):
        folder = Path(snakemake.output.folder)
        origins = download(
            snakemake.params.corpus,
            snakemake.params.source,
            snakemake.params.target,
            folder,
            snakemake.params.mirror,
            snakemake.params.database,
        )
        write_manifest(
            snakemake.output.manifest,
            {name: folder / name for name in origins},
            origins=origins,
            bytes={name: (folder / name).stat().st_size for name in origins},
        )
