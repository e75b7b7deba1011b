import json

import numpy as np
import pytest
import torch
from PIL import Image
from refusal import refusal

from ra_core.data.box_folders import load
from ra_core.errors import DataError, ParameterError


def picture(width: int, height: int) -> Image.Image:
    """A picture whose red rises to the right and whose green rises downwards."""
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([across, down, np.zeros_like(across)], 2).astype(np.uint8))


def thing(name, left, top, right, bottom, difficult=0) -> str:
    box = f"<xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax>"
    return f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{box}</bndbox></object>"


def xml(*things: str, filename: str = "") -> str:
    return f"<annotation><filename>{filename}</filename>{''.join(things)}</annotation>"


@pytest.fixture
def voc(tmp_path):
    """A VOC folder of three pictures of several sizes."""
    root = tmp_path / "zoo"
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / name).mkdir(parents=True)
    for name, size in (("a.jpg", (40, 20)), ("b.PNG", (30, 60)), ("c.jpg", (10, 10))):
        picture(*size).save(root / "JPEGImages" / name)
    (root / "Annotations" / "a.xml").write_text(xml(thing("dog", 1, 1, 40, 20), thing("cat", 11, 6, 20, 15)))
    (root / "Annotations" / "b.xml").write_text(
        xml(thing("dog", 3, 5, 12, 24), thing("dog", 1, 1, 9, 9, 1), filename="other.png")
    )
    (root / "Annotations" / "c.xml").write_text(xml(filename="c.jpg"))
    (root / "ImageSets" / "Main" / "val.txt").write_text("b 1\nc -1\n\n")
    return root


@pytest.fixture
def content():
    """What a COCO JSON file holds."""
    return {
        "images": [{"id": 7, "file_name": "x.png", "width": 40, "height": 20}, {"id": 3, "file_name": "sub/y.png"}],
        "categories": [{"id": 18, "name": "dog"}, {"id": 5, "name": "airplane"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 18, "bbox": [0, 0, 40, 20], "iscrowd": 0, "area": 3},
            {"id": 2, "image_id": 7, "category_id": 5, "bbox": [10, 5, 10, 10]},
            {"id": 3, "image_id": 3, "category_id": 18, "bbox": [1, 2, 3, 4], "iscrowd": 1},
        ],
    }


@pytest.fixture
def coco(tmp_path, content):
    """A COCO folder of two pictures."""
    root = tmp_path / "farm"
    (root / "annotations").mkdir(parents=True)
    (root / "val2017" / "sub").mkdir(parents=True)
    picture(40, 20).save(root / "val2017" / "x.png")
    picture(16, 16).save(root / "val2017" / "sub" / "y.png")
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
    return root


def write(coco, content) -> None:
    (coco / "annotations" / "instances_val2017.json").write_text(json.dumps(content))


# Pascal VOC


def test_a_voc_folder(voc):
    pictures = load(voc)
    assert (len(pictures), pictures.classes, pictures.name, pictures.skipped) == (3, ("cat", "dog"), "zoo", ())
    assert pictures.boxes(0).tolist() == [[0, 0, 40, 20], [10, 5, 20, 15]] and pictures.labels(0).tolist() == [2, 1]
    assert pictures.boxes(1).tolist() == [[2, 4, 12, 24]]
    target = pictures.all_targets()[1]
    assert target["ignored_boxes"].tolist() == [[0, 0, 9, 9]] and target["ignored_labels"].tolist() == [2]
    assert pictures.boxes(2).shape == (0, 4) and pictures.labels(2).shape == (0,)
    assert pictures.picture(1).shape == (60, 30, 3)
    with Image.open(voc / "JPEGImages" / "a.jpg") as stored:
        assert np.array_equal(pictures.picture(0), np.asarray(stored))


def test_a_part_of_a_voc_folder(voc):
    pictures = load(voc, "val")
    assert [key[0] for key in pictures.keys] == ["b.PNG", "c.jpg"] and pictures.name == "zoo/val"
    assert "train.txt does not exist" in refusal(DataError, load, voc, "train")


def test_lower_case_folders_and_untidy_names_are_understood(voc):
    (voc / "Annotations").rename(voc / "annotations")
    (voc / "JPEGImages").rename(voc / "images")
    (voc / "annotations" / "c.xml").rename(voc / "annotations" / "third.xml")  # its picture is named inside
    assert [key[0] for key in load(voc).keys] == ["a.jpg", "b.PNG", "c.jpg"]


