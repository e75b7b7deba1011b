import boxed
import numpy as np
import torch

from ra_core.data import as_batch, fingerprint
from ra_core.data.boxes import BoxedPictures, Objects, by_size, clip, common_name, in_batches, mirror


def test_a_batch_holds_the_pictures_and_what_is_in_them():
    pictures = boxed.pictures(5)
    images, targets = pictures.batch(torch.tensor([3, 1]))
    assert images.shape == (2, 3, 64, 64) and images.dtype == torch.float32
    for image, target, index in zip(images, targets, (3, 1), strict=True):
        stored = pictures.picture(index)
        assert stored.dtype == np.uint8 and stored.shape == (64, 64, 3)
        assert torch.equal(image, torch.from_numpy(stored).permute(2, 0, 1) / 255)
        assert all(torch.equal(target[key], value) for key, value in pictures.objects[index].target().items())
        left, top, right, bottom = target["boxes"][0].int().tolist()
        inside = image[target["labels"][0] - 1, top:bottom, left:right]
        assert (inside == 230 / 255).all() and (image > 0.9).sum() == inside.numel()


def test_training_pictures_are_mirrored_with_their_boxes_half_of_the_time():
    pictures, indices = boxed.pictures(60), torch.arange(60)
    plain, targets = pictures.batch(indices)
    images, mirrored_targets = pictures.training_batch(indices, torch.Generator().manual_seed(0))
    again, _ = pictures.training_batch(indices, torch.Generator().manual_seed(0))
    assert torch.equal(images, again)
    flipped = 0
    for index in range(60):
        box = mirrored_targets[index]["boxes"]
        if torch.equal(images[index], plain[index].flip(-1)) and not torch.equal(images[index], plain[index]):
            flipped += 1
            assert torch.equal(box, mirror(targets[index]["boxes"], 64))
        else:
            assert torch.equal(images[index], plain[index]) and torch.equal(box, targets[index]["boxes"])
        left, top, right, bottom = box[0].int().tolist()
        assert (images[index, index % 3, top:bottom, left:right] == 230 / 255).all()
    assert 20 <= flipped <= 40
    assert torch.equal(pictures.objects[0].boxes, boxed.pictures(60).objects[0].boxes)  # the set is as it was


def test_mirroring_and_clipping():
    boxes = torch.tensor([[1.0, 2.0, 5.0, 9.0], [0.0, 0.0, 10.0, 4.0]])
    assert mirror(boxes, 10).tolist() == [[5, 2, 9, 9], [0, 0, 10, 4]]
    assert torch.equal(mirror(mirror(boxes, 10), 10), boxes)
    assert mirror(torch.zeros(0, 4), 10).shape == (0, 4)
    outside = torch.tensor([[-3.0, 1.0, 4.0, 99.0], [20.0, 1.0, 30.0, 5.0]])
    assert clip(outside, 10, 8).tolist() == [[0, 1, 4, 8], [10, 1, 10, 5]]


def test_ignored_objects_stand_apart():
    boxes, labels = torch.tensor([[0.0, 0, 4, 4], [1, 1, 9, 9], [2, 2, 6, 6]]), torch.tensor([1, 2, 3])
    objects = Objects(boxes, labels, torch.tensor([False, True, False]))
    pictures = BoxedPictures(((16, 0, 0, 4, 0),), boxed.paint, (objects,), boxed.CLASSES, "crowd")
    target = pictures.all_targets()[0]
    assert target["boxes"].tolist() == [[0, 0, 4, 4], [2, 2, 6, 6]] and target["labels"].tolist() == [1, 3]
    assert target["ignored_boxes"].tolist() == [[1, 1, 9, 9]] and target["ignored_labels"].tolist() == [2]
    _, (mirrored,) = pictures.training_batch(torch.tensor([0]), torch.Generator().manual_seed(2))
    assert mirrored["ignored_boxes"].tolist() in ([[7, 1, 15, 9]], [[1, 1, 9, 9]])
    assert (mirrored["boxes"].tolist() == [[0, 0, 4, 4], [2, 2, 6, 6]]) == (
        mirrored["ignored_boxes"].tolist() == [[1, 1, 9, 9]]
    )


def test_the_fingerprint_knows_pictures_boxes_labels_and_what_is_ignored_but_no_order():
    pictures = boxed.pictures(3)
    same = fingerprint(pictures)
    assert fingerprint(boxed.pictures(3)) == fingerprint(pictures.subset(torch.tensor([2, 0, 1]), "turned")) == same

    def changed(**changes):
        values = {key: getattr(pictures.objects[0], key) for key in ("boxes", "labels", "ignored")}
        objects = (Objects(**values | changes), *pictures.objects[1:])
        return fingerprint(BoxedPictures(pictures.keys, boxed.paint, objects, boxed.CLASSES, "changed"))

    others = {fingerprint(boxed.pictures(4)), fingerprint(boxed.pictures(3, seed=1))}
    others |= {changed(boxes=pictures.objects[0].boxes + 1), changed(labels=torch.tensor([3]))}
    others.add(changed(ignored=torch.tensor([True])))
    assert len(others) == 5 and same not in others


