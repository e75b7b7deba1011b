import json

import pytest
import tiny
import torch
from refusal import refusal
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn
from trouble import killed

from ra_core.data import fingerprint
from ra_core.errors import DataError, ParameterError, TrainingError
from ra_core.judges.recognizer import OURS, load_recognizer
from ra_core.pretraining import recognizers
from ra_core.pretraining.recognizers import Recognition, accuracy, augment, nesterov, train_recognizer

BATCH = 8
SIDECAR = {
    "name", "classes", "mean", "std", "input", "parameters", "recipe", "seed", "trained_on", "train_fingerprint",
    "train_pictures", "tested_on", "test_fingerprint", "test_pictures", "test_top1", "seconds", "threads", "torch",
    "machine",
}  # fmt: skip


def family(classes: int) -> nn.Module:
    """A classifier of a few hundred weights, with BatchNorm."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.Linear(32, classes),
    )  # fmt: skip


def colours(count: int, seed: int = 0):
    """Pictures whose class is their brightest channel, which is easy to learn."""
    pictures = tiny.pictures(count, seed, f"colours{seed}")
    picture = torch.arange(count)
    pictures.images[picture, pictures.labels] = pictures.images[picture, pictures.labels] // 2 + 128
    return pictures


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    for known in (recognizers.FAMILIES, OURS):
        monkeypatch.setitem(known, "resnet20", family)
    monkeypatch.setitem(recognizers.RECIPE, "batch", BATCH)


def crops(image: torch.Tensor, pad: int) -> list[torch.Tensor]:
    """Every crop of the size of `image` (3, H, W) out of it with a border reflected by hand, and its mirror image."""
    _, height, width = image.shape

    def reflected(size):
        return [*range(pad, 0, -1), *range(size), *range(size - 2, size - 2 - pad, -1)]

    larger = image[:, reflected(height)][:, :, reflected(width)]
    found = []
    for top in range(2 * pad + 1):
        for left in range(2 * pad + 1):
            crop = larger[:, top : top + height, left : left + width]
            found += [crop, crop.flip(-1)]
    return found


def test_an_augmented_picture_is_a_mirrored_crop_of_the_reflected_one():
    images = torch.randint(0, 256, (1, 3, 7, 9), generator=torch.Generator().manual_seed(1)).byte().repeat(400, 1, 1, 1)
    out, again, other = (augment(images, torch.Generator().manual_seed(seed), pad=2) for seed in (0, 0, 1))
    assert out.shape == images.shape and out.dtype == torch.float32
    assert torch.equal(out, again) and not torch.equal(out, other)
    expected = torch.stack(crops(images[0], 2)).float()
    which = [int(torch.nonzero((expected == picture).flatten(1).all(1))[0]) for picture in out]  # exact, each of them
    counts = torch.bincount(torch.tensor(which), minlength=50)
    assert (counts > 0).sum() > 48 and counts.max() < 25  # 400 draws of 50: each picture by itself
    assert 150 < counts[::2].sum() < 250  # half of them mirrored


def test_accuracy_counts_what_is_right():
    pictures = colours(1100)  # more than one batch

    class Brightest(nn.Module):
        def forward(self, x):
            return x.mean((2, 3)) * torch.tensor(recognizers.RECIPE["std"]) + torch.tensor(recognizers.RECIPE["mean"])

    right = (pictures.images.float().mean((2, 3)).argmax(1) == pictures.labels).float().mean().item()
    assert 0.5 < right < 1
    assert accuracy(Brightest(), pictures) == pytest.approx(100 * right)


def train(folder, **changes):
    arguments = {"name": "resnet20", "train": colours(44), "test": colours(12, 1), "folder": folder, "epochs": 3}
    return train_recognizer(**arguments | {"device": "cpu"} | changes)


def test_it_learns_and_says_what_it_did(tmp_path):
    sidecar = train(tmp_path, epochs=12)
    assert sidecar["test_top1"] > 60 and tiny.names(tmp_path) == ["resnet20.json", "resnet20.safetensors"]
    assert set(sidecar) == SIDECAR
    written = json.loads((tmp_path / "resnet20.json").read_text())
    assert written == json.loads(json.dumps(sidecar))
    assert sidecar["recipe"] == recognizers.RECIPE | {"epochs": 12, "cycles": [12]}
    assert (sidecar["train_pictures"], sidecar["test_pictures"], sidecar["classes"]) == (44, 12, list(tiny.CLASSES))
    assert sidecar["train_fingerprint"] == fingerprint(colours(44))
    assert sidecar["test_fingerprint"] == fingerprint(colours(12, 1))
    assert sidecar["parameters"] == sum(p.numel() for p in family(3).parameters())
    recognizer = load_recognizer("resnet20", folder=tmp_path)
    images, labels = colours(12, 1).batch(torch.arange(12))
    right = (recognizer(images).argmax(1) == labels).float().mean().item()
    assert round(100 * right, 2) == sidecar["test_top1"]
    with safe_open(tmp_path / "resnet20.safetensors", "pt") as file:
        assert json.loads(file.metadata()["sidecar"]) == written
        assert not [name for name in file.keys() if name.endswith("num_batches_tracked")]  # noqa: SIM118
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.float32}  # noqa: SIM118


def test_the_objective_is_cross_entropy_with_smoothed_labels():
    objective = Recognition("resnet20", recognizers.RECIPE, (3,))
    images, labels = colours(6).batch(torch.arange(6))
    batch = objective.prepare(images, labels, None)
    mean, std = (torch.tensor(recognizers.RECIPE[key]).view(3, 1, 1) for key in ("mean", "std"))
    assert torch.equal(batch["images"], (images - mean) / std)
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    loss = objective.terms({"recognizer": lambda x: logits}, batch)["loss"]
    target = 0.9 * nn.functional.one_hot(labels, 3) + 0.1 / 3
    assert torch.allclose(loss, -(target * logits.log_softmax(1)).sum(1).mean())
    assert torch.allclose(torch.autograd.grad(loss, logits)[0], (logits.softmax(1) - target) / 6, atol=1e-6)


def test_only_layers_decay_under_nesterov_momentum():
    groups = nesterov(list(family(3).parameters()), 0.2, 5e-4).param_groups
    found = [(group["weight_decay"], {p.ndim > 1 for p in group["params"]}) for group in groups]
    assert found == [(5e-4, {True}), (0.0, {False})]
    assert all(group["nesterov"] and group["momentum"] == 0.9 and group["lr"] == 0.2 for group in groups)


def cycle(steps: int) -> list[float]:
    """The rates of one cycle."""
    top = steps // 5
    return [0.2 * (step + 1) / top if step < top else 0.2 * (steps - step) / (steps - top) for step in range(steps)]


def test_each_cycle_has_its_rates_and_an_optimizer_of_its_own_and_whole_batches(tmp_path, monkeypatch):
    rates, fresh, sizes = [], [], []

    class SGD(torch.optim.SGD):
        def step(self, closure=None):
            rates.append({group["lr"] for group in self.param_groups})
            fresh.append(not self.state)
            return super().step(closure)

    terms = Recognition.terms
    monkeypatch.setattr(torch.optim, "SGD", SGD)
    monkeypatch.setattr(Recognition, "terms", lambda self, n, b: sizes.append(len(b["images"])) or terms(self, n, b))
    monkeypatch.setitem(recognizers.CYCLES, "resnet20", (1, 2))
    assert train(tmp_path, epochs=0)["recipe"] == recognizers.RECIPE | {"epochs": 3, "cycles": [1, 2]}
    assert all(len(one) == 1 for one in rates)
    assert [one.pop() for one in rates] == pytest.approx(cycle(5) + cycle(10))
    assert [step for step, first in enumerate(fresh) if first] == [0, 5] and set(sizes) == {BATCH}


def test_validation_follows_every_epoch(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(recognizers, "accuracy", lambda net, pictures, recipe: seen.append(pictures.name) or 50.0)
    train(tmp_path, validation=colours(5, 2))
    assert seen == ["colours2"] * 3 + ["colours1"]


@pytest.fixture
def each_saved(monkeypatch):
    """Save after each step; 5 are an epoch."""
    fit = recognizers.fit
    monkeypatch.setattr(recognizers, "fit", lambda *a, **k: fit(*a, **k, checkpoint_seconds=0))
    monkeypatch.setitem(recognizers.CYCLES, "resnet20", (1, 2))


@pytest.mark.parametrize("step", [2, 6, 13])  # before the first cycle ends, right after, in the second
def test_killed_it_ends_as_if_it_had_not_been(tmp_path, monkeypatch, each_saved, step):
    once = train(tmp_path / "once", epochs=0)
    with killed(monkeypatch, Recognition, step):
        train(tmp_path / "again", epochs=0)
    assert tiny.names(tmp_path / "again") == ["resnet20.run"]
    again = train(tmp_path / "again", epochs=0)
    assert tiny.names(tmp_path / "again") == ["resnet20.json", "resnet20.safetensors"]
    weights = [load_file(tmp_path / name / "resnet20.safetensors") for name in ("once", "again")]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert again | {"seconds": 0} == once | {"seconds": 0}


@pytest.mark.parametrize("changes", [{"epochs": 5}, {"seed": 1}, {"train": colours(46)}], ids=list)
def test_going_on_with_another_recipe_is_refused(tmp_path, monkeypatch, each_saved, changes):
    with killed(monkeypatch, Recognition, 3):
        train(tmp_path)
    refusal(TrainingError, train, tmp_path, **changes)
    assert tiny.names(tmp_path) == ["resnet20.run"]


def test_an_unknown_family_and_too_few_pictures_are_refused(tmp_path):
    said = refusal(ParameterError, train, tmp_path / "run", name="resnet21")
    assert "'resnet21'" in said and "resnet20, resnet26, vgg8, " in said
    said = refusal(DataError, train, tmp_path / "run", train=colours(7))
    assert "7 pictures" in said and "8" in said and not (tmp_path / "run").exists()


def test_cells_are_turned_mirrored_shifted_and_brightened_alike_in_all_channels():
    grey = torch.rand(16, 1, 12, 12, generator=torch.Generator().manual_seed(0)) * 255
    varied = recognizers.augment_cells(grey.expand(-1, 3, -1, -1), torch.Generator().manual_seed(1), shift=0)
    assert torch.equal(varied[:, 0], varied[:, 1]) and torch.equal(varied[:, 0], varied[:, 2])
    gains = varied[:, 0].flatten(1).sum(1) / grey.flatten(1).sum(1)
    assert gains.min() >= 0.8 and gains.max() <= 1.2 and gains.unique().numel() == 16
    for one, other, gain in zip(grey[:, 0], varied[:, 0], gains, strict=True):
        sides = [torch.rot90(x, turns) for x in (one, one.flip(-1)) for turns in range(4)]
        assert any(torch.allclose(gain * side, other, atol=1e-2) for side in sides)


def test_a_shift_rolls_the_whole_batch():
    grey = torch.zeros(1, 3, 8, 8)
    grey[..., 3, 3] = 1
    assert (recognizers.augment_cells(grey, torch.Generator().manual_seed(0), shift=2) > 0).sum() == 3
