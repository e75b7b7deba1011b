"""The examples of the page on extending: each runs, is short and shown there, and does what it says."""

import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from ra_core.channels import TASKS, make_channel
from ra_core.codecs import CODECS
from ra_core.data import DATASETS
from ra_core.judges import JUDGES, Recognizer, load_judge
from ra_core.methods import METHODS, find_method
from ra_core.models.processors import PROCESSORS
from ra_core.objectives import Restoration

SOURCES = Path(__file__).resolve().parents[2] / "book"


class Says(torch.nn.Module):
    """A network that says the same of every picture."""

    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, images):
        return self.logits.expand(len(images), -1)


EXAMPLES = sorted((SOURCES / "examples").glob("*.py"))


def example(name: str, monkeypatch) -> dict:
    """Run an example file; what it registers is forgotten after the test."""
    for registry in (TASKS, METHODS, CODECS, PROCESSORS, DATASETS, JUDGES):
        monkeypatch.setattr(registry, "_known", dict(registry))
    if loaded := sys.modules.get(f"book.examples.{name}"):  # by a profile that another test read
        return vars(loaded)
    scope = {"__name__": name}
    exec(compile((SOURCES / "examples" / f"{name}.py").read_text(), name, "exec"), scope)
    return scope


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_of_the_page_on_extending_is_short_shown_and_runs(path, monkeypatch):
    text = path.read_text()
    assert len(text.splitlines()) < 40 and f"examples/{path.name}" in (SOURCES / "extend.md").read_text()
    example(path.stem, monkeypatch)


def test_a_task_and_a_method_of_the_page_on_extending_work_together(monkeypatch):
    example("blur", monkeypatch), example("hinge", monkeypatch)
    blur, method = make_channel("blur", blur=2.0), find_method("ra_hinge")
    images, judge = torch.rand(2, 3, 32, 32), load_judge("resnet20")
    blurred = blur(images)
    assert blurred.shape == images.shape and blurred.var() < images.var() and method.needs_labels
    processor = torch.nn.Conv2d(3, 3, 3, padding=1)
    objective = Restoration(method, blur, judge)
    batch = objective.prepare(images, torch.tensor([0, 1]), torch.Generator())
    terms = objective.terms({"processor": processor}, batch)
    terms["recognition"].backward()
    assert terms["loss"] > terms["distortion"] and processor.weight.grad.norm() > 0


def test_halves_of_photographs_share_no_class_and_their_judges_choose_among_their_own(monkeypatch, tmp_path):
    root = tmp_path / "data" / "photos"
    for part, count in (("train", 240), ("test", 6)):
        (root / part).mkdir(parents=True)
        rows = ["file,imagenet_index"]
        for number in range(count):
            Image.new("RGB", (300, 260), (number, 0, number)).save(root / part / f"{number}.png")
            rows.append(f"{number}.png,{number % 10}")
        (root / part / "labels.csv").write_text("\n".join(rows) + "\n")
    scope = example("halves", monkeypatch)
    for half, first in (("even", 0), ("odd", 1)):
        parts = DATASETS[f"photos_{half}"].splits(
            ("train", "validation", "test"), home=tmp_path, source="data/photos/train"
        )
        whole = scope["divided"](root / "train")
        for part, found in parts.items():
            number = [int(Path(file).stem) for file in found.files]
            assert all(n % 2 == first for n in number) and len(found.classes) == 500
            assert found.labels.tolist() == [n % 10 // 2 for n in number]
            expected = 3 if part == "test" else sum(label % 2 == first for label in whole[part].labels.tolist())
            assert len(found) == expected
    logits = torch.arange(1000.0)[None]
    monkeypatch.setitem(scope, "load_judge", lambda name: Recognizer(Says(logits), name, (0,) * 3, (1,) * 3))
    for half, first in (("even", 0), ("odd", 1)):
        judge = JUDGES[f"efficientnet_lite0_{half}"]()
        assert torch.equal(judge(torch.rand(1, 3, 224, 224)), logits[:, first::2])
