"""Batch normalisation over processes, here threads, is that over the whole batch in one."""

import copy
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import torch
from torch import nn

from ra_core.training.processes import Team
from ra_core.training.synced_norm import synced_norms

pytestmark = pytest.mark.usefixtures("one_thread")


class Thread(Team):
    """A process that is a thread."""

    def __init__(self, size, place, barrier, table):
        super().__init__("cpu", size, place)
        self.barrier, self.table = barrier, table

    def add_up(self, tensors):
        self.table[self.place] = [tensor.detach().clone() for tensor in tensors]
        self.barrier.wait(timeout=20)
        summed = [sum(parts) for parts in zip(*self.table, strict=True)]
        self.barrier.wait(timeout=20)
        with torch.no_grad():
            for tensor, value in zip(tensors, summed, strict=True):
                tensor.copy_(value)


def net(**options) -> nn.Sequential:
    torch.manual_seed(0)
    found = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, **options), nn.Tanh(), nn.BatchNorm2d(4, affine=False),
        nn.Flatten(), nn.Linear(4 * 36, 5), nn.BatchNorm1d(5),
    )  # fmt: skip
    if found[1].affine:
        nn.init.uniform_(found[1].weight), nn.init.uniform_(found[1].bias)
    return found


def learn(one: nn.Module, images: torch.Tensor, target: torch.Tensor, share: float) -> torch.Tensor:
    loss = share * (one(images) * target).mean()
    loss.backward()
    return loss.detach()


@pytest.mark.parametrize("sizes", [(3, 3), (5, 2), (1, 4, 2), (4, 0)])
@pytest.mark.parametrize("options", [{}, {"momentum": None}, {"eps": 0.1}], ids=str)
def test_parts_give_the_gradients_and_statistics_of_the_whole(sizes, options):
    count, alone = sum(sizes), net(**options)
    images = 3 + 2 * torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    target = torch.randn(count, 5, generator=torch.Generator().manual_seed(2))
    nets = [copy.deepcopy(alone) for _ in sizes]
    expected = learn(alone, images, target, 1.0)
    barrier, table = Barrier(len(sizes)), [[] for _ in sizes]

    def work(place: int) -> torch.Tensor:
        begin, size = sum(sizes[:place]), sizes[place]
        part = slice(begin, begin + size) if size else slice(0, 1)  # of one without pictures the first, for nothing
        team = Thread(len(sizes), place, barrier, table)
        with synced_norms([nets[place]], team, counts=size > 0):
            return learn(nets[place], images[part], target[part], size / count)

    with ThreadPoolExecutor(len(sizes)) as pool:
        losses = list(pool.map(work, range(len(sizes))))
    torch.testing.assert_close(sum(losses), expected, rtol=1e-4, atol=1e-6)
    for name, parameter in alone.named_parameters():
        summed = sum(dict(one.named_parameters())[name].grad for one in nets)
        torch.testing.assert_close(summed, parameter.grad, rtol=1e-3, atol=1e-5, msg=name)
    for one in nets:
        for name, value in alone.named_buffers():
            torch.testing.assert_close(dict(one.named_buffers())[name], value, rtol=1e-5, atol=1e-6, msg=name)
        assert all("forward" not in vars(module) for module in one.modules())


def test_one_process_and_evaluation_are_left_alone():
    one, images = net(), torch.randn(2, 3, 8, 8)
    with synced_norms([one], Team("cpu"), counts=True):
        assert all("forward" not in vars(module) for module in one.modules())
    expected = one.eval()(images)
    with synced_norms([one], Team("cpu", 2), counts=True):  # nobody is asked
        assert torch.equal(one(images), expected)


def test_sixteen_bits_stay_sixteen_and_the_layout_stays():
    team = Thread(1, 0, Barrier(1), [[]])
    team.size = 2
    team.table = [[], []]
    norm, x = nn.BatchNorm2d(4), torch.randn(2, 4, 5, 5).bfloat16().to(memory_format=torch.channels_last)
    alone = copy.deepcopy(norm)(x.float())
    team.add_up = lambda tensors: None  # the other has nothing
    with synced_norms([norm], team, counts=True):
        out = norm(x)
    assert out.dtype == torch.bfloat16 and out.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(out.float(), alone, rtol=2e-2, atol=2e-2)
