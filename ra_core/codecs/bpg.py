"""BPG by its two programs, `bpgenc` and `bpgdec`, where they are on PATH.

Each picture has its own temporary folder, as the programs read and write files. They are given a list of
arguments and no shell, and a time limit; what they leave behind is measured before it is read.
"""

import io
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image, PngImagePlugin

from ra_core.codecs.base import MAX_PIXELS, Codec, Qualities, check_size, pixels, register

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
        helps = {program: _call(program, ["-h"], timeout=10)[1] for program in PROGRAMS}  # no other option tells
        return {
            program: next((line for line in said if "version" in line), "unknown") for program, said in helps.items()
        }

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
        picture = pixels(PngImagePlugin.PngImageFile(io.BytesIO(decoded)))
        if picture.shape[1::-1] != size:
            raise ValueError("bpgdec wrote a picture of another size")
        return picture

    def _run(self, program: str, arguments: list[str], result: Path) -> bytes:
        """Run a program in the folder of its result, and return that."""
        status, said = _call(program, arguments, timeout=self.seconds, cwd=result.parent)
        if status:
            raise RuntimeError(f"{program} ended with status {status}, saying {(said or [''])[0]!r}")
        if not result.is_file() or not 0 < result.stat().st_size <= MAX_FILE:
            raise ValueError(f"{program} ended well and wrote no file of 1 to {MAX_FILE} bytes")
        return result.read_bytes()


def _call(program: str, arguments: list[str], **options) -> tuple[int, list[str]]:
    """Return a program's exit status and the lines that it says, of either kind."""
    command = [os.path.abspath(shutil.which(program)), *arguments]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    done = subprocess.run(command, **pipes, text=True, errors="replace", **options)
    return done.returncode, [line.strip() for line in done.stdout.splitlines()]


def bpg_size(file: bytes) -> tuple[int, int]:
    """Return the width and height that a BPG file declares. Raises `ValueError` where it is cut off.

    Source: the BPG specification by F. Bellard, section 3; numbers are of 7 bits a byte, the first ones first.
    """
    found = re.match(rb"BPG\xfb.." + 3 * rb"([\x80-\xff]{0,4}[\0-\x7f])", file, re.DOTALL)
    if not found:
        raise ValueError("it does not begin as a BPG file does")
    width, height, length = (reduce(lambda value, byte: value << 7 | byte & 127, n, 0) for n in found.groups())
    check_size(width, height)
    if length > len(file) - found.end():
        raise ValueError("it is not as long as it declares")
    return width, height
