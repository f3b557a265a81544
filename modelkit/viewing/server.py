"""Netron's page and one model, served to this machine only.

Netron's own server also works, but its page asks a foreign site for the user's country and sends
usage figures; here a content security policy keeps every request on this server, and the consent
that would be asked for is answered, as nothing is sent.
"""

import http.server
import posixpath
import re
import urllib.parse
from http import HTTPStatus
from importlib import metadata
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
_POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:;"
    " worker-src 'self' blob:; frame-src 'none'; form-action 'none'; frame-ancestors 'none'"
)
_TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}
_DATA = "/data/"
_BLOCK = 1 << 20


class Server(http.server.ThreadingHTTPServer):
    """Serves the files of ``page`` (Netron's package) and, under /data/, those of ``model``'s
    folder.
    """

    daemon_threads = True

    def __init__(self, page: Path, model: Path, port: int) -> None:
        self.page, self.model = page.resolve(), model.resolve()
        super().__init__((HOST, port), Handler)

    @property
    def url(self) -> str:
        """The address to open."""
        return f"http://{HOST}:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers GET and HEAD."""

    server: Server

    def do_HEAD(self) -> None:
        """Answer without a body."""
        self._answer(body=False)

    def do_GET(self) -> None:
        """Answer with the file."""
        self._answer(body=True)

    def log_message(self, *arguments: Any) -> None:
        """Requests are nobody's business."""

    def _answer(self, *, body: bool) -> None:
        # A page of elsewhere whose name is made to point here asks under its own name.
        if self.headers.get("Host") not in (f"{HOST}:{self.server.server_port}",):
            self.send_error(HTTPStatus.FORBIDDEN)
            return
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        if path in ("/", "/index.html"):
            text = self._index()
            self._head(len(text), "text/html")
            if body:
                self.wfile.write(text)
            return
        inside = path.startswith(_DATA)
        root = self.server.model.parent if inside else self.server.page
        file = (root / posixpath.normpath(path.removeprefix(_DATA)).lstrip("/")).resolve()
        kind = "application/octet-stream" if inside else _TYPES.get(file.suffix, "")
        if not (kind and file.is_relative_to(root) and file.is_file()):
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        self._head(file.stat().st_size, kind)
        if body:
            with file.open("rb") as stream:
                while block := stream.read(_BLOCK):
                    self.wfile.write(block)

    def _head(self, length: int, kind: str) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.send_header("Content-Security-Policy", _POLICY)
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Set-Cookie", "consent=1; Path=/; SameSite=Strict")
        self.end_headers()

    def _index(self) -> bytes:
        """Netron's page, told which file to open; the name is ours, so nothing needs escaping."""
        name = self.server.model.name
        tags = {
            "type": "Python",
            "version": metadata.version("netron"),
            "file": f"{_DATA}{name}",
            "identifier": name,
        }
        text = (self.server.page / "index.html").read_text(encoding="utf-8")
        lines = "\n".join(f'<meta name="{key}" content="{value}">' for key, value in tags.items())
        return re.sub(r'<meta name="version" content=".*">', lambda _: lines, text).encode()
