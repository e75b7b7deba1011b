"""Real codecs by name: JPEG, WebP, HEVC intra (HEIC), AVIF, JPEG 2000, JPEG XL, BPG.

Each picture is coded by one thread, so that its bytes do not depend on how many there are; many pictures are
coded at once. The files are those that would be stored: their length is the rate, headers included. All but BPG
work in memory.
"""

import io
from dataclasses import dataclass, fields
from importlib.util import find_spec

import numpy as np

from ra_core.codecs.base import Codec, Qualities, check_choice, check_size, check_whole
from ra_core.codecs.bpg import BpgCodec
from ra_core.codecs.headers import check_heif, jpeg_parts, jpegxl_size
from ra_core.codecs.pillow import AvifCodec, Jpeg2000Codec, JpegCodec, WebpCodec
from ra_core.errors import ParameterError

__all__ = ["CODECS", "Codec", "HeicCodec", "JpegXlCodec", "jpeg_parts", "load_codec"]

X265_PRESETS = (  # from fast to small
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo",
)  # fmt: skip


@dataclass(frozen=True)
class HeicCodec(Codec):
    """HEVC intra in a HEIF file, by x265 through pillow-heif, at a fixed QP.

    `ipratio` 1 lets the picture have that QP; without pools and wavefronts its bytes are the same everywhere.
    """

    preset: str = "medium"
    name, suffix, needs = "heic", ".heic", "the Python package pillow-heif"
    qualities = Qualities("HEIC QP", 0, 51, better="down")

    def __post_init__(self):
        check_choice("x265 preset", self.preset, X265_PRESETS)

    def available(self):
        return find_spec("pillow_heif") is not None

    def _settings(self, quality):
        return {
            "chroma": 420,
            "enc_params": {
                "x265:qp": str(quality),
                "x265:ipratio": "1.0",
                "x265:wpp": "0",
                "x265:pools": "none",
                "x265:frame-threads": "1",
                "preset": self.preset,
            },
        }

    def _versions(self):
        if not self.available():
            return {}
        import pillow_heif

        info = pillow_heif.libheif_info()
        decoders = ", ".join(f"{key}: {name}" for key, name in sorted(info["decoders"].items()))
        return {
            "pillow-heif": pillow_heif.__version__,
            "libheif": info["libheif"],
            "encoder": info["HEIF"],
            "decoders": decoders,
        }

    def _encode(self, picture, quality):
        import pillow_heif

        height, width, _ = picture.shape
        buffer = io.BytesIO()
        pillow_heif.encode("RGB", (width, height), picture.tobytes(), buffer, **self._settings(quality))
        return buffer.getvalue()

    def _decode(self, file):
        import pillow_heif

        check_heif(file)
        pillow_heif.options.DECODE_THREADS = 1  # many pictures are decoded at once
        image = pillow_heif.open_heif(file)
        check_size(*image.size)
        if image.mode != "RGB":
            raise ValueError(f"its pixels are {image.mode} and not RGB")
        return np.array(image)


@dataclass(frozen=True)
class JpegXlCodec(Codec):
    """Lossy JPEG XL by libjxl through imagecodecs; quality is the Butteraugli distance, 1 being hard to see."""

    effort: int = 7
    name, suffix, needs = "jpegxl", ".jxl", "the Python package imagecodecs"
    qualities = Qualities("JPEG XL distance", 0.05, 25, better="down", whole=False)

    def __post_init__(self):
        check_whole("JPEG XL effort", self.effort, 1, 9)

    def available(self):
        if find_spec("imagecodecs") is None:
            return False
        import imagecodecs

        return bool(imagecodecs.JPEGXL.available)

    def _settings(self, quality):
        return {"distance": quality, "effort": self.effort, "numthreads": 1, "usecontainer": False}

    def _versions(self):
        if not self.available():
            return {}
        import imagecodecs

        return {"imagecodecs": imagecodecs.__version__, "libjxl": imagecodecs.jpegxl_version()}

    def _encode(self, picture, quality):
        import imagecodecs

        return bytes(imagecodecs.jpegxl_encode(picture, **self._settings(quality)))

    def _decode(self, file):
        import imagecodecs

        width, height = jpegxl_size(file)
        picture = np.zeros((height, width, 3), np.uint8)
        return imagecodecs.jpegxl_decode(file, index=0, numthreads=1, out=picture)


CODECS = {
    "jpeg": (JpegCodec, {}),
    "jpeg-optimized": (JpegCodec, {"optimize": True}),
    "jpeg-444": (JpegCodec, {"subsampling": "4:4:4"}),
    "jpeg-444-optimized": (JpegCodec, {"subsampling": "4:4:4", "optimize": True}),
    "webp": (WebpCodec, {}),
    "heic": (HeicCodec, {}),
    "avif": (AvifCodec, {}),
    "jpeg2000": (Jpeg2000Codec, {}),
    "jpegxl": (JpegXlCodec, {}),
    "bpg": (BpgCodec, {}),
}


def load_codec(name: str, **settings) -> Codec:
    """Return a codec by its name in `CODECS`, with settings other than the usual ones where given.

    Raises `ParameterError` for an unknown name or setting, and where its library or programs are missing.
    """
    if not isinstance(name, str) or name not in CODECS:
        raise ParameterError(f"codec {name!r} is unknown; choose one of {', '.join(CODECS)}.")
    kind, usual = CODECS[name]
    allowed = [field.name for field in fields(kind) if field.name not in usual]
    if unknown := sorted(set(settings) - set(allowed)):
        raise ParameterError(f"codec {name} has no setting {unknown[0]!r}; it has {', '.join(allowed) or 'none'}.")
    codec = kind(**usual, **settings)
    codec.require()
    return codec
