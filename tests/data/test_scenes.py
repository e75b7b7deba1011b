import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from refusal import refusal

from ra_core.data import cifar10, fingerprint, scenes, split_train
from ra_core.errors import DataError


@pytest.fixture(scope="module")
def drawn():
    """The first 300 scenes of a part: where everything lies."""
    painter = scenes._painter("validation")
    return [painter._place(scenes._Draws((painter.seed, number))) for number in range(300)]


@pytest.mark.parametrize(("part", "count"), [("train", 10_000), ("validation", 200), ("test", 400)])
def test_scenes_are_the_same_everywhere_and_each_part_has_its_own_objects(part, count):
    pictures = scenes.load(part)  # checks the fingerprint of pixels and boxes
    assert (len(pictures), pictures.classes, pictures.name) == (count, cifar10.CLASSES, f"scenes/{part}")
    whole = {key: cifar10.load("shipped", key) for key in ("train", "test")}
    own = (split_train(whole["train"]) | {"test": whole["test"]})[part].images.permute(0, 2, 3, 1)
    assert np.array_equal(scenes._painter(part).images, own.numpy())


@pytest.mark.parametrize("change", ["pixel", "box"])
def test_scenes_of_another_pixel_or_box_are_refused(monkeypatch, change):
    scenes._fingerprint.cache_clear()
    paint, objects = scenes.Painter.__call__, scenes.Painter.objects

    def changed(painter, number):
        found = (paint if change == "pixel" else objects)(painter, number)
        (found if change == "pixel" else found.boxes)[0, 0] += number == 3
        return found

    with monkeypatch.context() as patch:
        patch.setattr(scenes.Painter, "__call__" if change == "pixel" else "objects", changed)
        assert scenes.FINGERPRINTS["test"][:12] in refusal(DataError, scenes.load, "test", 1)
    scenes._fingerprint.cache_clear()
    scenes.load("test", 1)


def test_a_scene_depends_on_its_number_only():
    few, many = scenes.load("test", 4), scenes.load("test", 9)
    torch.manual_seed(5)
    np.random.seed(5)
    for index in (3, 0):
        assert np.array_equal(few.picture(index), many.picture(index))
        assert torch.equal(few.objects[index].boxes, many.objects[index].boxes)
    assert fingerprint(many.subset(torch.arange(4), "few")) == fingerprint(few)
    assert not np.array_equal(many.picture(0), many.picture(1))
    assert not np.array_equal(many.picture(0), scenes.load("validation", 1).picture(0))


def test_boxes_lie_inside_and_hardly_overlap(drawn):
    for placed in drawn:
        boxes = np.array([p[2:] for p in placed])
        sizes = boxes[:, 2:] - boxes[:, :2]
        assert boxes.min() >= 0 and boxes.max() <= 224
        assert sizes.min() >= 28 and sizes.max() <= 128
        areas = sizes.prod(1)
        for i in range(len(boxes)):
            for j in range(i):
                shared = np.minimum(boxes[i, 2:], boxes[j, 2:]) - np.maximum(boxes[i, :2], boxes[j, :2])
                assert shared.clip(0).prod() <= min(areas[i], areas[j]) / 5


def test_scenes_differ_in_number_size_place_form_and_class_of_objects(drawn):
    counts = np.bincount([len(placed) for placed in drawn])
    assert counts[0] == 0 and (counts[1:] > 30).all() and len(counts) == 6
    every = [p for placed in drawn for p in placed]
    widths, heights = (np.array([p[i + 2] - p[i] for p in every]) for i in (2, 3))
    assert min(len(set(widths)), len(set(heights))) > 30  # of 33 there are
    forms = np.sign(widths - heights)
    assert all((forms == form).mean() > 0.2 for form in (-1, 0, 1))
    middles = np.array([[p.left + p.right, p.top + p.bottom] for p in every]) / 2
    assert (np.abs(middles.mean(0) - 112) < 8).all() and (middles.std(0) > 35).all()
    labels = scenes._painter("validation").labels
    assert np.bincount(labels[[p.picture for p in every]], minlength=10).min() > 50
    assert 0.4 < np.mean([p.mirrored for p in every]) < 0.6


def test_an_object_is_the_picture_its_label_names_inside_its_box():
    pool = split_train(cifar10.load("shipped", "train"))["validation"]
    pictures, painter = scenes.load("validation", 6), scenes._painter("validation")
    for index in range(6):
        scene, placed = (pictures.picture(index).astype(int), painter._place(scenes._Draws((painter.seed, index))))
        assert pictures.objects[index].labels.tolist() == [int(pool.labels[p.picture]) + 1 for p in placed]
        assert pictures.objects[index].boxes.tolist() == [list(map(float, p[2:])) for p in placed]
        p = placed[-1]  # nothing lies over the last one
        width, height = p.right - p.left, p.bottom - p.top
        thing = Image.fromarray(pool.images[p.picture].permute(1, 2, 0).numpy())
        thing = thing.resize((width, height), Image.Resampling.BICUBIC)
        thing = np.asarray(ImageOps.mirror(thing) if p.mirrored else thing).astype(int)
        edge = min(width, height) // 16 + 1
        inside = slice(edge, -edge)
        difference = np.abs(scene[p.top : p.bottom, p.left : p.right] - thing)[inside, inside]
        assert difference.max() <= scenes.GRAIN
