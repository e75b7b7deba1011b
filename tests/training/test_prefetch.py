"""Batches made ahead come in order, each once, and no earlier than they may."""

import threading

import pytest
import torch

from ra_core.training.prefetch import pin, prefetch, to_device

CPU = torch.device("cpu")


@pytest.mark.parametrize("depth", [0, 1, 3, 20])
def test_everything_comes_once_in_order_and_no_more_is_made_than_asked_for(depth):
    made, elsewhere = [], set()

    def make(number):
        made.append(number)
        elsewhere.add(threading.current_thread() is not threading.main_thread())
        return number

    for count, number in enumerate(prefetch(make, range(10), depth)):
        assert count == number and len(made) <= number + depth + 1
    assert made == list(range(10)) and elsewhere == {depth > 0}
    assert list(prefetch(make, range(0), depth)) == []


def test_the_next_is_made_while_the_present_one_is_used():
    begun = threading.Event()

    def make(number):
        if number == 1:
            begun.set()
        return number

    for number in prefetch(make, range(2), 1):
        assert number or begun.wait(10)


@pytest.mark.parametrize("depth", [0, 2])
def test_an_error_comes_in_its_turn(depth):
    numbers = prefetch(lambda n: 1 // (3 - n), range(10), depth)
    assert [next(numbers) for _ in range(3)] == [0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(numbers)


def test_whoever_stops_early_leaves_no_thread_behind():
    before = threading.active_count()
    numbers = prefetch(lambda n: n, range(100), 3)
    next(numbers)
    numbers.close()
    assert threading.active_count() == before


def test_bytes_become_the_floats_they_would_have_been():
    levels = torch.arange(256, dtype=torch.uint8).repeat(3).view(1, 3, 16, 16)
    for memory in (torch.contiguous_format, torch.channels_last):
        images = to_device(levels, CPU, memory)
        assert torch.equal(images, levels.float().div_(255)) and images.is_contiguous(memory_format=memory)
    floats = torch.rand(2, 3, 4, 4)
    assert torch.equal(to_device(floats, CPU, torch.contiguous_format), floats) and pin(levels, CPU) is levels


@pytest.mark.gpu
def test_a_gpu_gets_bytes_out_of_pinned_memory():
    place, levels = torch.device("cuda"), torch.randint(256, (2, 3, 8, 8), dtype=torch.uint8)
    waiting = pin(levels, place)
    images = to_device(waiting, place, torch.channels_last)
    assert waiting.is_pinned() and images.is_cuda and torch.equal(images.cpu(), levels.float().div_(255))
