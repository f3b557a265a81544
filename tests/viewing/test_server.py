import http.client
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelkit.viewing.server import HOST, Server

netron = pytest.importorskip("netron")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "private"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"model")
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "link").symlink_to(tmp_path / "secret.txt")
    with Server(Path(netron.__file__).parent, folder / "model.onnx", 0) as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield made
        made.shutdown()


def get(server: Server, path: str, host: str = "", method: str = "GET"):  # type: ignore[no-untyped-def]
    connection = http.client.HTTPConnection(HOST, server.server_port, timeout=10)
    headers = {"Host": host or f"{HOST}:{server.server_port}"}
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    return answer.status, dict(answer.getheaders()), answer.read()


def test_the_page_opens_the_model_and_asks_nobody_else(server: Server) -> None:
    status, headers, body = get(server, "/")
    assert status == 200
    assert b'<meta name="file" content="/data/model.onnx">' in body
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    assert headers["Set-Cookie"].startswith("consent=")
    assert get(server, "/data/model.onnx")[2] == b"model"
    assert get(server, "/view.js")[0] == 200
    assert get(server, "/", method="HEAD")[2] == b""


@pytest.mark.parametrize(
    "path",
    [
        "/data/../secret.txt", "/data/%2e%2e/secret.txt", "/data//etc/passwd", "/data/link",
        "/../../etc/passwd", "/__init__.py", "/data/", "/nothing.js", "/data/..%2fsecret.txt",
    ],
)  # fmt: skip
def test_nothing_else_is_served(server: Server, path: str) -> None:
    assert get(server, path)[0] == 404


def test_a_page_of_elsewhere_that_points_here_is_refused(server: Server) -> None:
    assert get(server, "/data/model.onnx", host="evil.example")[0] == 403


def test_other_methods_are_refused(server: Server) -> None:
    assert get(server, "/", method="POST")[0] == 501
