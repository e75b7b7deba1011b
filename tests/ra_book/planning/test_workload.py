"""Counting what a profile asks for: known networks, what each mode adds, and laws of steps, seeds and modes."""

import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ra_book.planning.workload import (
    CIFAR10,
    FOLDERS,
    SHIPPED,
    Stock,
    Work,
    count,
    jobs_of,
    make_recognizer,
    processor_work,
    recognizer_work,
    stock_of,
    trained_pictures,
    validations,
)  # fmt: skip
from ra_core.coding.costs import macs
from ra_core.errors import ParameterError
from ra_core.models.processors import make_processor
from ra_core.params import load_profile
from ra_core.params.base import Training

PROFILE = """
tasks:
  sr: {processor: {name: SRResNet, width: 4, blocks: 1}, training: {steps: 10, batch: 4}}
  dn:
    processor: {name: SRResNet, width: 4, blocks: 1}
    transformer: {name: SRResNet, width: 2, blocks: 1}
    training: {steps: 10, batch: 4}
unseen: [vgg8]
"""
SIZES = (("width", 4), ("blocks", 1), ("residual", False))


def trainings(profile, part: str = "dn") -> dict:
    return {job.name: job for job in jobs_of(profile) if job.kind == "training" and job.part == part}


def test_known_layers_forward_and_back():
    conv, image = nn.Conv2d(3, 5, 3, padding=1), torch.zeros(2, 3, 16, 24)
    forward = 16 * 24 * 3 * 5 * 9
    with torch.no_grad():
        found = count(lambda: conv(image), 2)
    assert (found.macs, found.moved, found.kept, found.operators) == (forward, 0, 0, 1)
    both = count(lambda: conv(image).sum().backward(), 2, conv)
    assert both.macs == 2 * forward  # of the weights alone: the picture wants no gradient
    image.requires_grad_(True)
    assert count(lambda: conv(image).sum().backward(), 2, conv).macs == 3 * forward


def test_what_other_operators_move_and_what_waits_for_the_way_back():
    image = torch.zeros(2, 3, 4, 4, requires_grad=True)
    with torch.no_grad():
        assert count(lambda: image.relu(), 2).moved == 2 * 3 * 16 * 4  # read and written, 4 bytes each
        assert count(lambda: image.view(-1), 2) == Work()
    assert count(lambda: image.relu(), 2).kept == 3 * 16 * 4
    linear = nn.Linear(7, 11, bias=False)
    seen = torch.zeros(2, 7, requires_grad=True)
    assert count(lambda: linear(seen), 2, linear).kept == 7 * 4  # its weights lie in memory anyway


@pytest.mark.parametrize(
    ("name", "known"), [("resnet18", 1_814_073_344), ("resnet50", 4_089_184_256), ("vgg16_bn", 15_470_264_320)]
)
def test_known_recognizers_at_224_pixels(name, known):
    # The usual "1.8, 4.1 and 15.5 G": convolutions and matrix products for one picture.
    work, parameters = recognizer_work(name, 224, 1000)
    assert work.macs == known and work.kept == 0
    assert parameters == {"resnet18": 11_689_512, "resnet50": 25_557_032, "vgg16_bn": 138_365_992}[name]


def test_the_way_back_through_a_frozen_recognizer_costs_as_much_as_the_way_there():
    forward, back = (recognizer_work("resnet18", 224, 1000, way)[0] for way in (False, True))
    assert back.macs == 2 * forward.macs and back.kept > 0


def test_a_processor_on_shapes_costs_what_it_costs_on_numbers():
    net, image = make_processor("SRResNet", 4, width=4, blocks=1), torch.zeros(1, 3, 8, 8)
    work, parameters = processor_work("SRResNet", 4, SIZES, 32)
    with torch.no_grad():
        assert work.macs == macs(lambda: net(image))
    assert parameters == sum(p.numel() for p in net.parameters())
    back, _ = processor_work("SRResNet", 4, SIZES, 32, back=True)
    assert back.macs == macs(lambda: net(image).sum().backward()) and back.kept > 0