def test_what_cannot_be_used_is_left_out_and_listed(voc):
    annotations, images = voc / "Annotations", voc / "JPEGImages"
    (annotations / "broken.xml").write_text("<annotation><object>")
    (annotations / "gone.xml").write_text(xml(thing("dog", 1, 1, 5, 5), filename="gone.jpg"))
    (annotations / "noise.xml").write_text(xml(thing("dog", 1, 1, 5, 5)))
    (images / "noise.jpg").write_bytes(b"no picture at all")
    (annotations / "number.xml").write_text(xml(thing("dog", "one", 1, 5, 5)))
    (annotations / "nameless.xml").write_text(xml(thing("", 1, 1, 5, 5)))
    (annotations / "c.xml").write_text(
        xml(
            thing("dog", -4, 3, 25, 9),  # cut off
            thing("dog", 21, 1, 30, 5),  # outside
            thing("dog", 5, 5, 4, 9),  # no width
            thing("dog", "nan", 1, 5, 5),
            thing("dog", 9, 1, 2, 5),  # the wrong way round
        )
    )
    turned = picture(20, 10)
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(images / "turned.jpg", exif=exif)
    (annotations / "turned.xml").write_text(xml(thing("dog", 1, 1, 5, 5)))
    pictures = load(voc)
    assert [key[0] for key in pictures.keys] == ["a.jpg", "b.PNG", "c.jpg"]
    assert pictures.boxes(2).tolist() == [[0, 2, 10, 9]]
    said = "\n".join(pictures.skipped)
    assert len(pictures.skipped) == 7
    for line in (
        "broken.xml is no annotation of Pascal VOC (", "nameless.xml is no annotation of Pascal VOC (an object has",
        "number.xml is no annotation of Pascal VOC (could not convert", "gone.jpg is not a file in ",
        "noise.jpg cannot be read as a picture", "c.jpg: 4 of 5 boxes have no area inside the picture",
        "turned.jpg carries a tag that turns it",
    ):  # fmt: skip
        assert line in said, line


def test_a_picture_that_breaks_off_is_refused_when_it_is_read(voc):
    file = voc / "JPEGImages" / "a.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 90, 3), np.uint8)).save(file)
    file.write_bytes(file.read_bytes()[:-2000])  # its header is whole
    assert "a.jpg cannot be read as a picture" in refusal(DataError, load(voc).picture, 0)


def test_the_classes_of_a_detector_fix_the_labels(voc):
    pictures = load(voc, classes=("bird", "dog"))
    assert pictures.classes == ("bird", "dog")
    assert pictures.labels(0).tolist() == [2] and pictures.boxes(0).tolist() == [[0, 0, 40, 20]]
    assert pictures.skipped == ("a.jpg: 1 of 2 boxes are of other classes",)
    said = refusal(DataError, load, voc, classes=("bird",))
    assert said.startswith("zoo has no usable box in 3 pictures (2 problems, for instance: a.jpg: 2 of 2 boxes are of")


