"""JPEG by libjpeg-turbo through Pillow."""

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from PIL import Image, JpegImagePlugin, features

from ra_core.codecs.base import Qualities, is_grey, register
from ra_core.codecs.jpeg_files import check_jpeg
from ra_core.codecs.pillow import PillowCodec


@dataclass(frozen=True)
class JpegCodec(PillowCodec):
    """JPEG; `optimize` computes the Huffman tables of each picture.

    A picture of three equal channels is stored as grey, as its owner would: empty chroma blocks cost bits too. What is
    decoded is the same to the bit. With `tables`, luma's and chroma's row by row, the file has these in place of those
    of the quality, which then is only a name.
    """

    subsampling: str = "4:2:0"  # or 4:4:4
    optimize: bool = False
    tables: tuple[tuple[int, ...], ...] = field(default=(), repr=False)  # as trainings know a codec by its repr
    suffix, form, feature, library = ".jpg", "JPEG", "jpg", "libjpeg API"
    plugin, modes = JpegImagePlugin.JpegImageFile, ("RGB", "L")
    check = staticmethod(check_jpeg)
    qualities = Qualities("JPEG quality", 1, 100, better="up")
    serial_below = 2**17

    @property
    def name(self) -> str:
        return "jpeg" + "-444" * (self.subsampling == "4:4:4") + "-optimized" * self.optimize

    def with_tables(self, tables: Sequence[Sequence[int]]) -> "JpegCodec":
        """Return this codec with two tables of quantisation of one's own, of whole numbers from 1 to 255."""
        return replace(self, tables=tuple(tuple(map(int, table)) for table in tables))

    def _settings(self, quality):
        quantised = {"qtables": [list(table) for table in self.tables]} if self.tables else {"quality": quality}
        return quantised | {"subsampling": self.subsampling, "optimize": self.optimize}

    def _versions(self):
        return super()._versions() | {"libjpeg-turbo": features.version("libjpeg_turbo") or "none"}

    def _encode(self, picture, quality, **profile):
        settings = self._settings(quality) | profile
        if is_grey(picture):  # which a profile of RGB colours does not fit
            picture, settings = picture[..., 0], self._settings(quality)
            del settings["subsampling"]
            settings |= {"qtables": settings["qtables"][:1]} if self.tables else {}
        # Pillow lets other threads run only while it writes to a file of the system, which here is memory.
        alone = picture.size < 3 * self.serial_below or not hasattr(os, "memfd_create")
        with io.BytesIO() if alone else open(os.memfd_create("picture.jpg"), "w+b", buffering=0) as file:
            Image.fromarray(picture).save(file, self.form, **settings)
            file.seek(0)
            return file.read()


for title, usual in (
    ("JPEG", {}),
    ("JPEG, optimized", {"optimize": True}),
    ("JPEG 4:4:4", {"subsampling": "4:4:4"}),
    ("JPEG 4:4:4, optimized", {"subsampling": "4:4:4", "optimize": True}),
):
    register(title, milliseconds=0.5, stand_in="jpeg", **usual)(JpegCodec)
