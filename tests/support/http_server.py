"""A web server for a folder that misbehaves as a test asks it to."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread


class Handler(SimpleHTTPRequestHandler):
    """Serves a mirror as OPUS does, at /OPUS-CORPUS/..., and fails as the server's plan says.

    The plan is a list of what to do with one GET after the other, and then all goes well: a status
    to answer with, "truncate" (send half and hang up), "stall" (send half and then nothing), None.
    Goes on from any byte, unless the server is not to `resume`.
    """

    def do_GET(self):
        self.server.requests.append((self.path, self.headers.get("Range")))
        fault = self.server.plan.pop(0) if self.server.plan else None
        if isinstance(fault, int):
            return self.send_error(fault)
        try:
            content = Path(self.translate_path(self.path)).read_bytes()
        except OSError:
            return self.send_error(404)
        start = 0
        if self.server.resume and (asked := self.headers.get("Range")):
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        rest = content[start:]
        self.wfile.write(rest if fault is None else rest[: len(rest) // 2])
        if fault == "stall":
            self.wfile.flush()
            self.server.closing.wait(30)

    def translate_path(self, path):
        return super().translate_path(path.replace("/OPUS-", "/"))

    def log_message(self, *args):
        pass


@contextmanager
def serve(folder: Path) -> Iterator[ThreadingHTTPServer]:
    """Serve a folder; the server has its `url`, `plan`, `resume`, and the `requests` so far."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder))
    server.plan, server.requests, server.resume, server.closing = [], [], True, Event()
    server.url = f"http://127.0.0.1:{server.server_port}/OPUS-"
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.closing.set()
    server.shutdown()
    server.server_close()
