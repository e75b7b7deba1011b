import hashlib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from refusal import refusal

from ra_core import data
from ra_core.data.pictures import as_batch, evenly_spaced
from ra_core.errors import DataError


def make(labels, seed=0, classes=None):
    """Distinct random pictures of 4 x 5 with the given labels."""
    labels = torch.tensor(labels)
    images = torch.randint(0, 256, (len(labels), 3, 4, 5), generator=torch.Generator().manual_seed(seed))
    count = classes or int(labels.max()) + 1
    return data.Pictures(images.to(torch.uint8), labels, tuple(f"class{i}" for i in range(count)), "made")


def all_classes(most):
    """Labels of three classes, each present at least `most` times, in any order."""
    extra = st.lists(st.integers(0, 2), max_size=12)
    return extra.flatmap(lambda more: st.permutations([0, 1, 2] * most + more))


def test_a_batch_is_exactly_what_is_stored():
    pictures = make([0, 1, 2, 1])
    images, labels = pictures.batch(torch.tensor([3, 0]))
    assert torch.equal(images, pictures.images[[3, 0]] / 255) and labels.tolist() == [1, 0]


def test_a_training_batch_mirrors_about_half_of_the_pictures():
    pictures, indices = make([0] * 1000), torch.arange(1000)
    stored, _ = pictures.batch(indices)
    images, _ = pictures.training_batch(indices, torch.Generator().manual_seed(0))
    torch.rand(5)  # the global random state has no say
    assert torch.equal(images, pictures.training_batch(indices, torch.Generator().manual_seed(0))[0])
    assert torch.equal(stored, pictures.batch(indices)[0])
    kept = (images == stored).flatten(1).all(1)
    mirrored = (images == stored.flip(-1)).flatten(1).all(1)
    assert (kept ^ mirrored).all()
    assert 420 < int(mirrored.sum()) < 580  # five standard deviations


@given(order=st.permutations(range(4)))
def test_the_fingerprint_is_the_hash_of_the_sorted_hashes_of_labels_and_pixels(order):
    pictures = make([3, 0, 1, 1000])
    digests = sorted(
        hashlib.sha256(label.to_bytes(1 + (label > 255), "little") + bytes(image.flatten().tolist())).digest()
        for image, label in zip(pictures.images, pictures.labels.tolist(), strict=True)
    )
    found = data.fingerprint(pictures.subset(torch.tensor(order), "other"))
    assert found == hashlib.sha256(b"".join(digests)).hexdigest()


@given(labels=all_classes(3), count=st.integers(1, 3))
def test_first_per_class_takes_the_first_of_each_class_in_order(labels, count):
    pictures = make(labels)
    chosen = data.first_per_class(pictures, count)
    expected = sorted(i for c in range(3) for i in [k for k, y in enumerate(labels) if y == c][:count])
    assert torch.equal(chosen.images, pictures.images[expected])
    assert chosen.labels.bincount().tolist() == [count] * 3


@given(labels=all_classes(3), aside=st.integers(1, 2))
def test_a_split_is_disjoint_complete_and_sets_aside_the_last_of_each_class(labels, aside):
    pictures = make(labels)
    split = data.split_train(pictures, aside)
    expected = sorted(i for c in range(3) for i in [k for k, y in enumerate(labels) if y == c][-aside:])
    rest = [i for i in range(len(labels)) if i not in expected]
    assert torch.equal(split["validation"].images, pictures.images[expected])
    assert torch.equal(split["train"].images, pictures.images[rest])
    assert split["validation"].labels.bincount().tolist() == [aside] * 3
    assert [split[part].name for part in ("train", "validation")] == ["made/train", "made/validation"]


@pytest.mark.parametrize("count", [-2, 0, 3])
@pytest.mark.parametrize("call", [data.first_per_class, data.split_train])
def test_more_than_the_smallest_class_has_is_refused(call, count):
    said = refusal(DataError, call, make([0, 0, 1, 1, 1]), count)
    assert f"{count} pictures" in said and "smallest class has 2" in said
    assert "class has 0" in refusal(DataError, call, make([0] * 5, classes=2), 1)


def test_some_pictures_at_even_distances_or_the_first_as_one_batch():
    pictures = make(list(range(12)))
    assert evenly_spaced(pictures, 5).labels.tolist() == [0, 2, 4, 7, 9]
    assert all(evenly_spaced(pictures, count) is pictures for count in (0, 12, 99))
    assert [as_batch(pictures, count)[1].tolist() for count in (3, 0, 99)] == [[0, 1, 2], *[list(range(12))] * 2]
