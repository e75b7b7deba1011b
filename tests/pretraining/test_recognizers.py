import itertools

import pytest
import torch
from pretrained import colours, family
from pretrained import train_recognizer as train
from refusal import refusal
from torch import nn

from ra_core.errors import DataError, ParameterError
from ra_core.judges.recognizer import OURS, load_recognizer
from ra_core.pretraining import recognizers
from ra_core.pretraining.recognizers import Recognition, accuracy, augment, nesterov
from ra_core.training import learning_rate

BATCH = 8


@pytest.fixture(autouse=True)
def small(monkeypatch):
    for known in (recognizers.FAMILIES, OURS):
        monkeypatch.setitem(known, "resnet20", family)
    monkeypatch.setitem(recognizers.RECIPE, "batch", BATCH)


def test_an_augmented_picture_is_a_mirrored_crop_of_the_reflected_one():
    images = torch.randint(0, 256, (1, 3, 7, 9), generator=torch.Generator().manual_seed(1)).byte().repeat(400, 1, 1, 1)
    out, again, other = (augment(images, torch.Generator().manual_seed(seed), pad=2) for seed in (0, 0, 1))
    assert out.shape == images.shape and out.dtype == torch.float32
    assert torch.equal(out, again) and not torch.equal(out, other)
    rows, columns = ([2, 1, *range(size), size - 2, size - 3] for size in (7, 9))  # the border reflected by hand
    places = itertools.product(range(5), range(5))
    crops = [images[0][:, rows[top : top + 7]][:, :, columns[left : left + 9]] for top, left in places]
    expected = torch.stack([side for crop in crops for side in (crop, crop.flip(-1))])
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


def test_it_learns_and_its_score_is_that_of_the_stored_weights(tmp_path):
    sidecar = train(tmp_path, epochs=12)
    assert sidecar["test_top1"] > 60 and sidecar["recipe"] == recognizers.RECIPE | {"epochs": 12, "cycles": [12]}
    images, labels = colours(12, 1).batch(torch.arange(12))
    right = (load_recognizer("resnet20", folder=tmp_path)(images).argmax(1) == labels).float().mean().item()
    assert round(100 * right, 2) == sidecar["test_top1"]


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
    expected = [learning_rate(step, steps, 0.2, "linear") for steps in (5, 10) for step in range(steps)]
    assert [one.pop() for one in rates] == pytest.approx(expected)
    assert [step for step, first in enumerate(fresh) if first] == [0, 5] and set(sizes) == {BATCH}


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
    one = torch.zeros(1, 3, 8, 8)
    one[..., 3, 3] = 1
    assert (recognizers.augment_cells(one, torch.Generator().manual_seed(0), shift=2) > 0).sum() == 3