def test_without_pictures_or_boxes_it_says_so(voc, tmp_path):
    assert "does not exist" in refusal(DataError, load, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "neither Annotations/*.xml nor a fitting JSON file" in refusal(DataError, load, tmp_path / "empty")
    (voc / "JPEGImages").rename(voc / "elsewhere")
    assert "has no folder JPEGImages or images" in refusal(DataError, load, voc)


# Sizes


def test_the_shorter_side_is_resized_with_the_boxes(voc):
    pictures = load(voc, resize=10)
    assert [pictures.picture(i).shape for i in range(3)] == [(10, 20, 3), (20, 10, 3), (10, 10, 3)]
    assert pictures.boxes(0).tolist() == [[0, 0, 20, 10], [5, 2.5, 10, 7.5]]
    assert torch.allclose(pictures.boxes(1), torch.tensor([[2, 4, 12, 24]]) / 3)
    assert pictures.all_targets()[1]["ignored_boxes"].tolist() == [[0, 0, 3, 3]]


def test_a_frame_makes_all_pictures_one_size(voc):
    pictures = load(voc, frame=20)
    images, targets = pictures.batch(torch.arange(3))
    assert images.shape == (3, 3, 20, 20)
    assert targets[0]["boxes"].tolist() == [[0, 0, 20, 10], [5, 2.5, 10, 7.5]]
    assert (images[0, :, 10:] == 128 / 255).all() and (images[1, :, :, 10:] == 128 / 255).all()
    assert images[2, 0, :, -1].mean() > 0.9 and images[2, 1, -1].mean() > 0.9  # enlarged
    assert targets[2]["boxes"].shape == (0, 4)


@pytest.mark.parametrize(
    ("sizes", "said"),
    [({"resize": 0}, "resize is 0; give"), ({"frame": -3}, "frame is -3; give"),
     ({"resize": 9, "frame": 9}, "both resize and frame were given; choose one of them.")],
)  # fmt: skip
def test_impossible_sizes_are_refused(voc, sizes, said):
    assert refusal(ParameterError, load, voc, **sizes).startswith(said)


# COCO


@pytest.mark.parametrize("way", ["folder", "part", "file"])
def test_a_coco_folder(coco, way):
    file = coco / "annotations" / "instances_val2017.json"
    pictures = {"folder": (coco,), "part": (coco, "val2017"), "file": (file,)}[way]
    pictures = load(*pictures)
    assert pictures.classes == ("airplane", "dog") and pictures.skipped == ()
    assert [key[0] for key in pictures.keys] == ["x.png", "sub/y.png"]
    assert pictures.boxes(0).tolist() == [[0, 0, 40, 20], [10, 5, 20, 15]] and pictures.labels(0).tolist() == [2, 1]
    assert pictures.all_targets()[1]["ignored_boxes"].tolist() == [[1, 2, 4, 6]] and len(pictures.boxes(1)) == 0
    assert np.array_equal(pictures.picture(0), np.asarray(picture(40, 20)))


@pytest.mark.parametrize("place", ["images", "images/val2017", "annotations", "."])
def test_coco_pictures_are_found_in_the_usual_places(coco, place):
    if place != ".":
        (coco / place).mkdir(parents=True, exist_ok=True)
    for name in ("x.png", "sub"):
        (coco / "val2017" / name).rename(coco / place / name)
    assert load(coco).picture(1).shape == (16, 16, 3)


def test_of_several_coco_files_the_part_chooses(coco):
    for name in ("instances_train2017.json", "captions_val2017.json"):
        (coco / "annotations" / name).write_text("{}")
    assert len(load(coco, "val2017")) == 2
    assert "has 3 fitting JSON files" in refusal(DataError, load, coco)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "[" * 100_000, '{"images": 3, "categories": [], "annotations": []}', '{"images": []}',
     '{"images": [{"id": [1], "file_name": "x.png"}], "categories": [], "annotations": []}', "\udcff"],
)  # fmt: skip
def test_a_broken_coco_file_is_refused(coco, text):
    file = coco / "annotations" / "instances_val2017.json"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert "is not a whole JSON file of COCO's boxes (" in refusal(DataError, load, coco)


@pytest.mark.parametrize(
    "change",
    [{"image_id": 99}, {"category_id": 99}, {"bbox": [1, 2, 3]}, {"bbox": None}, {"bbox": [1, 2, "x", 4]}, {"bbox": 5}],
)
def test_an_annotation_that_makes_no_sense_is_refused(coco, content, change):
    content["annotations"][1].update(change)
    write(coco, content)
    assert "is not a whole JSON file of COCO's boxes (" in refusal(DataError, load, coco)


def test_coco_boxes_outside_and_pictures_that_are_missing_are_listed(coco, content):
    content["images"] += [{"id": 9, "file_name": "gone.png"}, {"id": 10, "file_name": "../annotations/z.png"}]
    picture(8, 8).save(coco / "annotations" / "z.png")
    for bbox in ([-5, -5, 10, 10], [50, 0, 4, 4], [1, 1, 0, 5], [1, 1, -3, 5], [0, 0, float("inf"), 2]):
        content["annotations"].append({"id": 8, "image_id": 7, "category_id": 5, "bbox": bbox})
    write(coco, content)
    pictures = load(coco)
    assert pictures.boxes(0)[2:].tolist() == [[0, 0, 5, 5]]
    assert [line.split(" in ")[0] for line in pictures.skipped] == [
        "x.png: 4 of 7 boxes have no area inside the picture", "gone.png is not a file",
        "../annotations/z.png is not a file",
    ]  # fmt: skip


def test_a_coco_file_without_its_pictures_says_where_it_looked(coco):
    (coco / "val2017").rename(coco / "elsewhere")
    said = refusal(DataError, load, coco)
    assert "instances_val2017.json names are in none of " in said and str(coco / "images") in said
