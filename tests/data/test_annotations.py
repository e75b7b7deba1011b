import json

import boxed
import noise
import numpy as np
import pytest
import torch
from PIL import Image
from refusal import refusal

from ra_core.data import annotations
from ra_core.data.box_folders import load
from ra_core.errors import DataError


def picture(width: int, height: int) -> Image.Image:
    """A picture whose red rises to the right and whose green rises downwards."""
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([across, down, np.zeros_like(across)], 2).astype(np.uint8))


def thing(name, left, top, right, bottom, difficult=0) -> str:
    box = f"<xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax>"
    return f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{box}</bndbox></object>"


def annotate(voc, name, *things: str, filename: str = "", size=(0, 0)) -> None:
    stated = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>"
    text = f"<annotation><filename>{filename}</filename>{stated}{''.join(things)}</annotation>"
    (voc / "Annotations" / f"{name}.xml").write_text(text)


def counted(pictures, index) -> tuple[list, list]:
    """The boxes and labels of one picture that count."""
    target = pictures.all_targets()[index]
    return target["boxes"].tolist(), target["labels"].tolist()


@pytest.fixture
def voc(tmp_path):
    """A VOC folder of three pictures of several sizes."""
    root = tmp_path / "zoo"
    for name in ("Annotations", "ImageSets/Main"):
        (root / name).mkdir(parents=True)
    for name, size in (("a.jpg", (40, 20)), ("b.PNG", (30, 60)), ("c.jpg", (10, 10))):
        noise.save(root / "JPEGImages" / name, picture(*size))
    annotate(root, "a", thing("dog", 1, 1, 40, 20), thing("cat", 11, 6, 20, 15), size=(40, 20))
    annotate(root, "b", thing("dog", 3, 5, 12, 24), thing("dog", 1, 1, 9, 9, 1), filename="other.png")
    annotate(root, "c", filename="c.jpg")
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
    noise.save(root / "val2017" / "x.png", picture(40, 20))
    noise.save(root / "val2017" / "sub" / "y.png", picture(16, 16))
    (root / "annotations").mkdir()
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
    return root


# Pascal VOC


def test_a_voc_folder(voc):
    pictures = load(voc)
    assert (len(pictures), pictures.classes, pictures.name, pictures.skipped) == (3, ("cat", "dog"), "zoo", ())
    assert counted(pictures, 0) == ([[0, 0, 40, 20], [10, 5, 20, 15]], [2, 1])
    assert counted(pictures, 1) == ([[2, 4, 12, 24]], [2]) and counted(pictures, 2) == ([], [])
    target = pictures.all_targets()[1]
    assert target["ignored_boxes"].tolist() == [[0, 0, 9, 9]] and target["ignored_labels"].tolist() == [2]
    assert pictures.picture(1).shape == (60, 30, 3)
    with Image.open(voc / "JPEGImages" / "a.jpg") as stored:
        assert np.array_equal(pictures.picture(0), np.asarray(stored))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_part_of_a_voc_folder(voc, encoding):
    picture(9, 9).save(voc / "JPEGImages" / "my dog 1.jpg")
    annotate(voc, "my dog 1")
    (voc / "ImageSets/Main/val.txt").write_text("b 1\nc -1\n\nmy dog 1\nmissing", encoding)
    pictures = load(voc, "val")
    assert [key[0] for key in pictures.keys] == ["b.PNG", "c.jpg", "my dog 1.jpg"] and pictures.name == "zoo/val"
    assert pictures.skipped == ("missing has no annotation",)
    assert "train.txt" in refusal(DataError, load, voc, "train")
    (voc / "ImageSets/Main/val.txt").write_text("b", "utf-16")
    assert "val.txt" in refusal(DataError, load, voc, "val")


def test_lower_case_folders_and_untidy_names_are_understood(voc):
    annotate(voc, "third", filename="c.jpg")  # its picture is named inside
    (voc / "Annotations" / "c.xml").unlink()
    (voc / "Annotations").rename(voc / "annotations")
    (voc / "JPEGImages").rename(voc / "images")
    assert [key[0] for key in load(voc).keys] == ["a.jpg", "b.PNG", "c.jpg"]