def test_norms_of_what_is_trained_are_counted(write):
    found = trainings(write(PROFILE))
    assert found["plain"].work.norms == found["ra"].work.norms > 0  # a frozen recognizer takes no statistics
    assert found["ra_transformer"].work.norms == 2 * found["ra"].work.norms
    net = make_processor("SRResNet", 1, width=4, blocks=1)
    assert found["ra"].work.norms == sum(isinstance(layer, nn.BatchNorm2d) for layer in net.modules())


def test_recognizers_of_every_kind_have_shapes_only():
    for name in ("resnet20", "resnet18", "efficientnet_lite0", "tiny:recognizer"):
        assert all(p.is_meta for p in make_recognizer(name, 10).parameters())


def test_a_mode_adds_up_what_it_runs(write):
    found = trainings(write(PROFILE))
    through, source = (recognizer_work("resnet20", 32, 10, back)[0].macs for back in (True, False))
    transformer = processor_work("SRResNet", 1, (("width", 2), *SIZES[1:]), 32, back=True)[0].macs
    plain = found["plain"].work.macs
    assert plain == processor_work("SRResNet", 1, SIZES, 32, back=True)[0].macs
    assert found["ra"].work.macs == plain + through
    assert found["ra_transformer"].work.macs == plain + transformer + through
    assert found["ra_unsupervised"].work.macs == plain + through + source
    assert found["ra_transformer"].trained > found["ra"].trained == found["plain"].trained


def test_what_is_counted_is_what_the_objective_does(write):
    from ra_core.losses import find_mode, loss_terms
    from ra_core.judges.recognizer import load_recognizer

    found, images = trainings(write(PROFILE)), torch.rand(2, 3, 32, 32)
    nets = {
        "processor": make_processor("SRResNet", 1, width=4, blocks=1),
        "transformer": make_processor("SRResNet", 1, width=2, blocks=1),
    }
    judge, labels = load_recognizer("resnet20"), torch.tensor([0, 1])
    for name, job in found.items():
        terms = (find_mode(name), nets, judge, images, images, labels)
        done = count(lambda terms=terms: loss_terms(*terms)["loss"].backward(), 2, *nets.values(), judge)
        assert done.macs == pytest.approx(job.work.macs, rel=1e-6)
        assert done.kept == pytest.approx(job.work.kept, rel=0.1)
        assert done.moved == pytest.approx(job.work.moved, rel=0.25)


def test_work_is_linear_in_seeds_and_a_sum_over_modes_and_tasks(write):
    def total(**changes):
        return sum(job.macs for job in jobs_of(write(PROFILE, **changes)) if job.kind == "training")

    one = total()
    assert total(seeds=[0, 1, 2]) == pytest.approx(3 * one)
    modes = ("plain", "ra", "ra_transformer", "ra_unsupervised")
    assert sum(total(modes=[mode]) for mode in modes) == pytest.approx(one)
    alone = sum(sum(job.macs for job in trainings(write(PROFILE), part).values()) for part in ("sr", "dn"))
    assert alone == pytest.approx(one)


def test_runs_that_ship_are_not_trained(write, monkeypatch):
    profile = write(PROFILE, seeds=[0, 1, 2])

    def ships(run):
        return run["seed"] == 1 and run["mode"] == "ra" and run["task"] == "dn"

    monkeypatch.setattr("ra_book.planning.workload.matching", lambda run: "here" if ships(run) else None)
    runs = {(job.part, job.name): job.runs for job in jobs_of(profile) if job.kind == "training"}
    assert runs.pop(("dn", "ra")) == 2
    assert set(runs.values()) == {3}


