"""A page in headless Chromium, driven over its debugging protocol, for tests of what a reader sees."""

import base64
import itertools
import json
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

import websocket

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
QUIET = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--remote-debugging-port=0",
)  # fmt: skip


def find() -> str | None:
    """Return the browser that is installed here, if there is one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def wait(condition, seconds: float, what: str):
    """Return the first true answer of `condition`; raises `TimeoutError` after some seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.2)
    raise TimeoutError(f"after {seconds:g} s there was still no {what}")


class Page:
    """One page: what it says to JavaScript, the keyboard, and a picture of it."""

    def __init__(self, address: str):
        self.socket, self.numbers = websocket.create_connection(address, suppress_origin=True), itertools.count(1)

    def call(self, method: str, **params) -> dict:
        """Send a command of the protocol and return its result."""
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while (answer := json.loads(self.socket.recv())).get("id") != number:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def js(self, expression: str):
        """Return the value of an expression, or of its promise."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, expression: str, seconds: float = 60):
        """Return the value of an expression as soon as it is true."""
        return wait(lambda: self.js(expression), seconds, expression)

    def press(self, key: str, code: int) -> None:
        """Press a key where the focus is."""
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def screenshot(self, path: Path) -> None:
        """Write the page as a PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))


@contextmanager
def page(address: str, folder: Path, size: tuple[int, int] = (1200, 6000)):
    """Open an address in a browser of its own, whose files lie in `folder`."""
    window = "--window-size={},{}".format(*size)
    started = subprocess.Popen(
        [find(), *QUIET, window, f"--user-data-dir={folder}", "about:blank"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        place = folder / "DevToolsActivePort"
        port = wait(lambda: place.exists() and place.read_text().split("\n")[0], 60, "browser")
        with urlopen(Request(f"http://127.0.0.1:{port}/json/new?about:blank", method="PUT")) as answer:
            found = Page(json.load(answer)["webSocketDebuggerUrl"])
        found.call("Emulation.setFocusEmulationEnabled", enabled=True)  # nobody looks, but the page shall not know
        found.call("Page.navigate", url=address)
        yield found
    finally:
        started.kill()
        started.wait()
