"""BPG by its two programs, `bpgenc` and `bpgdec`, where they are on PATH.

Each picture has its own temporary folder, as the programs read and write files. They are given a list of
arguments and no shell, and a time limit; what they leave behind is measured before it is read.
"""

import io
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image, PngImagePlugin

from ra_core.codecs.base import MAX_PIXELS, Codec, Qualities, register
from ra_core.codecs.headers import bpg_size

PROGRAMS = ("bpgenc", "bpgdec")
MAX_FILE = 8 * MAX_PIXELS  # bytes; the largest picture as PNG is smaller


@register("BPG", milliseconds=100.0, stand_in="heic")
@dataclass(frozen=True)
class BpgCodec(Codec):
    """BPG (HEVC intra with a small header), 4:2:0 as its program chooses; quality is the QP."""

    seconds: float = 120.0  # a program may take for one picture
    name, suffix = "bpg", ".bpg"
    needs = "libbpg, whose programs bpgenc and bpgdec must be on PATH,"
    qualities = Qualities("BPG QP", 0, 51, better="down")

    def available(self):
        return all(map(shutil.which, PROGRAMS))

    def _settings(self, quality):
        return {"arguments": ["-q", str(quality)], "seconds": self.seconds}

    def _versions(self):
        return {program: _version(program) for program in PROGRAMS}

    def _encode(self, picture, quality):
        with TemporaryDirectory(prefix="bpg-") as folder:
            # Fast to write; the file is read once.
            Image.fromarray(picture).save(Path(folder, "in.png"), compress_level=1)
            arguments = [*self._settings(quality)["arguments"], "-o", "out.bpg", "in.png"]
            file = self._run("bpgenc", arguments, Path(folder, "out.bpg"))
        if bpg_size(file) != picture.shape[1::-1]:
            raise ValueError("bpgenc wrote a file of another size")
        return file

    def _decode(self, file):
        size = bpg_size(file)
        with TemporaryDirectory(prefix="bpg-") as folder:
            Path(folder, "in.bpg").write_bytes(file)
            decoded = self._run("bpgdec", ["-o", "out.png", "in.bpg"], Path(folder, "out.png"))
        image = PngImagePlugin.PngImageFile(io.BytesIO(decoded))
        if image.size != size or image.mode != "RGB":
            raise ValueError(f"bpgdec wrote {image.mode} of {image.size} where RGB of {size} is declared")
        return np.array(image)

    def _run(self, program: str, arguments: list[str], result: Path) -> bytes:
        """Run a program in the folder of its result, and return that."""
        done = _call(program, arguments, timeout=self.seconds, cwd=result.parent)
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines() or [""]
            raise RuntimeError(f"{program} ended with status {done.returncode}, saying {said[0]!r}")
        if not result.is_file() or not 0 < result.stat().st_size <= MAX_FILE:
            raise ValueError(f"{program} ended well and wrote no file of 1 to {MAX_FILE} bytes")
        return result.read_bytes()


def _call(program: str, arguments: list[str], **options) -> subprocess.CompletedProcess:
    path = os.path.abspath(shutil.which(program))
    return subprocess.run([path, *arguments], stdin=subprocess.DEVNULL, capture_output=True, **options)


def _version(program: str) -> str:
    """Return the line in which a program says its version; it has no option for that, but a help text."""
    said = _call(program, ["-h"], timeout=10)
    lines = (said.stdout + said.stderr).decode(errors="replace").splitlines()
    return next((line.strip() for line in lines if "version" in line), "unknown")