# Pictures of several sizes


def test_batches_are_in_order_and_never_of_two_sizes():
    pictures = boxed.mixed(8)  # 64, 50, 64, 64, 50, 64, 64, 50
    assert [batch.tolist() for batch in in_batches(pictures, 3)] == [[number] for number in range(8)]
    assert [b.tolist() for b in in_batches(pictures, 8)] == [[0], [1], [2, 3], [4], [5, 6], [7]]
    assert [pictures.batch(b)[0].shape[-1] for b in in_batches(pictures, 8)] == [64, 50, 64, 50, 64, 50]
    assert [b.tolist() for b in in_batches(boxed.pictures(5), 2)] == [[0, 1], [2, 3], [4]]


def test_a_training_batch_of_several_sizes_says_what_is_picture():
    pictures, indices = boxed.mixed(30), torch.arange(30)
    images, targets = pictures.training_batch(indices, torch.Generator().manual_seed(0))
    assert images.shape == (30, 3, 64, 64)
    groups = by_size(targets)
    assert {size: len(chosen) for size, chosen in groups.items()} == {(64, 64): 20, (50, 50): 10}
    mirrored = 0
    for number, target in enumerate(targets):
        height, width = target["size"].tolist()
        shown, (clean,) = images[number, :, :height, :width], pictures.batch(torch.tensor([number]))[0]
        assert not images[number, :, height:].any() and not images[number, :, :, width:].any()
        left, top, right, bottom = target["boxes"][0].int().tolist()
        assert (shown[target["labels"][0] - 1, top:bottom, left:right] == 230 / 255).all()
        mirrored += not torch.equal(shown, clean)
        assert torch.equal(shown, clean) or torch.equal(shown, clean.flip(-1))
    assert 5 < mirrored < 25
    alike = boxed.pictures(4).training_batch(torch.arange(4), torch.Generator().manual_seed(0))[1]
    assert by_size(alike) == by_size(torch.zeros(3)) == by_size(None) == {}


def test_pictures_are_cut_around_their_middle_to_one_size():
    pictures = boxed.mixed(6).subset(torch.tensor([1, 2, 3]), "three")
    assert pictures.sizes == ((50, 50), (64, 64), (64, 64)) and pictures.name == "three"
    images, targets = as_batch(pictures)
    assert torch.equal(images[1], pictures.batch(torch.tensor([1]))[0][0][:, 7:57, 7:57])
    assert torch.equal(targets[1]["boxes"], (pictures.objects[1].boxes - 7).clamp(0, 50))
    assert targets[0]["boxes"].equal(pictures.objects[0].boxes)
    assert as_batch(pictures.subset(torch.tensor([1, 2]), "two"))[0].shape == (2, 3, 64, 64)
    assert as_batch(boxed.pictures(3), 2)[0].equal(boxed.pictures(3).batch(torch.arange(2))[0])


def test_names_of_classes_are_compared_without_their_spelling():
    assert common_name("Potted_plant") == common_name("pottedplant")
    assert common_name("aeroplane") == common_name("Airplane") and common_name("tvmonitor") == "tv"
    assert common_name("car") != common_name("cart")


def test_pictures_are_cut_to_multiples_and_their_boxes_with_them():
    pictures = boxed.mixed(6)  # of 64 and of 50 pixels
    cut = pictures.cut_to_multiples(16)
    assert cut.sizes == tuple((64, 64) if side == (64, 64) else (48, 48) for side in pictures.sizes)
    for i, (height, width) in enumerate(cut.sizes):
        assert np.array_equal(cut.picture(i), pictures.picture(i)[:height, :width])
        [box], [before] = cut.objects[i].boxes.tolist(), pictures.objects[i].boxes.tolist()
        assert box == [*before[:2], min(before[2], width), min(before[3], height)]
    alone = boxed.pictures(3, side=50).cut_to_multiples(4)
    assert alone.sizes == ((48, 48),) * 3 and alone.batch(torch.arange(3))[0].shape == (3, 3, 48, 48)


def test_the_pictures_that_have_the_size_of_most_are_known():
    assert boxed.mixed(6).of_one_size().tolist() == [0, 2, 3, 5]
    assert boxed.pictures(3).of_one_size().tolist() == [0, 1, 2]
