"""Batches read ahead come in order, each once, no earlier than they may, and teach the same."""

import threading

import pytest
import tiny
import torch

from ra_core.training.batches import prefetch, to_device


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
def test_an_error_comes_in_its_turn_and_no_thread_is_left_behind(depth):
    before = threading.active_count()
    numbers = prefetch(lambda n: 1 // (3 - n), range(10), depth)
    assert [next(numbers) for _ in range(3)] == [0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(numbers)
    numbers = prefetch(lambda n: n, range(100), depth)
    next(numbers)
    numbers.close()
    assert threading.active_count() == before


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_bytes_become_the_floats_they_would_have_been(device):
    levels = torch.arange(256, dtype=torch.uint8).repeat(3).view(1, 3, 16, 16)
    for memory in (torch.contiguous_format, torch.channels_last):
        images = to_device(levels, torch.device(device), memory)
        assert torch.equal(images.cpu(), levels.float().div_(255)) and images.device.type == device
        assert images.is_contiguous(memory_format=memory)
    floats = torch.rand(2, 3, 4, 4)
    assert torch.equal(to_device(floats, torch.device(device), torch.contiguous_format).cpu(), floats)


def test_what_is_read_ahead_teaches_the_same_to_the_byte(tmp_path, monkeypatch):
    for name, depth in (("now", 0), ("ahead", 2)):
        monkeypatch.setattr(tiny.Pictures, "prefetch", depth, raising=False)
        tiny.train(tmp_path / name, steps=9, checkpoint_seconds=60)
    assert tiny.weights(tmp_path / "now") == tiny.weights(tmp_path / "ahead")
