"""The work on one picture of a folder: read it, change it, code it, write all that belongs to it."""

import json
import os
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ra_core.apply.pictures import Picture, encode_with_profile, picture_psnr, read_picture, write_png
from ra_core.apply.pipeline import Pipeline
from ra_core.apply.tiles import geometry, run_net
from ra_core.codecs.base import MAX_PIXELS, is_grey
from ra_core.errors import DataError
from ra_core.files import atomic, write_text

COLUMNS = (
    "file", "width", "height", "bytes", "bpp", "psnr", "seconds", "output", "profile_bytes", "alpha_bytes", "notes"
)  # fmt: skip
NAME_BYTES = 200  # of a file; what is written has a longer name, and file systems take 255


def output_names(files: list[str]) -> dict[str, str]:
    """Return what each file's outputs are called, without their ending; no two are alike, whatever their case."""
    stems = {file: Path(file).with_suffix("").as_posix() for file in files}
    names, count = {file.casefold() for file in files}, Counter(stem.casefold() for stem in stems.values())
    shared = {stem for stem in stems.values() if count[stem.casefold()] > 1 or stem.casefold() in names}
    return {file: file if stem in shared else stem for file, stem in stems.items()}


def readable(name: str | Path) -> str:
    """Return a file's name as text: bytes that are no Unicode are spelt out."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


@dataclass(frozen=True)
class Job:
    """A folder, what is made of its pictures, and where; `lock` lets one picture at a time through the networks."""

    source: Path
    target: Path
    pipeline: Pipeline
    device: torch.device | str = "cpu"
    lock: threading.Lock = field(default_factory=threading.Lock)  # a network takes all cores, and much memory

    def finished_row(self, file: str, name: str) -> dict | None:
        """Return the row of a picture that is done; what was made of another state of it is deleted."""
        outputs, state, row = self._read(self._record(file)) or ((), None, None)
        with suppress(OSError):
            if state == self._state(file, name) and all(output.exists() for output in outputs):
                return row
        _delete(*outputs)
        return None

    def delete_orphans(self, files: list[str]) -> int:
        """Delete what was made of pictures that are no longer among `files`; return how many they were."""
        gone = set((self.target / ".records").rglob("*.json")) - {self._record(file) for file in files}
        known = {path: found[0] for path in gone if (found := self._read(path))}
        for path, outputs in known.items():
            _delete(*outputs, path)
        return len(known)

    def process(self, file: str, name: str) -> dict:
        """Process one picture, write all that belongs to it, its record last, and return its row.

        `name` is its entry in `output_names`. Raises whatever goes wrong with this picture.
        """
        started, path = time.perf_counter(), self.source / file
        if not path.is_file():
            raise DataError(f"{path} is no file, or a link to nothing; remove it.")
        if len(os.fsencode(path.name)) > NAME_BYTES:
            raise DataError(f"{path} has a name of more than {NAME_BYTES} bytes; give it a shorter one.")
        state, picture = self._state(file, name), read_picture(path)
        outputs, stored, facts = self._store(self._through_networks(picture, path), name)
        (height, width, _), size = stored.shape, (self.target / outputs[0]).stat().st_size
        psnr = picture_psnr(stored, picture.colours) if stored.shape == picture.colours.shape else None
        seconds = round(time.perf_counter() - started, 3)
        values = (readable(file), width, height, size, round(8 * size / (width * height), 4), psnr, seconds)
        row = dict(zip(COLUMNS, (*values, readable(outputs[0]), *facts), strict=True))
        # Plain ASCII, as json writes it, holds names that are no Unicode too.
        write_text(self._record(file), json.dumps({"state": state, "outputs": outputs, "row": row}) + "\n")
        return row

    def _record(self, file: str) -> Path:
        """Where it is noted that a picture is done."""
        return self.target / ".records" / f"{file}.json"

    def _read(self, path: Path) -> tuple[list[Path], list, dict] | None:
        """Return outputs, state and row of a record; None where it is missing, damaged or names files elsewhere."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            record = json.loads(path.read_text(encoding="utf-8"))
            outputs = [Path(os.path.normpath(self.target / output)) for output in record["outputs"]]
            if all(output.is_relative_to(self.target) for output in outputs):
                return outputs, record["state"], {column: record["row"][column] for column in COLUMNS}
        return None

    def _state(self, file: str, name: str) -> list:
        """Return by what it is noticed that a picture has to be done again."""
        found = (self.source / file).stat()
        return [name, found.st_size, found.st_mtime_ns]

    def _through_networks(self, picture: Picture, path: Path) -> Picture:
        """Return what the networks make of a picture; grey stays grey, and the transparency is brought to size."""
        colours, (height, width, _), alpha = picture.colours, picture.colours.shape, picture.alpha
        scale = prod(geometry(net).scale for net in self.pipeline.nets)
        if height * width * scale**2 > MAX_PIXELS:
            raise DataError(
                f"{path} would become {width * scale} x {height * scale} pixels, more than the {MAX_PIXELS} allowed; "
                "make it smaller first."
            )
        for net in self.pipeline.nets:
            with self.lock:
                colours = run_net(net, colours, self.device)
        if self.pipeline.nets and is_grey(picture.colours):
            colours = np.array(Image.fromarray(colours).convert("L").convert("RGB"))
        if alpha is not None:
            size = width * scale, height * scale
            alpha = np.array(Image.fromarray(alpha).resize(size, Image.Resampling.BICUBIC))
        return replace(picture, colours=colours, alpha=alpha)

    def _store(self, picture: Picture, name: str) -> tuple[list[str], np.ndarray, tuple]:
        """Write a picture's files; return them, the standard one first, their colours, and the last three columns."""
        codec, notes, png, alpha = self.pipeline.codec, picture.notes, f"pictures/{name}.png", f"files/{name}.alpha.png"
        outputs, colours, profile_bytes, alpha_bytes = [png], picture.colours, 0, 0
        if codec:
            [file] = codec.encode([colours], self.pipeline.quality, threads=1)
            [colours] = codec.decode([file], threads=1)
            if picture.profile and (tagged := encode_with_profile(codec, picture, self.pipeline.quality)):
                profile_bytes, file = len(tagged) - len(file), tagged
            elif picture.profile:
                notes += ("the colour profile is in the PNG only",)
            outputs.insert(0, f"files/{name}{codec.suffix}")
            with atomic(self.target / outputs[0]) as temporary:
                temporary.write_bytes(file)
            if picture.alpha is not None:
                outputs.append(alpha)
                write_png(self.target / alpha, Picture(np.stack([picture.alpha] * 3, axis=-1)))
                alpha_bytes = (self.target / alpha).stat().st_size
        write_png(self.target / png, replace(picture, colours=colours))
        return outputs, colours, (profile_bytes, alpha_bytes, "; ".join(notes))


def _delete(*paths: Path) -> None:
    for path in paths:
        with suppress(OSError):
            path.unlink()
