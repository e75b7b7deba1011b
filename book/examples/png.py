"""A codec: PNG of fewer colours, as a lossy codec whose quality is the number of them."""

# TODO-CORE: the decorator and the base class, as ra_core.codecs has them.
import io

import numpy as np
from PIL import Image

from ra_core.codecs import codec
from ra_core.codecs.base import Codec, Qualities


@codec("png", title="PNG, few colours", qualities=Qualities(2, 256), suffix=".png")
class Png(Codec):
    """Pictures (H, W, 3) uint8 to files and back, one at a time."""

    def encode_one(self, picture: np.ndarray, quality: float) -> bytes:
        """Return the file of one picture."""
        file = io.BytesIO()
        Image.fromarray(picture).quantize(int(quality)).save(file, "PNG", optimize=True)
        return file.getvalue()

    def decode_one(self, file: bytes) -> np.ndarray:
        """Return the picture of one file."""
        return np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))
