"""HEVC intra in a HEIF file, by x265 through pillow-heif."""

import io
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from ra_core.codecs.base import Codec, Qualities, check_size, register, setting
from ra_core.codecs.headers import check_heif

PRESETS = (  # from fast to small
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo",
)  # fmt: skip


@register("HEIC", milliseconds=60.0, stand_in="heic")
@dataclass(frozen=True)
class HeicCodec(Codec):
    """HEVC intra at a fixed QP, 4:2:0.

    `ipratio` 1 lets the picture have that QP; without pools and wavefronts its bytes are the same everywhere.
    """

    preset: str = setting("medium", *PRESETS)
    name, suffix, needs = "heic", ".heic", "the Python package pillow-heif"
    qualities = Qualities("HEIC QP", 0, 51, better="down")

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
        versions = {"pillow-heif": pillow_heif.__version__, "libheif": info["libheif"]}
        return versions | {"encoder": info["HEIF"], "decoders": decoders}

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
