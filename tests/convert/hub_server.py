"""A stand-in for the Hugging Face Hub: one repository at one commit, served from a folder."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """What huggingface_hub asks for: facts of a model, its tree, and its files."""

    folder: Path
    asked: list[str]

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, *words: object) -> None:
        pass

    def _answer(self, *, body: bool) -> None:
        path = self.path.split("?")[0]
        self.asked.append(path)
        files = sorted(f for f in self.folder.rglob("*") if f.is_file())
        names = [file.relative_to(self.folder).as_posix() for file in files]
        if path in (f"/api/models/org/net/revision/{rev}" for rev in ("main", COMMIT)):
            held = [{"rfilename": name} for name in names]
            self._json({"id": "org/net", "sha": COMMIT, "siblings": held}, body)
        elif path.startswith(f"/api/models/org/net/tree/{COMMIT}"):
            tree = [
                {"type": "file", "path": name, "size": file.stat().st_size, "oid": _etag(file)}
                for name, file in zip(names, files, strict=True)
            ]
            self._json(tree, body)
        elif path.startswith("/api/models/org/net/"):
            self._refuse("RevisionNotFound", 404)
        elif path.startswith("/api/models/org/gated"):
            self._refuse("GatedRepo", 403)
        elif path.startswith(f"/org/net/resolve/{COMMIT}/"):
            self._file(self.folder / path.partition(f"{COMMIT}/")[2], body)
        else:
            self._refuse("RepoNotFound", 401)

    def _refuse(self, code: str, status: int) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _json(self, value: object, body: bool) -> None:
        self._send(json.dumps(value).encode(), body, {"Content-Type": "application/json"})

    def _file(self, file: Path, body: bool) -> None:
        held = {"ETag": f'"{_etag(file)}"', "X-Repo-Commit": COMMIT}
        self._send(file.read_bytes(), body, held)

    def _send(self, data: bytes, body: bool, headers: dict[str, str]) -> None:
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)


def _etag(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """The address of a hub that has ``folder`` as org/net, and the paths that it was asked for."""
    asked: list[str] = []
    handler = type("Handler", (Hub,), {"folder": folder, "asked": asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
