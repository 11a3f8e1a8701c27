"""Download files over HTTP: resumed and retried, and under their names only when they are whole."""

import json
import re
import shutil
import ssl
from collections.abc import Callable
from pathlib import Path

import requests
import tenacity
import urllib3

from closer_look.data.patterns import without_password
from closer_look.data.text import check_intact
from closer_look.jobs.job import InputError
from closer_look.trees import Tree

TIMEOUT = 60  # seconds without a byte
ATTEMPTS = 8
WAIT = 2  # seconds before the second attempt, twice as many before each further one
LONGEST_WAIT = 120
CHUNK = 1 << 16  # bytes: what a broken connection can cost
RESERVE = 100 << 20  # bytes of the disk that a download leaves to others
LARGEST_UNSAID = 20 << 30
"""Bytes of a file whose server does not say its size: an endless one has to end somewhere."""
NO_HEAD = (400, 401, 403, 405, 501)
"""What servers answer that do not know HEAD, or do not allow it."""
ENCODINGS = ("", "identity", "gzip", "x-gzip")
"""Encodings of what is sent, though none is asked for, that can be read: it is kept as it comes."""

FINAL = (
    requests.exceptions.InvalidSchema,  # a redirection to file: or ftp:
    requests.exceptions.InvalidURL,
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidHeader,
    requests.exceptions.TooManyRedirects,
    urllib3.exceptions.LocationValueError,
)
"""Errors that another attempt would only repeat."""


FAILURES = (requests.RequestException, urllib3.exceptions.HTTPError)
"""What `requests` raises: of a host that cannot be, it lets urllib3's own error through."""


class Interrupted(requests.RequestException):
    """What has arrived is of no use, or not all: worth another attempt."""


def fetch(url: str, path: Path) -> None:
    """Download `url` to `path`, which appears when all of it has arrived and is intact.

    What has arrived waits beside it, where this call or, after a kill, the next one goes on
    if the server can, and says that the file is still the same. Raises `InputError` with its URL if
    the server does not have it, if it does not arrive in `ATTEMPTS` attempts, if it takes more than
    the disk has or if it is damaged.
    """
    if path.exists():
        return
    part = path.with_name(f"partial-{path.name}")
    try:
        _retry(_transfer, url, part)
    except FAILURES as error:
        raise _refusal(url, reason(error)) from error
    try:
        if not part.stat().st_size:
            raise _refusal(url, "is empty")
        check_intact(part, name=without_password(url))
    except InputError:
        _forget(part)
        raise
    _facts(part).unlink(missing_ok=True)
    part.replace(path)


def _refusal(url: str, what: str) -> InputError:
    return InputError(without_password(f"{url}: {what}"))


def remote_size(url: str) -> int | None:
    """Return the bytes of a file on a server, or None if the server does not say or answer.

    Raises `InputError` if the server does not have it.
    """
    try:
        response = requests.head(url, timeout=TIMEOUT, allow_redirects=True)
        if response.status_code in NO_HEAD:
            response = requests.get(url, timeout=TIMEOUT, stream=True)
            response.close()
        response.raise_for_status()
    except FAILURES as error:
        if is_final(error):
            raise _refusal(url, reason(error)) from error
        return None
    return _number(response.headers.get("Content-Length"))


def is_final(error: BaseException) -> bool:
    """Whether an error will not change: a server's 404 and its like, an address of no use.

    And a certificate that is not to be trusted: who answers is not who was asked.
    """
    if isinstance(_cause(error), ssl.SSLCertVerificationError):
        return True
    response = getattr(error, "response", None)
    passing = (requests.codes.request_timeout, requests.codes.too_many_requests)
    return isinstance(error, FINAL) or (
        response is not None
        and 400 <= response.status_code < 500
        and response.status_code not in passing
    )


def _cause(error: object) -> object:
    """Return the first of the errors that `requests` and urllib3 have wrapped into each other."""
    while isinstance(error, FAILURES):
        inner = getattr(error, "reason", None) or (error.args or [None])[0]
        if not isinstance(inner, Exception):
            break
        error = inner
    return error


def reason(error: requests.RequestException | urllib3.exceptions.HTTPError) -> str:
    """Return an error of `requests` in a few words."""
    if isinstance(error, requests.exceptions.InvalidSchema):
        return f"leads to an address that is not of the web: {error}"
    response = getattr(error, "response", None)
    if response is not None and response.status_code >= 400:
        return f"HTTP {response.status_code} {response.reason}"
    cause = _cause(error)
    return str(cause.args[0] if cause is error and error.args else cause).replace("\n", " ")


