"""A web server for a folder that misbehaves as a test asks it to."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread


class Handler(SimpleHTTPRequestHandler):
    """Serves a mirror as OPUS does, at /OPUS-CORPUS/..., and fails as the server's plan says.

    The plan is a list of what to do with one GET after the other, and then all goes well: a status
    to answer with, "truncate" (send half and hang up), "stall" (send half and then nothing),
    "endless" (send for ever without a length), a URL to redirect to, a dictionary of headers to
    send instead of the right ones (None: not at all), None. Goes on from any byte, unless the
    server is not to `resume`, if the file is the same, unless the server is `careless`.
    """

    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.requests.append((self.path, asked))
        fault = self.server.plan.pop(0) if self.server.plan else None
        if isinstance(fault, int):
            return self.send_error(fault)
        if isinstance(fault, str) and ":" in fault:
            return self.answer(302, {"Location": fault, "Content-Length": "0"})
        if fault == "endless":
            return self.send_for_ever()
        try:
            content = Path(self.translate_path(self.path)).read_bytes()
        except OSError:
            return self.send_error(404)
        tag = f'"{hashlib.sha256(content).hexdigest()}"'
        same = self.server.careless or self.headers.get("If-Range", tag) == tag
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if not (self.server.resume and same):
            start = 0
        headers = {"ETag": tag, "Content-Length": str(len(content) - start)}
        if start >= len(content) > 0:
            status, content = 416, b""
            headers |= {"Content-Range": f"bytes */{start}", "Content-Length": "0"}
        elif start:
            status = 206
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        else:
            status = 200
        self.answer(status, headers | (fault if isinstance(fault, dict) else {}))
        rest = content[start:]
        self.wfile.write(rest[: len(rest) // 2] if fault in ("truncate", "stall") else rest)
        if fault == "stall":
            self.wfile.flush()
            self.server.closing.wait(30)

    def answer(self, status, headers):
        self.send_response(status)
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()

    def send_for_ever(self):
        self.answer(200, {})
        with suppress(OSError):
            while not self.server.closing.is_set():
                self.wfile.write(bytes(1 << 16))

    def translate_path(self, path):
        return super().translate_path(path.replace("/OPUS-", "/"))

    def log_message(self, *args):
        pass


@contextmanager
def serve(folder: Path) -> Iterator[ThreadingHTTPServer]:
    """Serve a folder; the server has its `url`, `plan`, how it resumes, the `requests` so far."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder))
    server.plan, server.requests, server.closing = [], [], Event()
    server.resume, server.careless = True, False
    server.url = f"http://127.0.0.1:{server.server_port}/OPUS-"
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.closing.set()
    server.shutdown()
    server.server_close()
