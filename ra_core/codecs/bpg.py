"""BPG by its two programs, `bpgenc` and `bpgdec`, where they are on PATH.

Each picture has its own temporary folder, as the programs read and write files. They are given a list of
arguments and no shell, a time limit, and no trust: what they leave behind is measured before it is read.
"""

import io
import os
import shutil
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image, PngImagePlugin

from ra_core.codecs.base import MAX_PIXELS, Codec, Qualities, register
from ra_core.codecs.headers import bpg_size
from ra_core.errors import ParameterError

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

    def __post_init__(self):
        if not (isinstance(self.seconds, int | float) and self.seconds > 0):
            raise ParameterError(f"BpgCodec takes no time limit of {self.seconds!r} s; give more than 0.")

    def available(self):
        return all(shutil.which(program) for program in PROGRAMS)

    def _settings(self, quality):
        return {"arguments": ["-q", str(quality)], "seconds": self.seconds}

    def _versions(self):
        return {program: _version(program) for program in PROGRAMS if shutil.which(program)}

    def _encode(self, picture, quality):
        with TemporaryDirectory(prefix="bpg-", ignore_cleanup_errors=True) as folder:
            # Fast to write; the file is read once.
            Image.fromarray(picture).save(Path(folder, "in.png"), compress_level=1)
            arguments = [*self._settings(quality)["arguments"], "-o", "out.bpg", "in.png"]
            file = _run("bpgenc", arguments, folder, "out.bpg", self.seconds)
        height, width, _ = picture.shape
        if bpg_size(file) != (width, height):
            raise ValueError("bpgenc wrote a file of another size")
        return file

    def _decode(self, file):
        size = bpg_size(file)
        with TemporaryDirectory(prefix="bpg-", ignore_cleanup_errors=True) as folder:
            Path(folder, "in.bpg").write_bytes(file)
            decoded = _run("bpgdec", ["-o", "out.png", "in.bpg"], folder, "out.png", self.seconds)
        image = PngImagePlugin.PngImageFile(io.BytesIO(decoded))
        if image.size != size or image.mode != "RGB":
            raise ValueError(f"bpgdec wrote {image.mode} of {image.size} where RGB of {size} is declared")
        image.load()
        return np.array(image)


def _run(program: str, arguments: list[str], folder: str, result: str, seconds: float) -> bytes:
    """Run a program in `folder` for at most `seconds` and return what it wrote to `result`."""
    path = os.path.abspath(shutil.which(program) or program)
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    # In a session of its own, so that what it starts itself can be ended with it.
    process = subprocess.Popen([path, *arguments], cwd=folder, start_new_session=True, **streams)
    try:
        _, said = process.communicate(timeout=seconds)
    except BaseException as error:  # too slow, or interrupted: nobody waits for it any more
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL) if hasattr(os, "killpg") else process.kill()
        process.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            raise TimeoutError(f"{program} took more than {seconds:g} s") from error
        raise
    if process.returncode:
        lines = said[:500].decode(errors="replace").strip().splitlines()
        raise RuntimeError(f"{program} ended with status {process.returncode}, saying {lines[0] if lines else ''!r}")
    written = Path(folder, result)
    if written.is_symlink() or not written.is_file():
        raise FileNotFoundError(f"{program} ended well and wrote no file")
    if not 0 < written.stat().st_size <= MAX_FILE:
        raise ValueError(f"{program} wrote a file of {written.stat().st_size} bytes")
    return written.read_bytes()


def _version(program: str) -> str:
    """Return the line in which a program says its version; it has no option for that, but a help text."""
    try:
        run = subprocess.run([shutil.which(program), "-h"], stdin=subprocess.DEVNULL, capture_output=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    lines = (run.stdout + run.stderr)[:2000].decode(errors="replace").splitlines()
    return next((line.strip() for line in lines if "version" in line), "unknown")