def test_what_cannot_be_used_is_left_out_and_listed(voc):
    annotations, images = voc / "Annotations", voc / "JPEGImages"
    (annotations / "broken.xml").write_text("<annotation><object>")
    annotate(voc, "gone", thing("dog", 1, 1, 5, 5), filename="gone.jpg")
    annotate(voc, "noise", thing("dog", 1, 1, 5, 5))
    (images / "noise.jpg").write_bytes(b"no picture at all")
    (images / "phone.heic").write_bytes(b"a picture of another kind")
    annotate(voc, "number", thing("dog", "one", 1, 5, 5))
    annotate(voc, "nameless", thing("", 1, 1, 5, 5))
    annotate(voc, "endless", size=("inf", 2))
    # One is cut off, the others are outside, without width, without a number, the wrong way round.
    corners = ((-4, 3, 25, 9), (21, 1, 30, 5), (5, 5, 4, 9), ("nan", 1, 5, 5), (9, 1, 2, 5))
    annotate(voc, "c", *(thing("dog", *given) for given in corners))
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, options in (("turned", {"exif": exif}), ("small", {}), ("unknown", {})):
        picture(20, 10).save(images / f"{name}.jpg", **options)
    annotate(voc, "turned", thing("dog", 1, 1, 5, 5))
    annotate(voc, "small", thing("dog", 1, 1, 5, 5), size=(40, 20))
    Image.new("RGB", (1, 9000)).save(images / "strip.png")  # brought to size it would grow without bounds
    annotate(voc, "strip", thing("dog", 1, 1, 1, 900))
    pictures = load(voc, resize=150)
    assert [key[0] for key in pictures.keys] == ["a.jpg", "b.PNG", "c.jpg"]
    assert counted(pictures, 2)[0] == [[0, 30, 150, 135]]
    words = {
        "broken.xml": "(", "endless.xml": "(", "nameless.xml": "name", "number.xml": "one", "gone.jpg": "not a file",
        "noise.jpg": "known kind", "c.jpg: 4 of 5": "inside", "turned.jpg": "tag", "small.jpg": "40 x 20",
        "unknown.jpg": "no annotation", "phone.heic": ".jpeg", "strip.png": "megapixels",
    }  # fmt: skip
    assert len(pictures.skipped) == len(words)
    for name, word in words.items():
        assert any(name in line and word in line for line in pictures.skipped), name


def test_of_pictures_and_annotations_that_share_a_name_none_is_taken_twice_or_left_out_unsaid(voc):
    picture(40, 20).save(voc / "JPEGImages" / "a.png")
    annotate(voc, "copy", thing("cat", 1, 1, 5, 5), filename="c.jpg")  # which c.xml is about
    (voc / "Annotations" / "gone.xml").symlink_to(voc / "nowhere.xml")
    pictures = load(voc)
    assert [key[0] for key in pictures.keys] == ["a.jpg", "b.PNG"]
    assert pictures.skipped == (
        "gone.xml is no plain file", "c.jpg has 2 annotations", "a.png has no annotation of its own",
    )  # fmt: skip


def test_a_picture_that_breaks_off_is_refused_when_it_is_read(voc):
    file = noise.save(voc / "JPEGImages" / "c.jpg", noise.array(90, 90))
    file.write_bytes(file.read_bytes()[:-2000])  # its header is whole
    said = refusal(DataError, load(voc).picture, 2)
    assert "c.jpg" in said and f"ra_core.data.check {voc / 'JPEGImages'}" in said


def test_the_classes_of_a_detector_fix_the_labels(voc):
    pictures = load(voc, classes=("bird", "dog"))
    assert pictures.classes == ("bird", "dog")
    assert counted(pictures, 0) == ([[0, 0, 40, 20]], [2])
    assert pictures.skipped == ("a.jpg: 1 of 2 boxes are of other classes",)
    assert "3 pictures" in refusal(DataError, load, voc, classes=("bird",))


def test_without_pictures_or_boxes_it_says_so(voc, tmp_path):
    (tmp_path / "empty").mkdir()
    (voc / "JPEGImages").rename(voc / "elsewhere")
    for path in (tmp_path / "nowhere", tmp_path / "empty", voc):
        assert str(path) in refusal(DataError, load, path)


def test_the_shorter_side_is_resized_with_the_boxes(voc):
    pictures = load(voc, resize=10)
    assert [pictures.picture(i).shape for i in range(3)] == [(10, 20, 3), (20, 10, 3), (10, 10, 3)]
    assert pictures.sizes == ((10, 20), (20, 10), (10, 10))
    assert counted(pictures, 0)[0] == [[0, 0, 20, 10], [5, 2.5, 10, 7.5]]
    target = pictures.all_targets()[1]
    assert torch.allclose(target["boxes"], torch.tensor([[2, 4, 12, 24]]) / 3)
    assert target["ignored_boxes"].tolist() == [[0, 0, 3, 3]]


# COCO


@pytest.mark.parametrize("way", ["folder", "part", "file"])
def test_a_coco_folder(coco, way):
    file = coco / "annotations" / "instances_val2017.json"
    if way != "folder":
        for name in ("instances_train2017.json", "captions_val2017.json"):
            (file.parent / name).write_text("{}")
        assert "2 fitting" in refusal(DataError, load, coco)
    pictures = load(*{"folder": (coco,), "part": (coco, "val2017"), "file": (file,)}[way])
    assert pictures.classes == ("airplane", "dog") and pictures.skipped == ()
    assert [key[0] for key in pictures.keys] == ["x.png", "sub/y.png"]
    assert counted(pictures, 0) == ([[0, 0, 40, 20], [10, 5, 20, 15]], [2, 1])
    assert pictures.all_targets()[1]["ignored_boxes"].tolist() == [[1, 2, 4, 6]] and counted(pictures, 1) == ([], [])
    assert np.array_equal(pictures.picture(0), np.asarray(picture(40, 20)))


