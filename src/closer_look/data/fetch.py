"""Download files over HTTP: resumed and retried, and under their names only when they are whole."""

from pathlib import Path

import requests
import tenacity

from closer_look.data.text import check_intact
from closer_look.jobs.job import InputError

TIMEOUT = 60  # seconds without a byte
ATTEMPTS = 8
WAIT = 2  # seconds before the second attempt, twice as many before each further one
LONGEST_WAIT = 120
CHUNK = 1 << 16  # bytes: what a broken connection can cost


def fetch(url: str, path: Path) -> None:
    """Download `url` to `path`, which appears when all of it has arrived and is intact.

    What has arrived waits beside it, where this call or, after a kill, the next one goes on
    if the server can. A file that the server does not have, that does not arrive in `ATTEMPTS`
    attempts or that is damaged is an `InputError` with its URL.
    """
    if path.exists():
        return
    part = path.with_name(f"partial-{path.name}")
    try:
        _retry(_transfer, url, part)
    except requests.RequestException as error:
        raise InputError(f"{url}: {reason(error)}") from error
    try:
        check_intact(part, name=url)
    except InputError:
        part.unlink()
        raise
    part.replace(path)


def remote_size(url: str) -> int | None:
    """Return the bytes of a file on a server, or None if the server does not say or answer.

    A file that the server does not have is an `InputError`.
    """
    try:
        response = requests.head(url, timeout=TIMEOUT, allow_redirects=True)
        response.raise_for_status()
    except requests.RequestException as error:
        if is_final(error):
            raise InputError(f"{url}: {reason(error)}") from error
        return None
    size = response.headers.get("Content-Length")
    return size and int(size)


def is_final(error: BaseException) -> bool:
    """Whether an error is a server's answer that will not change: 404 and its like."""
    response = getattr(error, "response", None)
    passing = (requests.codes.request_timeout, requests.codes.too_many_requests)
    return (
        response is not None
        and 400 <= response.status_code < 500
        and response.status_code not in passing
    )


def reason(error: requests.RequestException) -> str:
    """Return an error of `requests` in a few words."""
    if error.response is not None:
        return f"HTTP {error.response.status_code} {error.response.reason}"
    return str(error.args[0] if error.args else error).replace("\n", " ")


def _transfer(url: str, part: Path) -> None:
    """Append what `part` lacks of a file, or write it anew if the server cannot go on from there.

    `requests` raises an exception for fewer bytes than were promised.
    """
    have = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    headers["Accept-Encoding"] = "identity"  # the file's own bytes
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == requests.codes.range_not_satisfiable:
            return  # nothing is missing; if it is not this file, it is damaged
        response.raise_for_status()
        resumed = response.status_code == requests.codes.partial_content
        with part.open("ab" if resumed else "wb") as file:
            for chunk in response.iter_content(CHUNK):
                file.write(chunk)


def _retry(function, url: str, part: Path) -> None:
    def report(state: tenacity.RetryCallState) -> None:
        print(f"{url}: {reason(state.outcome.exception())}; trying again", flush=True)

    tenacity.Retrying(
        retry=tenacity.retry_if_exception(
            lambda error: isinstance(error, requests.RequestException) and not is_final(error)
        ),
        stop=tenacity.stop_after_attempt(ATTEMPTS),
        wait=tenacity.wait_exponential(WAIT, max=LONGEST_WAIT),
        before_sleep=report,
        reraise=True,
    )(function, url, part)
