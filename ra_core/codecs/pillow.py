"""What the codecs that Pillow itself writes and reads have in common."""

import io
from collections.abc import Callable
from importlib.metadata import version

import numpy as np
from PIL import Image, features

from ra_core.codecs.base import Codec, check_size

SUBSAMPLINGS = ("4:2:0", "4:4:4")


class PillowCodec(Codec):
    """A format that Pillow itself writes and reads."""

    form: str  # Pillow's name of the format
    feature: str  # Pillow's name of the coder
    library: str
    plugin: type
    check: Callable  # raises `ValueError` for a file that this codec did not write, or not wholly
    modes = ("RGB",)  # what its files may hold

    def available(self):
        return features.check(self.feature)

    def _versions(self):
        return {"pillow": version("pillow"), self.library: features.version(self.feature) or "none"}

    def _encode(self, picture, quality):
        return self._save(picture, self._settings(quality))

    def _save(self, picture, settings):
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, self.form, **settings)
        return buffer.getvalue()

    def _open(self, file: bytes):
        """Return the opened picture, of this format only, with its header and its declared size checked."""
        self.check(file)
        image = self.plugin(io.BytesIO(file))
        check_size(*image.size)
        if image.mode not in self.modes:
            raise ValueError(f"its pixels are {image.mode} and not {' or '.join(self.modes)}")
        return image

    def _decode(self, file):
        image = self._open(file)
        image.load()
        return np.array(image if image.mode == "RGB" else image.convert("RGB"))
