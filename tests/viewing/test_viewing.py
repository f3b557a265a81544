import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import onnx
import pytest

from modelkit.errors import BadInput, CannotWrite, MissingExtra
from modelkit.viewing import Parts, parts, private_copy, serve
from tests.models import linear_text, model_file

pytest.importorskip("netron")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return model_file(tmp_path / "m.onnx", linear_text(4, 3))


def external(folder: Path) -> Path:
    weight = onnx.numpy_helper.from_array(np.ones((64, 64), np.float32), "w")
    proto = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["": 17]>
    g (float[n, 64] x) => (float[n, 64] y) { y = MatMul(x, w) }""")
    proto.graph.initializer.append(weight)
    place = folder / "big.onnx"
    (folder / "data").mkdir()
    onnx.save(proto, place, save_as_external_data=True, location="data/w.bin", size_threshold=0)
    return place


def test_data_files_are_found_and_linked(tmp_path: Path) -> None:
    place = external(tmp_path)
    found = parts(str(place))
    assert found.locations == (str(Path("data") / "w.bin"),)
    with private_copy(place, found) as copy:
        assert copy.read_bytes() == place.read_bytes()
        beside = copy.parent / "data" / "w.bin"
        assert beside.read_bytes() == (tmp_path / "data" / "w.bin").read_bytes()
    assert not copy.parent.exists()


def test_a_bad_file_is_refused_before_anything_is_served(tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        parts(str(tmp_path / "nothere.onnx"))
    with pytest.raises(CannotWrite), private_copy(tmp_path / "gone.onnx", Parts((), ())):
        pass


def test_without_netron_the_extra_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="'view' extra"):
        serve(path, path, port=0, browse=False, tell=print)


def started(path: Path, *arguments: str) -> tuple[subprocess.Popen, str]:
    command = [sys.executable, "-m", "modelkit", "view", str(path), "--no-browse", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_asked_to_stop(path: Path, number: int, tmp_path: Path) -> None:
    before = set(Path("/tmp").glob("modelkit-view-*"))
    process, url = started(path)
    assert url.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(f"{url}/data/model.onnx", timeout=10) as answer:
        assert answer.read() == path.read_bytes()
    process.send_signal(number)
    rest, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    assert "was shown at" in rest
    assert set(Path("/tmp").glob("modelkit-view-*")) <= before


def test_json_and_a_port_of_choice(path: Path) -> None:
    process, line = started(path, "--json")
    url = json.loads(line)["url"]
    port = url.rpartition(":")[2]
    taken, _ = started(path, "--port", port)
    assert taken.wait(timeout=10) == 3
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=10)
    assert json.loads(rest)["kind"] == "ViewReport"


@pytest.mark.browser
def test_the_browser_shows_the_graph(path: Path, tmp_path: Path) -> None:
    process, url = started(path)
    command = [
        "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
        "--disable-background-networking", f"--user-data-dir={tmp_path / 'profile'}",
        "--remote-debugging-port=0", url,
    ]  # fmt: skip
    browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        place = tmp_path / "profile" / "DevToolsActivePort"
        text = shown(place, browser)
        assert "MatMul" in text
        assert "Add" in text
    finally:
        browser.kill()
        browser.wait()
        process.send_signal(signal.SIGINT)
        process.wait(timeout=10)


def shown(place: Path, browser: subprocess.Popen) -> str:
    """The text of the page once the graph is there, through the browser's own protocol."""
    websocket = pytest.importorskip("websockets.sync.client")
    deadline = time.monotonic() + 40
    while not place.is_file() and time.monotonic() < deadline:
        time.sleep(0.2)
    port = place.read_text().split()[0]
    pages = json.loads(urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=10).read())
    address = next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")
    with websocket.connect(address, max_size=1 << 24) as wire:
        while time.monotonic() < deadline:
            ask = {"expression": "document.body.textContent", "returnByValue": True}
            wire.send(json.dumps({"id": 1, "method": "Runtime.evaluate", "params": ask}))
            value = json.loads(wire.recv())["result"]["result"].get("value", "")
            if "MatMul" in value:
                return str(value)
            time.sleep(0.3)
    return ""
