"""What the codecs that Pillow itself writes and reads have in common."""

import io
from collections.abc import Callable
from importlib.metadata import version

from PIL import Image, features

from ra_core.codecs.base import Codec, pixels


class PillowCodec(Codec):
    """A format that Pillow itself writes and reads."""

    form: str  # Pillow's name of the format
    feature: str  # Pillow's name of the coder
    library: str
    plugin: type
    check: Callable  # raises for a file that this codec did not write, or not wholly, before anything is allocated
    modes = ("RGB",)  # what its files may hold
    takes_profile = True

    def available(self):
        return features.check(self.feature)

    def _versions(self):
        return {"pillow": version("pillow"), self.library: features.version(self.feature) or "none"}

    def _encode(self, picture, quality, **profile):
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, self.form, **self._settings(quality), **profile)
        return buffer.getvalue()

    def _decode(self, file):
        self.check(file)
        return pixels(self.plugin(io.BytesIO(file)), self.modes)  # of this format only; no pixel was decoded yet