@given(steps=st.integers(1, 10**6), batch=st.integers(1, 500))
def test_steps_of_a_training_see_a_batch_each_but_the_last_of_an_epoch(steps, batch):
    found, pictures = trained_pictures(Training(steps=steps, batch=batch), 1000)
    assert found == steps
    epochs, rest = divmod(steps, -(-1000 // batch))
    assert pictures == 1000 * epochs + rest * batch <= steps * batch


def test_epochs_see_every_picture_once():
    assert trained_pictures(Training(epochs=6, batch=20), 1_231_167) == (6 * 61_559, 6 * 1_231_167)


@pytest.mark.parametrize("steps", [1, 2, 5, 6, 7, 13])
def test_a_training_validates_as_often_as_is_counted(tmp_path, steps, one_thread):
    seen = []
    tiny.train(tmp_path, steps=steps, validate=lambda: seen.append(1) or {})
    assert len(seen) == validations(steps)


def test_evaluations_show_every_chain_to_every_recognizer(write):
    (found,) = (job for job in jobs_of(write(PROFILE, seeds=[0, 1])) if (job.part, job.kind) == ("sr", "evaluation"))
    assert found.pictures == (2 + 4 * 2) * 2000  # clean, unprocessed, then modes x seeds
    judges = sum(recognizer_work(name, 32, 10)[0].macs for name in ("resnet20", "vgg8"))
    assert judges < found.work.macs and found.work.kept == 0 and found.trained == 0


def test_a_folder_without_class_folders_validates_its_share(tmp_path):
    sample = load_profile("imagenet_sample")
    assert stock_of(sample) == FOLDERS["imagenet-sample"]
    for stock in (FOLDERS["imagenet-sample"], Stock(300, 300, 1000)):
        job = next(job for job in jobs_of(sample, stock) if job.name == "plain")
        assert (job.steps, job.checked) == (200, validations(200) * 60)  # a tenth of all 600
        assert 200 * 8 - 8 * 7 < job.pictures <= 200 * 8  # the last batch of an epoch is short
    (tmp_path / "birds").mkdir()
    birds = load_profile("imagenet_sample", {"data": {"source": str(tmp_path / "birds")}})
    assert next(iter(jobs_of(birds, Stock(60, 40, 7)))).checked == validations(200) * 10


def test_class_folders_that_would_all_validate_are_refused(write):
    profile = write(PROFILE, data={"kind": "folder", "source": "away", "validation_per_class": 50})
    with pytest.raises(ParameterError, match="all of its 300 training pictures of 1000 classes; choose fewer"):
        jobs_of(profile, Stock(300, 300, 1000))


def plant(root) -> None:
    """Make a tree of two classes, with three files each to train on and two to test on."""
    for part, number in (("train", 3), ("val", 2)):
        for name in ("wren", "robin"):
            folder = root / part / name
            folder.mkdir(parents=True)
            for i in range(number):
                (folder / f"{i}.png").write_bytes(b"never opened")


def test_how_many_pictures_there_are(write, tmp_path, monkeypatch):
    assert stock_of(write(PROFILE)) == SHIPPED
    assert stock_of(write(PROFILE, data={"source": "download"})) == CIFAR10
    imagenet = write(PROFILE, data={"kind": "folder", "source": "data/imagenet"})
    assert stock_of(imagenet) == FOLDERS["imagenet"] == Stock(1_281_167, 50_000, 1000)
    birds = write(PROFILE, data={"kind": "folder", "source": str(tmp_path / "birds"), "validation_per_class": 1})
    assert stock_of(birds, Stock(7, 5, 2)) == Stock(7, 5, 2)
    with pytest.raises(ParameterError, match=r"birds, which is not here; state how many there are"):
        stock_of(birds)
    plant(tmp_path / "birds")
    assert stock_of(birds) == Stock(6, 4, 2)


def test_a_tree_that_is_here_is_counted_whatever_it_is_called(write, tmp_path):
    plant(tmp_path / "imagenet")
    data = {"kind": "folder", "source": str(tmp_path / "imagenet"), "validation_per_class": 1}
    assert stock_of(write(PROFILE, data=data)) == Stock(6, 4, 2)


def test_a_folder_of_pictures_is_counted_and_not_opened(write, tmp_path, monkeypatch):
    monkeypatch.setattr("ra_core.experiments._list_skipped", lambda *_: pytest.fail("it was loaded"))
    for i in range(10):
        (tmp_path / "photos").mkdir(exist_ok=True)
        (tmp_path / "photos" / f"{i}.png").write_bytes(b"never opened")
    data = {"kind": "folder", "source": str(tmp_path / "photos"), "test_share": 0.3}
    assert stock_of(write(PROFILE, data=data)) == Stock(7, 3, 1)
    rows = [f"{i}.png,{i % 4}" for i in range(8)]
    (tmp_path / "photos" / "labels.csv").write_text("\n".join(["file,index", *rows]))
    assert stock_of(write(PROFILE, data=data)) == Stock(6, 2, 4)
