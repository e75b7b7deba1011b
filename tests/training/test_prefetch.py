"""Batches made ahead come in order, each once, and no earlier than they may."""

import threading

import pytest
import torch

from ra_core.training.prefetch import ahead, on_device, pinned

CPU = torch.device("cpu")


@pytest.mark.parametrize("depth", [0, 1, 2, 7])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_everything_comes_once_and_in_order(depth, count):
    assert list(ahead(lambda n: n * n, range(count), depth)) == [n * n for n in range(count)]


@pytest.mark.parametrize(("depth", "most"), [(0, 1), (1, 2), (3, 4)])
def test_no_more_is_made_ahead_than_asked_for(depth, most):
    made, elsewhere = [], set()

    def make(number):
        made.append(number)
        elsewhere.add(threading.current_thread() is not threading.main_thread())
        return number

    for number in ahead(make, range(10), depth):
        assert len(made) <= number + most
    assert made == list(range(10)) and elsewhere == {depth > 0}


def test_the_next_is_made_while_the_present_one_is_used():
    begun = threading.Event()

    def make(number):
        if number == 1:
            begun.set()
        return number

    for number in ahead(make, range(2), 1):
        assert number or begun.wait(10)


@pytest.mark.parametrize("depth", [0, 2])
def test_an_error_comes_in_its_turn_and_ends_it(depth):
    def make(number):
        if number == 3:
            raise ValueError("three")
        return number

    seen = []
    with pytest.raises(ValueError, match="three"):
        seen.extend(ahead(make, range(10), depth))
    assert seen == [0, 1, 2] or seen == []  # a list keeps nothing of what raised
    one_by_one = ahead(make, range(10), depth)
    assert [next(one_by_one) for _ in range(3)] == [0, 1, 2]


def test_whoever_stops_early_leaves_no_thread_behind():
    before = threading.active_count()
    numbers = ahead(lambda n: n, range(100), 3)
    next(numbers)
    numbers.close()
    assert threading.active_count() == before


def test_bytes_become_the_floats_they_would_have_been():
    levels = torch.arange(256, dtype=torch.uint8).repeat(3).view(1, 3, 16, 16)
    for memory in (torch.contiguous_format, torch.channels_last):
        images = on_device(levels, CPU, memory)
        assert torch.equal(images, levels.float().div_(255)) and images.is_contiguous(memory_format=memory)
    floats = torch.rand(2, 3, 4, 4)
    assert torch.equal(on_device(floats, CPU, torch.contiguous_format), floats)
    assert pinned(levels, CPU) is levels


@pytest.mark.gpu
def test_a_gpu_gets_bytes_out_of_pinned_memory():
    place, levels = torch.device("cuda"), torch.randint(256, (2, 3, 8, 8), dtype=torch.uint8)
    waiting = pinned(levels, place)
    assert waiting.is_pinned()
    images = on_device(waiting, place, torch.channels_last)
    assert images.device.type == "cuda" and torch.equal(images.cpu(), levels.float().div_(255))