def _transfer(url: str, part: Path) -> None:
    """Append what `part` lacks of a file, or write it anew if the server cannot go on from there.

    `urllib3` raises an exception for fewer bytes than were promised.
    """
    have, known = _so_far(part)
    headers = {"Accept-Encoding": "identity"}  # the file's own bytes
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": known["validator"]}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == requests.codes.range_not_satisfiable:
            total = _number(response.headers.get("Content-Range", "").rpartition("/")[2])
            if have and have == (known["size"] if total is None else total):
                return  # nothing is missing
            _forget(part)
            raise Interrupted("the server has another file by now")
        response.raise_for_status()
        if response.status_code not in (requests.codes.ok, requests.codes.partial_content):
            status = f"HTTP {response.status_code} {response.reason}"
            raise _refusal(url, f"the server answers {status} instead of a file")
        encoding = response.headers.get("Content-Encoding", "").strip().lower()
        if encoding not in ENCODINGS:
            raise _refusal(url, f"is sent with the encoding {encoding}, which is not supported")
        size = _number(response.headers.get("Content-Length"))
        if response.status_code == requests.codes.partial_content:
            if _is_rest(response, have, known):
                _write(url, response, part, "ab", have, known["size"])
                return
            _forget(part)
            raise Interrupted("the server does not go on with the same file")
        _forget(part)
        _remember(part, response, size)
        _write(url, response, part, "wb", 0, size)


def _write(
    url: str, response: requests.Response, part: Path, mode: str, have: int, size: int | None
) -> None:
    """Write what comes to `part`, which has so many of all bytes, as long as there is room.

    It is kept as it comes: whatever else it is compressed by is told from the content later.
    """
    room = shutil.disk_usage(part.parent).free - RESERVE
    if size is not None and size - have > room:
        raise _refusal(url, f"has {_giga(size)}, but only {_giga(max(room, 0))} are free")
    most = have + room if size is not None else min(have + room, LARGEST_UNSAID)
    try:
        with part.open(mode) as file:
            for chunk in response.raw.stream(CHUNK, decode_content=False):
                have += len(chunk)
                if have > most:
                    raise _refusal(
                        url,
                        f"does not end: {_giga(have)} have come of a file whose size the server "
                        "does not say",
                    )
                file.write(chunk)
    except urllib3.exceptions.HTTPError as error:
        raise Interrupted(str(error)) from error
    except InputError:
        _forget(part)
        raise
    if size is not None and have != size:
        _forget(part)
        raise Interrupted(f"{have} bytes have come of {size}")


def _is_rest(response: requests.Response, have: int, known: Tree) -> bool:
    """Whether a response goes on where the part of a known file ends."""
    match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", response.headers.get("Content-Range", ""))
    if not match or not have or int(match[1]) != have:
        return False
    total = _number(match[3])
    ends = total is None or int(match[2]) == total - 1
    same = total is None or known["size"] in (None, total)
    return ends and same and _validator(response) in (None, known["validator"])


def _validator(response: requests.Response) -> str | None:
    """Return what tells a file from a later one of the same name, None if nothing does."""
    tag = response.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")


def _facts(part: Path) -> Path:
    """Return where what is known of a partial file waits."""
    return part.with_name(f"{part.name}.json")


def _remember(part: Path, response: requests.Response, size: int | None) -> None:
    facts = {"validator": _validator(response), "size": size}
    _facts(part).write_text(json.dumps(facts), encoding="utf-8")


def _so_far(part: Path) -> tuple[int, Tree]:
    """Return the bytes that have arrived of a file that can be gone on with, and what is known."""
    try:
        known = json.loads(_facts(part).read_text(encoding="utf-8"))
        return (part.stat().st_size if known["validator"] else 0), known
    except (OSError, ValueError, KeyError, TypeError):
        return 0, {}


def _forget(part: Path) -> None:
    for path in (part, _facts(part)):
        path.unlink(missing_ok=True)


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() else None


def _giga(size: int) -> str:
    return f"{size / 1e9:.1f} GB"


def _retry(function: Callable[[str, Path], None], url: str, part: Path) -> None:
    def report(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        assert isinstance(error, FAILURES)  # others are not tried again
        print(without_password(f"{url}: {reason(error)}; trying again"), flush=True)

    tenacity.Retrying(
        retry=tenacity.retry_if_exception(
            lambda error: isinstance(error, FAILURES) and not is_final(error)
        ),
        stop=tenacity.stop_after_attempt(ATTEMPTS),
        wait=tenacity.wait_exponential(WAIT, max=LONGEST_WAIT),
        before_sleep=report,
        reraise=True,
    )(function, url, part)
