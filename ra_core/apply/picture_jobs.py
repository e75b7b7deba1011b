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

from ra_core.apply.applied_runs import Method
from ra_core.apply.colour_profiles import embed
from ra_core.apply.picture_files import Picture, picture_psnr, read_picture, resize, to_grey, write_png
from ra_core.apply.tiles import geometry, run_net
from ra_core.codecs.base import MAX_PIXELS, is_grey
from ra_core.errors import DataError
from ra_core.files import atomic, write_text

COLUMNS = (
    "file", "width", "height", "bytes", "bpp", "psnr", "seconds",
    "output", "profile_bytes", "alpha_bytes", "notes",
)  # fmt: skip
NAME_BYTES = 200  # of a file; what is written has a longer name, and file systems take 255


@dataclass(frozen=True)
class Job:
    """What the work on every picture shares."""

    source: Path
    target: Path
    method: Method
    device: torch.device | str = "cpu"
    # One picture at a time goes through a network: it takes all cores, and its memory.
    lock: threading.Lock = field(default_factory=threading.Lock)

    def record(self, file: str) -> Path:
        """Where it is noted that a picture is done."""
        return self.target / ".records" / f"{file}.json"


def output_names(files: list[str]) -> dict[str, str]:
    """Return what each file's outputs are called, without their ending; no two are alike, whatever their case."""
    stems = {file: Path(file).with_suffix("").as_posix() for file in files}
    names, count = {file.casefold() for file in files}, Counter(stem.casefold() for stem in stems.values())
    return {
        file: file if count[stem.casefold()] > 1 or stem.casefold() in names else stem for file, stem in stems.items()
    }


def readable(name: str) -> str:
    """Return a file's name as text: bytes that are no Unicode are spelt out."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def finished(job: Job, file: str, name: str) -> dict | None:
    """Return the row of a picture that is done; what was made of another state of it is deleted."""
    path = job.record(file)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        outputs = [job.target / output for output in record["outputs"]]
        row = {column: record["row"][column] for column in COLUMNS}
        if record["state"] == _state(job.source / file, name) and all(output.exists() for output in outputs):
            return row
    except (OSError, ValueError, KeyError, TypeError):
        return None
    _delete(path, *outputs)
    return None


def forget(job: Job, files: list[str]) -> int:
    """Delete what was made of pictures that are no longer among `files`; return how many they were."""
    known, gone = {job.record(file) for file in files}, 0
    for path in set((job.target / ".records").rglob("*.json")) - known:
        with suppress(OSError, ValueError, KeyError, TypeError):  # of a damaged record nothing is known
            outputs = json.loads(path.read_text(encoding="utf-8"))["outputs"]
            _delete(*(job.target / output for output in outputs), path)
            gone += 1
    return gone


def _delete(*paths: Path) -> None:
    for path in paths:
        with suppress(OSError):
            path.unlink()


def process(job: Job, file: str, name: str) -> dict:
    """Process one picture, write all that belongs to it, its record last, and return its row.

    `name` is its entry in `output_names`. Raises `DataError` or `CodecError` for a picture that cannot be used.
    """
    started, path = time.perf_counter(), job.source / file
    if not path.is_file():
        raise DataError(f"{path} is no file, or a link to nothing; remove it.")
    if len(os.fsencode(path.name)) > NAME_BYTES:
        raise DataError(f"{path} has a name of more than {NAME_BYTES} bytes; give it a shorter one.")
    state = _state(path, name)
    picture = read_picture(path)
    changed = _through_networks(job, picture, path)
    outputs, decoded, stored = _store(job, changed, name)
    height, width, _ = decoded.shape
    same = decoded.shape == picture.colours.shape
    row = stored | {
        "file": readable(file),
        "width": width,
        "height": height,
        "bpp": round(8 * stored["bytes"] / (width * height), 4),
        "psnr": round(picture_psnr(decoded, picture.colours), 3) if same else None,
        "seconds": round(time.perf_counter() - started, 3),
    }
    row = {column: row[column] for column in COLUMNS}
    # Plain ASCII, as json writes it, holds names that are no Unicode too.
    write_text(job.record(file), json.dumps({"state": state, "outputs": outputs, "row": row}) + "\n")
    return row


def _state(path: Path, name: str) -> list:
    """Return by what it is noticed that a picture has to be done again."""
    found = path.stat()
    return [name, found.st_size, found.st_mtime_ns]


def _through_networks(job: Job, picture: Picture, path: Path) -> Picture:
    """Return what the networks make of a picture; grey stays grey, and the transparency is brought to size."""
    colours, (height, width, _) = picture.colours, picture.colours.shape
    scale = prod(geometry(net).scale for net in job.method.nets)
    if height * width * scale**2 > MAX_PIXELS:
        raise DataError(
            f"{path} would become {width * scale} x {height * scale} pixels, more than the {MAX_PIXELS} allowed; "
            "make it smaller first."
        )
    for net in job.method.nets:
        with job.lock:
            colours = run_net(net, colours, job.device)
    if job.method.nets and is_grey(picture.colours):
        colours = to_grey(colours)
    alpha = None if picture.alpha is None else resize(picture.alpha, *colours.shape[:2])
    return replace(picture, colours=colours, alpha=alpha)


def _store(job: Job, picture: Picture, name: str) -> tuple[list[str], np.ndarray, dict]:
    """Write a picture's files; return them, relative to the target, the colours in them, and what is known."""
    coder, png = job.method.codec, f"pictures/{name}.png"
    if coder is None:
        write_png(job.target / png, picture)
        size, notes = (job.target / png).stat().st_size, "; ".join(picture.notes)
        known = {"bytes": size, "output": readable(png), "profile_bytes": 0, "alpha_bytes": 0, "notes": notes}
        return [png], picture.colours, known
    bare = coder.encode([picture.colours], job.method.quality, threads=1)[0]
    decoded = coder.decode([bare], threads=1)[0]
    content, notes = bare, list(picture.notes)
    if picture.profile and (with_profile := embed(bare, coder.suffix, picture.profile)):
        content = with_profile
    elif picture.profile:
        notes.append("the colour profile is in the PNG only")
    outputs, alpha_bytes = [png, f"files/{name}{coder.suffix}"], 0
    with atomic(job.target / outputs[1]) as temporary:
        temporary.write_bytes(content)
    write_png(job.target / png, replace(picture, colours=decoded))
    if picture.alpha is not None:
        outputs.append(f"files/{name}.alpha.png")
        write_png(job.target / outputs[2], Picture(np.stack([picture.alpha] * 3, axis=-1)))
        alpha_bytes = (job.target / outputs[2]).stat().st_size
    return outputs, decoded, {
        "bytes": len(content), "output": readable(outputs[1]), "profile_bytes": len(content) - len(bare),
        "alpha_bytes": alpha_bytes, "notes": "; ".join(notes),
    }  # fmt: skip
