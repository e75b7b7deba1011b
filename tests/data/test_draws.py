"""Random numbers of a step: those of a picture are the same however its batch is divided."""

import noise
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st

from ra_core.channels import Noise
from ra_core.data.crops import Crops
from ra_core.data.draws import StepGenerator, draw
from ra_core.data.folders import load_tree


@given(count=st.integers(1, 20), cut=st.integers(0, 20), seed=st.integers(0, 2**40))
def test_parts_of_a_draw_make_up_the_whole(count, cut, seed):
    cut = min(cut, count)
    whole = torch.rand(count, 3, generator=torch.Generator().manual_seed(seed))
    parts = [slice(0, cut), slice(cut, count)]
    drawn = [draw(torch.rand, (p.stop - p.start, 3), StepGenerator(seed, count, p)) for p in parts]
    assert torch.equal(torch.cat(drawn), whole)


def test_any_other_generator_knows_of_no_batch_but_the_callers():
    made = [torch.Generator().manual_seed(3) for _ in range(2)]
    assert torch.equal(draw(torch.randn, (2, 3), made[0]), torch.randn(2, 3, generator=made[1]))


def tree(folder):
    """Return four pictures of a folder."""
    for i in range(4):
        noise.save(folder / "train" / "ab"[i % 2] / f"{i}.png", noise.array(20, 24, i))
    return load_tree(folder, "train", resize=20, crop=12)


@pytest.mark.parametrize("kind", ["memory", "folder", "crops"])
def test_a_picture_is_cut_and_mirrored_the_same_in_any_part(tmp_path, kind):
    pictures = tiny.pictures(9) if kind == "memory" else tree(tmp_path)
    pictures = Crops((pictures,), sides=(4, 8)) if kind == "crops" else pictures
    order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(0))

    def batch(part: slice) -> torch.Tensor:
        return pictures.training_batch(order[part], StepGenerator(7, len(order), part))[0]

    whole = batch(slice(0, len(order)))
    assert torch.equal(torch.cat([batch(slice(0, 1)), batch(slice(1, len(order)))]), whole)
    plain = pictures.training_batch(order, torch.Generator().manual_seed(7))[0]
    assert torch.equal(whole, plain)


def test_noise_is_that_of_the_place_in_the_batch():
    images = tiny.pictures(5).batch(torch.arange(5))[0]
    whole = Noise(0.1)(images, torch.Generator().manual_seed(4))
    parts = [Noise(0.1)(images[p], StepGenerator(4, 5, p)) for p in (slice(0, 2), slice(2, 5))]
    assert torch.equal(torch.cat(parts), whole)
