import tiny
import torch
from refusal import refusal

from ra_core.data import fingerprint
from ra_core.data.crops import Crops
from ra_core.errors import DataError

SETS = (tiny.pictures(3, 0, "one"), tiny.pictures(2, 1, "two"))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def windows(image: torch.Tensor, side: int) -> list[torch.Tensor]:
    """Every crop of a picture, and its mirror image."""
    room = range(image.shape[-1] - side + 1)
    found = [image[:, top : top + side, left : left + side] for top in room for left in room]
    return [*found, *(crop.flip(-1) for crop in found)]


def test_crops_lie_in_their_pictures_mirrored_or_not():
    crops = Crops(SETS, sides=(14,))
    assert (len(crops), crops.name) == (5, "one + two")
    pictures = torch.cat([one.batch(torch.arange(len(one)))[0] for one in SETS])
    for index in range(5):
        images, labels = crops.training_batch(torch.full((60,), index), generator(index))
        assert images.shape == (60, 3, 14, 14) and labels is None
        known = windows(pictures[index], 14)
        seen = {next(i for i, crop in enumerate(known) if torch.equal(crop, image)) for image in images}
        assert len(seen) > 12  # of the 18 there are
        assert min(seen) < 9 <= max(seen)


def test_a_batch_has_one_side_and_follows_from_its_generator():
    crops = Crops(SETS, sides=(8, 16))
    batches = [crops.training_batch(torch.arange(5), generator(seed))[0] for seed in range(20)]
    assert {batch.shape[-1] for batch in batches} == {8, 16}
    assert torch.equal(batches[3], crops.training_batch(torch.arange(5), generator(3))[0])


def test_its_pictures_are_those_of_its_sets():
    assert fingerprint(Crops(SETS)) == fingerprint(Crops(SETS[::-1])) != fingerprint(Crops(SETS[:1]))


def test_a_picture_that_is_too_small_is_refused():
    said = refusal(DataError, Crops(SETS, sides=(17,)).training_batch, torch.tensor([4]), generator())
    assert "two" in said and "16 x 16" in said and "17" in said
