"""The notebooks that teach, in JupyterLab in a browser: they open, run, and answer when a slider is moved."""

import os
import secrets
import socket
import subprocess
import sys
from urllib.error import URLError
from urllib.request import urlopen

import copied
import pytest

from ra_core.progress import BATCH_VARIABLE

pytest.importorskip("websocket", reason="needs the Python package websocket-client, which comes with JupyterLab")
browser = pytest.importorskip("browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.find() is None, reason="needs Chromium (Debian: apt-get install chromium)"),
]

NOTEBOOK = "window.opened"
CELLS = f"{NOTEBOOK}.content.widgets.filter(cell => cell.model.type === 'code')"
OUTPUTS = f"{CELLS}.flatMap(cell => cell.model.outputs.toJSON())"
HANDLE = "document.querySelectorAll('.jp-NotebookPanel:not(.lm-mod-hidden) .noUi-handle')"
PICTURE = f"{HANDLE}[NUMBER].closest('.widget-vbox').querySelector('.jp-OutputArea img').src"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab on a copy of the project whose notebooks begin with the profile `smoke`, open in a browser."""
    home = tmp_path_factory.mktemp("home")
    project = copied.project(tmp_path_factory.mktemp("project"))
    for path in (project / "notebooks").glob("*.ipynb"):
        text = path.read_text().replace('profile: str = \\"quick\\"', 'profile: str = \\"smoke\\"')
        path.write_text(text)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex()
    environment = {k: v for k, v in os.environ.items() if k != BATCH_VARIABLE and not k.startswith("JUPYTER")}
    environment |= {"HOME": str(home), "PYTHONPATH": f"{project}{os.pathsep}{os.environ['PYTHONPATH']}"}
    options = (f"--ServerApp.port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={token}")
    flags = ("--no-browser", "--allow-root", "--expose-app-in-browser", "--ServerApp.ip=127.0.0.1")
    command = [sys.executable, "-m", "jupyterlab", *flags, *options, f"--ServerApp.root_dir={project}"]
    with open(home / "lab.log", "w") as log:
        server = subprocess.Popen(command, cwd=project, env=environment, stdout=log, stderr=log)
    try:
        browser.wait(lambda: _answers(f"http://127.0.0.1:{port}/api?token={token}"), 90, "server")
        with browser.page(f"http://127.0.0.1:{port}/lab?token={token}", home / "browser") as page:
            page.wait("Boolean(window.jupyterapp)", 90)
            page.js("jupyterapp.restored.then(() => true)")
            yield page
    finally:
        server.terminate()
        server.wait(30)


def _answers(address: str) -> bool:
    try:
        with urlopen(address, timeout=5):
            return True
    except (URLError, OSError):
        return False


def ran(page, name: str) -> None:
    """Open a notebook and run all of its cells."""
    page.js(f"{NOTEBOOK} && {NOTEBOOK}.sessionContext.shutdown().then(() => {NOTEBOOK}.dispose())")
    path = f"{{path: 'notebooks/{name}.ipynb'}}"
    page.js(f"jupyterapp.commands.execute('docmanager:open', {path}).then(panel => Boolean({NOTEBOOK} = panel))")
    page.js(f"jupyterapp.shell.activateById({NOTEBOOK}.id)")
    page.js(f"{NOTEBOOK}.sessionContext.ready.then(() => true)")
    page.js("jupyterapp.commands.execute('notebook:run-all-cells').then(() => true)")
    page.wait(f"{CELLS}.every(cell => cell.model.executionCount > 0) && {NOTEBOOK}.context.model.cells.length > 3", 300)
    errors = page.js(f"{OUTPUTS}.filter(output => output.output_type === 'error').map(output => output.evalue)")
    assert errors == []


SLIDERS = {  # a notebook, and how many sliders it has
    "00_playground": 3, "01_data_and_channels": 2, "04_cross_evaluate": 1, "06_train_proxy": 2,
    "07_train_preprocessor": 1, "13_photographs": 1,
}  # fmt: skip


@pytest.mark.parametrize("name", SLIDERS)
def test_a_slider_that_is_moved_changes_the_picture(lab, name, tmp_path):
    ran(lab, name)
    assert lab.wait(f"{HANDLE}.length") == SLIDERS[name]
    changed = []
    for number in range(SLIDERS[name]):
        picture = PICTURE.replace("NUMBER", str(number))
        before = lab.wait(picture)
        lab.js(f"{HANDLE}[{number}].focus()")
        handle = f"{HANDLE}[{number}]"
        last = lab.js(f"{handle}.getAttribute('aria-valuenow') === {handle}.getAttribute('aria-valuemax')")
        lab.press(*(("ArrowLeft", 37) if last else ("ArrowRight", 39)))
        try:
            lab.wait(f"{picture} !== {before!r}", 20)
            changed.append(number)
        except TimeoutError:
            pass
    lab.screenshot(tmp_path / "lab.png")
    # With the playground's first processor, of super-resolution, sigma and quality of other channels change nothing.
    assert changed == ([2] if name == "00_playground" else list(range(SLIDERS[name])))


def test_a_training_by_hand_shows_its_curve(lab, tmp_path):
    ran(lab, "03_train_processor")
    lab.screenshot(tmp_path / "lab.png")
    loop = f"{CELLS}.find(cell => cell.model.sharedModel.source.includes('watched('))"
    assert lab.js(f"{loop}.model.outputs.length") == 1  # one picture, drawn anew in its place
