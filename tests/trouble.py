"""Channels with which a training breaks off or goes wrong in one step."""

import math

from ra_core.channels import Noise


class Interrupt(Exception):
    """Stands for whatever ends a process in the middle."""


class Troubled(Noise):
    """Noise with something wrong in one step of the process, the first being 1."""

    def __init__(self, step: int):
        super().__init__(0.1)
        object.__setattr__(self, "left", [step])  # a channel is frozen

    def __repr__(self):
        return repr(Noise(self.sigma))


class Interrupted(Troubled):
    """It breaks off."""

    def __call__(self, images, generator=None, indices=None):
        self.left[0] -= 1
        if self.left[0] == 0:
            raise Interrupt
        return super().__call__(images, generator, indices)


class Spoiled(Troubled):
    """Its pictures are no numbers."""

    def __call__(self, images, generator=None, indices=None):
        self.left[0] -= 1
        return super().__call__(images, generator, indices) * (math.nan if self.left[0] == 0 else 1)