@pytest.mark.parametrize("place", ["images", "images/val2017", "annotations", "."])
def test_coco_pictures_are_found_in_the_usual_places(coco, place):
    (coco / place).mkdir(parents=True, exist_ok=True)
    for name in ("x.png", "sub"):
        (coco / "val2017" / name).rename(coco / place / name)
    assert load(coco).picture(1).shape == (16, 16, 3)
    (coco / place / "x.png").rename(coco / "elsewhere.png")
    (coco / place / "sub").rename(coco / "elsewhere")
    assert str(coco / "images") in refusal(DataError, load, coco)


BROKEN = [b"", b"[]", b"[" * 100_000, b'{"images": 3, "categories": [], "annotations": []}', b'{"images": []}', b"\xff",
          b'{"images": [], "images": [], "categories": [], "annotations": []}']  # fmt: skip
MISFITS = [
    ("annotations", "bbox", [1, 2, 3]), ("annotations", "bbox", None), ("annotations", "image_id", 99),
    ("annotations", "category_id", 99), ("images", "width", float("inf")), ("images", "id", [1]),
    ("images", "id", 7), ("categories", "id", 18),  # twice, as in files that were merged
    ("images", "file_name", "./x.png"),
]  # fmt: skip


@pytest.mark.parametrize("fault", [*BROKEN, *MISFITS])
def test_a_coco_file_that_is_broken_or_whose_parts_do_not_fit_is_refused(coco, content, fault):
    file = coco / "annotations" / "instances_val2017.json"
    if isinstance(fault, tuple):
        content[fault[0]][1][fault[1]] = fault[2]
    file.write_bytes(json.dumps(content).encode() if isinstance(fault, tuple) else fault)
    assert str(file) in refusal(DataError, load, coco)


def test_coco_boxes_outside_and_pictures_that_are_missing_are_listed(coco, content):
    content["images"] += [{"id": 9, "file_name": "gone.png"}, {"id": 10, "file_name": "../annotations/z.png"}]
    content["images"][1] |= {"width": 99, "height": 16}
    picture(8, 8).save(coco / "annotations" / "z.png")
    for bbox in ([-5, -5, 10, 10], [50, 0, 4, 4], [1, 1, 0, 5], [1, 1, -3, 5], [0, 0, float("inf"), 2]):
        content["annotations"].append({"id": 8, "image_id": 7, "category_id": 5, "bbox": bbox})
    (coco / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
    pictures = load(coco)
    assert counted(pictures, 0)[0][2:] == [[0, 0, 5, 5]] and len(pictures) == 1
    starts = ("x.png: 4 of 7 boxes", "sub/y.png", "gone.png", "../annotations/z.png")
    assert all(line.startswith(start) for line, start in zip(pictures.skipped, starts, strict=True))


def test_a_coco_file_may_begin_with_a_byte_order_mark_and_what_it_does_not_name_is_listed(coco, content):
    content["annotations"][0]["iscrowd"] = "0"
    picture(9, 9).save(coco / "val2017" / "sub" / "more.png")
    (coco / "val2017" / "film.gif").touch()
    file = coco / "annotations" / "instances_val2017.json"
    file.write_text(json.dumps(content), encoding="utf-8-sig")
    pictures = load(coco)
    assert len(counted(pictures, 0)[0]) == 2
    assert [line.split(":")[0] for line in pictures.skipped] == [
        f"sub/more.png has no entry in {file.name}",
        "film.gif",
    ]
    assert load(coco, "val2017").skipped == ()  # another file may name the others


def test_an_annotation_that_may_not_be_read_is_listed(voc, monkeypatch):
    parse = annotations.ElementTree.parse

    def refuse(file):
        if file.name == "b.xml":
            raise PermissionError(13, "Permission denied")
        return parse(file)

    monkeypatch.setattr(annotations.ElementTree, "parse", refuse)
    pictures = load(voc)
    assert [key[0] for key in pictures.keys] == ["a.jpg", "c.jpg"] and "b.xml" in pictures.skipped[0]


def test_two_entries_of_one_coco_picture_are_refused(coco, content):
    content["images"][1]["file_name"] = "x.png"
    (coco / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
    assert "file_name" in refusal(DataError, load, coco)


@pytest.mark.parametrize("name", ["../../../secret.png", "/{}/secret.png", "x" * 5000, "a\0b", ".", "sub/../x.png"])
@pytest.mark.parametrize("kind", ["voc", "coco"])
def test_a_name_that_leads_out_of_its_folder_costs_its_own_picture_alone(tmp_path, kind, name):
    name, root = name.format(tmp_path), boxed.folder(tmp_path / "a" / kind, kind, 4)
    noise.save(tmp_path / "secret.png", picture(9, 9))
    if kind == "voc":
        annotate(root, "zz", thing("red", 1, 1, 5, 5), filename=name.replace("\0", "&#1;"))
    else:
        file = root / "annotations" / "instances_all.json"
        content = json.loads(file.read_text())
        content["images"].insert(0, {"id": 99, "file_name": name})
        file.write_text(json.dumps(content))
    found = load(root)
    assert [key[0] for key in found.keys] == [f"square{number}.png" for number in range(4)] and len(found.skipped) == 1
