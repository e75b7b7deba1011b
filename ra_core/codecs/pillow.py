"""Codecs that Pillow itself writes and reads: JPEG, WebP, AVIF, JPEG 2000."""

import io
import os
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
from PIL import AvifImagePlugin, Image, Jpeg2KImagePlugin, JpegImagePlugin, WebPImagePlugin, features

from ra_core.codecs.base import MAX_PIXELS, Codec, Qualities, check_choice, check_size, check_whole, is_grey
from ra_core.codecs.headers import check_heif, check_jpeg, check_jpeg2000, check_jpeg_work, check_webp

SUBSAMPLINGS = ("4:2:0", "4:4:4")


class _PillowCodec(Codec):
    """A format that Pillow itself writes and reads."""

    form: str  # Pillow's name of the format
    feature: str  # Pillow's name of the coder
    library: str
    plugin: type
    modes = ("RGB",)  # what its files may hold

    def available(self):
        return features.check(self.feature)

    def _versions(self):
        return {"pillow": version("pillow"), self.library: features.version(self.feature) or "none"}

    def _encode(self, picture, quality):
        return self._save(picture, self._settings(quality))

    def _save(self, picture: np.ndarray, settings: dict) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, self.form, **settings)
        return buffer.getvalue()

    def _open(self, file: bytes):
        """Return the opened picture, of this format only, with its declared size checked."""
        image = self.plugin(io.BytesIO(file))
        check_size(*image.size)
        if image.mode not in self.modes:
            raise ValueError(f"its pixels are {image.mode} and not {' or '.join(self.modes)}")
        return image

    def _decode(self, file):
        image = self._open(file)
        image.load()
        return np.array(image if image.mode == "RGB" else image.convert("RGB"))


@dataclass(frozen=True)
class JpegCodec(_PillowCodec):
    """JPEG by libjpeg-turbo; `optimize` computes the Huffman tables of each picture.

    A picture of three equal channels is stored as grey, as its owner would: empty chroma blocks cost bits too.
    """

    subsampling: str = "4:2:0"  # or "4:4:4"
    optimize: bool = False
    suffix, form, feature, library = ".jpg", "JPEG", "jpg", "libjpeg API"
    plugin, modes = JpegImagePlugin.JpegImageFile, ("RGB", "L")
    qualities = Qualities("JPEG quality", 1, 100, better="up")
    alone_below = 2**17

    def __post_init__(self):
        check_choice("JPEG subsampling", self.subsampling, SUBSAMPLINGS)
        check_choice("JPEG optimize", str(self.optimize), ("True", "False"))

    @property
    def name(self) -> str:
        return "jpeg" + "-444" * (self.subsampling == "4:4:4") + "-optimized" * self.optimize

    def _settings(self, quality):
        return {"quality": quality, "subsampling": self.subsampling, "optimize": self.optimize}

    def _versions(self):
        return super()._versions() | {"libjpeg-turbo": features.version("libjpeg_turbo") or "none"}

    def _encode(self, picture, quality):
        settings = self._settings(quality)
        if is_grey(picture):
            picture = picture[..., 0]
            del settings["subsampling"]
        if picture.size < 3 * self.alone_below or not hasattr(os, "memfd_create"):
            return self._save(picture, settings)
        # Pillow lets other threads run only while it writes to a file of the system, which here is memory.
        with open(os.memfd_create("picture.jpg"), "w+b", buffering=0) as file:
            Image.fromarray(picture).save(file, self.form, **settings)
            file.seek(0)
            return file.read()

    def _open(self, file):
        check_jpeg(file)
        image = super()._open(file)
        check_jpeg_work(file, *image.size)
        return image


@dataclass(frozen=True)
class WebpCodec(_PillowCodec):
    """Lossy WebP by libwebp; colour is always 4:2:0."""

    method: int = 4  # effort, 0 to 6
    name, suffix, form, feature, library = "webp", ".webp", "WEBP", "webp", "libwebp"
    plugin = WebPImagePlugin.WebPImageFile
    qualities = Qualities("WebP quality", 0, 100, better="up")

    def __post_init__(self):
        check_whole("WebP method", self.method, 0, 6)

    def _settings(self, quality):
        return {"quality": quality, "method": self.method}

    def _open(self, file):
        check_webp(file)
        return super()._open(file)


@dataclass(frozen=True)
class AvifCodec(_PillowCodec):
    """AVIF by libavif; `speed` is its effort, 0 (slowest) to 10."""

    speed: int = 6
    subsampling: str = "4:2:0"  # or "4:4:4"
    name, suffix, form, feature, library = "avif", ".avif", "AVIF", "avif", "libavif"
    plugin = AvifImagePlugin.AvifImageFile
    qualities = Qualities("AVIF quality", 0, 100, better="up")

    def __post_init__(self):
        check_whole("AVIF speed", self.speed, 0, 10)
        check_choice("AVIF subsampling", self.subsampling, SUBSAMPLINGS)

    def _settings(self, quality):
        return {"quality": quality, "speed": self.speed, "subsampling": self.subsampling, "max_threads": 1}

    def _versions(self):
        coders = AvifImagePlugin._avif.codec_versions() if self.available() else "none"
        return super()._versions() | {"coders": coders}

    def _open(self, file):
        check_heif(file)
        AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # Pillow takes no other word; many pictures are decoded at once
        return super()._open(file)


@dataclass(frozen=True)
class Jpeg2000Codec(_PillowCodec):
    """JPEG 2000 by OpenJPEG: a bare codestream, irreversible wavelet; quality is the compression ratio."""

    name, suffix, form, feature, library = "jpeg2000", ".j2k", "JPEG2000", "jpg_2000", "OpenJPEG"
    plugin = Jpeg2KImagePlugin.Jpeg2KImageFile
    qualities = Qualities("JPEG 2000 compression ratio", 1, 1000, better="down", whole=False)
    alone_below = MAX_PIXELS + 1  # Pillow lets no other thread run

    def _settings(self, quality):
        return {"quality_mode": "rates", "quality_layers": [quality], "irreversible": True, "mct": 1, "no_jp2": True}

    def _open(self, file):
        check_jpeg2000(file)
        return super()._open(file)
