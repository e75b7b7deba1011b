import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ra_core.boundaries import FURTHEST, Plane, answers_on, distance_to_boundary, input_gradients, plane_of
from ra_core.judges.recognizer import Recognizer


class Brightness(nn.Module):
    """Answers 1 where the first value of the first channel is above `edge`, or 0."""

    def __init__(self, edge: float):
        super().__init__()
        self.edge = edge

    def forward(self, images):
        above = images[:, 0, 0, 0] - self.edge
        return torch.stack([-above, above], 1)


def judge(edge: float) -> Recognizer:
    return Recognizer(Brightness(edge), "brightness", (0, 0, 0), (1, 1, 1))


def pictures(count: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, 4, 5, generator=torch.Generator().manual_seed(seed))


@given(st.integers(0, 1000))
def test_both_axes_are_as_long_and_at_right_angles_and_ra_lies_one_step_along(seed):
    plain, ra = pictures(seed=seed), pictures(seed=seed + 1)
    plane = plane_of(plain, ra, torch.Generator().manual_seed(seed))
    along, across = plane.along.flatten(1), plane.across.flatten(1)
    assert torch.allclose((along * across).sum(1), torch.zeros(3), atol=1e-5)
    assert torch.allclose(along.norm(dim=1), across.norm(dim=1))
    assert torch.allclose(plane.at(1, 0), ra) and torch.equal(plane.at(0, 0), plain)


def test_where_ra_changed_nothing_the_plane_is_a_point():
    plane = plane_of(pictures(), pictures(), torch.Generator().manual_seed(0))
    assert torch.equal(plane.at(3, -2), pictures())


def first_value(along: float, across: float) -> Plane:
    """A plane whose first value is 0, and rises along and across as told."""
    start = torch.zeros(2, 3, 4, 4)
    steps = [torch.zeros_like(start) for _ in range(2)]
    for step, rise in zip(steps, (along, across), strict=True):
        step[:, 0, 0, 0] = rise
    return Plane(start, *steps)


def test_answers_on_a_plane_lie_row_by_row_across_and_column_by_column_along():
    found = answers_on(judge(0.5), first_value(1.0, 10.0), torch.tensor([0.0, 0.25, 1.0]), torch.tensor([-1.0, 0.0]))
    assert found.tolist() == [[[0, 0, 0], [0, 0, 1]]] * 2


@given(st.floats(0.01, FURTHEST - 0.01))
def test_a_boundary_is_found_where_it_is(edge):
    plane = first_value(1.0, 0.0)
    found = distance_to_boundary(judge(edge), plane.start, plane.along, parts=4)
    assert ((found - edge).abs() <= 1 / 4 / 2**4 + 1e-6).all()
    assert distance_to_boundary(judge(edge), plane.start, plane.across).isinf().all()


def test_a_boundary_beyond_reach_is_infinitely_far():
    plane = first_value(1.0, 0.0)
    assert distance_to_boundary(judge(FURTHEST + 1), plane.start, plane.along).tolist() == [math.inf] * 2


def test_gradients_are_those_of_the_loss_and_have_length_one():
    images, labels = pictures(), torch.tensor([0, 1, 1])
    found = input_gradients(judge(0.5), images, labels)
    assert found.shape == (3, 60) and torch.allclose(found.norm(dim=1), torch.ones(3))
    assert found[:, 0].tolist() == pytest.approx([1, -1, -1]) and not found[:, 1:].any()
    assert not images.requires_grad
