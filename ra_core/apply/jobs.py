"""The work on one picture of a folder: read it, change it, code it, write all that belongs to it."""

import json
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ra_core.apply.pictures import Picture, enlarged, picture_psnr, read_picture, write_png
from ra_core.apply.pipeline import Pipeline
from ra_core.codecs.base import MAX_PIXELS
from ra_core.errors import DataError
from ra_core.files import atomic, inside, write_text

COLUMNS = (
    "file", "width", "height", "bytes", "bpp", "psnr", "seconds", "output", "profile_bytes", "alpha_bytes", "notes"
)  # fmt: skip


def output_names(files: list[str]) -> dict[str, str]:
    """Return what each file's outputs are called, without their ending; no two are alike, whatever their case."""
    stems = {file: Path(file).with_suffix("").as_posix() for file in files}
    names, count = {file.casefold() for file in files}, Counter(stem.casefold() for stem in stems.values())
    shared = {stem for stem in stems.values() if count[stem.casefold()] > 1 or stem.casefold() in names}
    return {file: file if stem in shared else stem for file, stem in stems.items()}


@dataclass(frozen=True)
class Job:
    """A folder, what is made of its pictures, and where; `lock` lets one picture at a time through the networks.

    A record of each picture that is done, `.records/<file>.json`, holds its state, its outputs and its row.
    """

    source: Path
    target: Path
    pipeline: Pipeline
    lock: threading.Lock = field(default_factory=threading.Lock)  # a network takes all cores, and much memory

    def finished_rows(self, names: dict[str, str], delete_others: bool) -> tuple[dict[str, dict], int]:
        """Return the rows of pictures that are done, by file, and how many others there were.

        What was made of another state of a picture is deleted, and, where asked, what was made of those not in `names`.
        """
        done, others, folder = {}, 0, self.target / ".records"
        for path in folder.rglob("*.json"):
            file = path.relative_to(folder).as_posix().removesuffix(".json")
            with suppress(OSError, ValueError, KeyError, TypeError):  # a damaged record counts as none
                record = json.loads(path.read_text(encoding="utf-8"))
                outputs = [inside(self.target, output, links=False) for output in record["outputs"]]
                if file in names and record["state"] == self._state(file, names[file]):
                    if all(map(Path.is_file, outputs)):
                        done[file] = {key: record["row"][key] for key in COLUMNS}
                elif file in names or delete_others:
                    for output in (*outputs, path):
                        output.unlink(missing_ok=True)
                    others += file not in names
        return done, others

    def process(self, file: str, name: str) -> dict:
        """Process one picture, write all that belongs to it, its record last, and return its row.

        `name` is its entry in `output_names`. Raises whatever goes wrong with this picture.
        """
        started, state, picture = time.perf_counter(), self._state(file, name), read_picture(self.source / file)
        made, codec, quality = self._through_networks(picture, file), self.pipeline.codec, self.pipeline.quality
        colours, notes, png = made.colours, made.notes, f"pictures/{name}.png"
        outputs, profile_bytes, alpha_bytes = [png], 0, 0
        if codec:
            [bare] = [stored] = codec.encode([colours], quality, threads=1)
            if made.profile:
                [stored] = codec.encode([colours], quality, threads=1, icc_profile=made.profile)
                profile_bytes = len(stored) - len(bare)
                notes += ("the colour profile is in the PNG only",) * (not profile_bytes)
            [colours] = codec.decode([bare], threads=1)
            outputs.insert(0, f"files/{name}{codec.suffix}")
            with atomic(self.target / outputs[0]) as temporary:
                temporary.write_bytes(stored)
            if made.alpha is not None:
                outputs.append(f"files/{name}.alpha.png")
                write_png(self.target / outputs[-1], Picture(np.stack([made.alpha] * 3, axis=-1)))
                alpha_bytes = (self.target / outputs[-1]).stat().st_size
        write_png(self.target / png, replace(made, colours=colours))
        (height, width, _), size = colours.shape, (self.target / outputs[0]).stat().st_size
        shown = enlarged(colours, picture.colours.shape) if self.pipeline.sends_smaller else colours
        psnr = picture_psnr(shown, picture.colours) if shown.shape == picture.colours.shape else None
        bpp, seconds = round(8 * size / (shown.size / 3), 4), round(time.perf_counter() - started, 3)
        values = (file, width, height, size, bpp, psnr, seconds, outputs[0], profile_bytes, alpha_bytes)
        row = dict(zip(COLUMNS, (*values, "; ".join(notes)), strict=True))
        record = {"state": state, "outputs": outputs, "row": row}
        write_text(self.target / ".records" / f"{file}.json", json.dumps(record) + "\n")
        return row

    def _state(self, file: str, name: str) -> list:
        """Return by what it is noticed that a picture has to be done again."""
        found = (self.source / file).stat()
        return [name, found.st_size, found.st_mtime_ns]

    def _through_networks(self, picture: Picture, file: str) -> Picture:
        """Return what the networks make of a picture with its transparency."""
        network, colours, alpha = self.pipeline.network, picture.colours, picture.alpha
        if network is None:
            return picture
        height, width = (round(side * network.scale) for side in colours.shape[:2])
        if height * width > MAX_PIXELS:
            raise DataError(f"{file} would become {width} x {height} pixels, of {MAX_PIXELS} allowed; make it smaller.")
        with self.lock:
            made = network(colours if alpha is None else np.dstack([colours, alpha]))
        if alpha is None:
            return replace(picture, colours=made)
        return replace(picture, colours=np.ascontiguousarray(made[..., :3]), alpha=made[..., 3])
