"""A task: pictures are blurred, and a processor is to sharpen them."""

# TODO-CORE: the decorator and what a channel answers, as ra_core.channels has them.
from dataclasses import dataclass

from torchvision.transforms.functional import gaussian_blur

from ra_core.channels import task
from ra_core.metrics import to_8bit


@task("blur", title="deblurring")
@dataclass(frozen=True)
class Blur:
    """Gaussian blur of standard deviation `sigma` pixels, rounded to 8 bits."""

    sigma: float = 1.0
    scale = 1  # how much larger the processor's output is than its input

    def __call__(self, images, generator=None, indices=None):
        return to_8bit(gaussian_blur(images, kernel_size=9, sigma=self.sigma))

    def transmit(self, images, generator=None, indices=None):
        """Return the blurred pictures; no bytes are counted."""
        return self(images, generator, indices), None

    def enlarge(self, degraded):
        """Return the picture as it is: blur keeps the size."""
        return degraded
