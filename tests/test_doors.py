"""Every public command at its doors: asked for help, given nothing, what cannot be read, and an impossible number."""

import importlib
import json
import os
import shutil
from pathlib import Path

import noise
import pytest
import tiny

ROOT = Path(__file__).parents[1]
COMMANDS = [*json.loads((ROOT / "tests" / "golden.json").read_text())["commands"], "ra_core.notebooks"]
PROXY, DETECTOR = "Hyperprior --weight 512 --folder OUT --pictures", "fcos --folder OUT --pictures"
GOOD = f"{ROOT}/notebooks/12_planning.ipynb OUT.ipynb"
ASKED = {
    "ra_core.apply": [
        "GONE OUT --codec jpeg --quality 60", "FILE OUT --codec jpeg --quality 60", "PICTURES OUT --run DAMAGED",
        "PICTURES OUT --run BINARY", "PICTURES FILE --codec jpeg --quality 60", "BROKEN OUT --codec jpeg --quality 60",
        "PICTURES OUT --codec jpeg --quality -5", "PICTURES OUT --codec jpeg --quality nan",
        "PICTURES OUT --codec jpeg --quality 60 --workers 0",
        "PICTURES OUT --codec jpeg --quality 6 --device cpu:9x", "PICTURES OUT --codec jpeg --quality 6 --strength -1",
        "PICTURES OUT --codec no --quality 60", "LONG OUT --codec jpeg --quality 60",
        "PICTURES OUTLONG --codec jpeg --quality 60", "PICTURES OUT --run LONG",
    ],
    "ra_core.training": [
        "--profile GONE --task dn", "--profile folder --task dn", "--profile binary --task dn",
        "--profile twice --task dn", "--profile tiny --task dn --seed -1", "--profile tiny --task dn --seed 9999999999",
        "--profile tiny --task dn --mode ra@-1", "--profile tiny --task dn --overrides {threads:-1}",
        "--profile tiny --task dn --overrides {tasks:{dn:{training:{lr:1e9}}}}",
        "--profile tiny --dataset cells --codec jpeg --quality nan", "--profile LONG --task dn",
    ],
    "ra_core.data.check": ["GONE", "FILE", "LOOP", "BROKEN", "VOC", "COCO", "LONG", "PIPE"],
    "ra_core.shipped_runs": ["GONE", "FILE", "DAMAGED", "BINARY", "LOOP"],
    "ra_core.export": [
        "GONE OUT.onnx", "FILE OUT.onnx", "DAMAGED OUT.onnx", "BINARY OUT.onnx",
        "coding/scenes/npp_qa-jpeg-optimized OUT.onnx --strength -1",
        "coding/scenes/npp_qa-jpeg-optimized OUT.onnx --quality nan",
    ],
    "ra_core.pretraining.detectors": [
        f"{DETECTOR} GONE", f"{DETECTOR} FILE", f"{DETECTOR} BROKEN", f"{DETECTOR} VOC", f"{DETECTOR} COCO",
        f"{DETECTOR} GONE --steps -1", f"{DETECTOR} GONE --resize -5", f"{DETECTOR} GONE --seed -1",
    ],
    "ra_core.pretraining.proxies": [
        f"{PROXY} GONE", f"{PROXY} FILE", f"{PROXY} BROKEN", f"{PROXY} PICTURES --weight -5", f"{PROXY} GONE --lr 5",
        f"{PROXY} GONE --steps 0", f"{PROXY} GONE --batch 0", f"{PROXY} GONE --n 100000000", f"{PROXY} GONE --seed -1",
        f"{PROXY} MANY --device moon", f"{PROXY} MANY --start FILE --steps 1", f"{PROXY} MANY --start GONE --steps 1",
    ],
    "ra_book.book": ["GONE", "folder", "binary", "twice"],
    "ra_book.reference": ["GONE", "folder", "binary", "tiny"],
    "ra_book.costs": ["GONE", "folder", "binary", "tiny --gpus 0", "tiny --pictures -1", "tiny --machine moon"],
    "ra_core.notebooks": [
        "GONE OUT.ipynb", "FILE OUT.ipynb", "PICTURES OUT.ipynb", "PIPE OUT.ipynb", f"{GOOD} profile=",
        f"{GOOD} profile=3",
        f"{GOOD} moon=1", GOOD.replace("OUT.ipynb", "PICTURES"),
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A project with a good profile and bad ones, and folders of all kinds by the names that `ASKED` gives them."""
    root = tiny.project(tmp_path_factory.mktemp("doors"))
    (root / "params" / "folder.yaml").mkdir()
    (root / "params" / "binary.yaml").write_bytes(b"\xff\xfe\x00modes")
    (root / "params" / "twice.yaml").write_text("threads: 1\nthreads: 2\n")
    for name in ("PICTURES", "MANY"):
        noise.save(root / name / "a.png")
        noise.save(root / name / "b.png", 1)
    for name in ("BROKEN", "VOC/JPEGImages", "COCO/images"):
        (root / name).mkdir(parents=True)
        (root / name / "a.png").write_bytes(b"\x89PNG and no more")
    for name, text in (("VOC/Annotations/a.xml", "<annotation"), ("COCO/annotations/instances.json", '{"images": 3}')):
        (root / name).parent.mkdir()
        (root / name).write_text(text)
    for name, content in (("DAMAGED", b"seed: [1"), ("BINARY", b"\xff\xfe\x00")):
        (root / name).mkdir()
        (root / name / "params.yaml").write_bytes(content)
        (root / name / "run.json").write_bytes(content)
    (root / "FILE").write_bytes(b"\x00\xff a file")
    (root / "LOOP").symlink_to("LOOP")
    os.mkfifo(root / "PIPE")
    return root


def main_of(command: str):
    """Return what `python -m` would call."""
    package = command in ("ra_core.apply", "ra_core.training")
    return importlib.import_module(f"{command}.__main__" if package else command).main


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_given(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main_of(command)(["--help"])
    said = capsys.readouterr().out
    assert ended.value.code == 0 and f"python -m {command}" in said


@pytest.mark.parametrize(("command", "words"), [(command, words) for command, all_ in ASKED.items() for words in all_])
def test_what_cannot_be_is_one_sentence(places, tmp_path, monkeypatch, capsys, command, words):
    monkeypatch.chdir(places)
    monkeypatch.delattr("papermill.execute_notebook")
    words = words.replace("OUT", str(tmp_path / "OUT")).replace("LONG", "x" * 300)
    assert main_of(command)(words.split()) == 1
    said = capsys.readouterr().err.strip().splitlines()
    said = [line for line in said if "file/s]" not in line]  # of a progress bar
    assert said and said[-1].endswith(".") and "Traceback" not in "".join(said)
    assert len(said) == 1 or command == "ra_core.data.check", said  # which lists what it found
    shutil.rmtree(places / "runs", ignore_errors=True)


def test_every_public_command_is_asked():
    assert ASKED.keys() == set(COMMANDS)
