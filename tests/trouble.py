"""Trainings that break off or go wrong in one step."""

import math
from contextlib import contextmanager

import pytest
from torch import nn

from ra_core.channels import Noise
from ra_core.judges import Judge


class Interrupt(BaseException):
    """Stands for whatever ends a process in the middle."""


class Raises(Judge):
    """A judge that must not be run."""

    def __init__(self):
        super().__init__(nn.Identity(), "raises")

    def task_loss(self, *given):
        raise AssertionError("the judge was run")

    distance = task_loss


class Troubled(Noise):
    """Noise with something wrong in one step of the process, the first being 1."""

    def __init__(self, step: int):
        super().__init__(0.1)
        object.__setattr__(self, "left", [step])  # a channel is frozen

    def __repr__(self):
        return repr(Noise(self.sigma))

    def __call__(self, images, generator=None, indices=None):
        self.left[0] -= 1
        images = super().__call__(images, generator, indices)
        return self.spoil(images) if self.left[0] == 0 else images


class Interrupted(Troubled):
    """It breaks off."""

    def spoil(self, images):
        raise Interrupt


class Spoiled(Troubled):
    """Its pictures are no numbers."""

    def spoil(self, images):
        return images * math.nan


@contextmanager
def killed(monkeypatch, objective: type, step: int):
    """Kill the training inside when it asks an objective of that kind for the terms of its step of that number."""
    terms, calls = objective.terms, []

    def kill(self, networks, batch):
        calls.append(1)
        if len(calls) == step:
            raise Interrupt
        return terms(self, networks, batch)

    with monkeypatch.context() as patch, pytest.raises(Interrupt):
        patch.setattr(objective, "terms", kill)
        yield
