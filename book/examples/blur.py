"""A task: pictures are blurred, and a processor is to sharpen them."""

from dataclasses import dataclass

from torchvision.transforms.functional import gaussian_blur

from ra_core.channels import Channel, parameter, task
from ra_core.metrics import to_8bit


@task("blur", "deblurring")
@dataclass(frozen=True)
class Blur(Channel):
    """Gaussian blur of standard deviation `blur` pixels, rounded to 8 bits."""

    blur: float = parameter(1.0, "blur: standard deviation in pixels", gt=0, le=4)

    def __call__(self, images, generator=None, indices=None):
        return to_8bit(gaussian_blur(images, kernel_size=9, sigma=self.blur))
