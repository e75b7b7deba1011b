"""Apply a run, or a codec alone, to every picture of a folder.

`python -m ra_core.apply INPUT OUTPUT --run RUN` sends each picture through the run's preprocessor and codec, or
through its processor; `python -m ra_core.apply INPUT OUTPUT --codec jpeg --quality 20` through the codec alone, so
that the two can be compared. Names and folders are kept:

- `files/`: the standard files (with a codec), `pictures/`: what was decoded from them, or what a processor
  made, as PNG. Where two pictures of a folder differ in their ending only, both keep it: `a.png.jpg`, `a.bmp.jpg`.
- `pictures.csv`: `width`, `height` and `bytes` of what was stored; `bpp`, 8 * bytes / (width * height);
  `psnr`, dB, against the input where the sizes agree; `seconds`, from reading to writing.
- `skipped.csv`: what could not be read or coded, and why. `contact_sheet.png`: up to 12 pictures, before and after.

Orientation: pixels are turned upright; the tag goes, and with it all other metadata.
Colour profile: one of RGB colours is put into the PNG, and into JPEG, WebP, HEIC and AVIF files, where it counts among
the `bytes`; `notes` say where it was left out. Pixels with a grey or CMYK profile become sRGB.
Transparency: networks and codecs see the colours; it lies in the PNG, and beside the standard file as
`<name>.alpha.png`, whose size is `alpha_bytes`. Grey pictures are grey again before they are coded.
Size: up to 2^26 pixels, in and out; large pictures go through a network in tiles (see `ra_core.apply.tiles`).

What was stopped goes on where it was: a picture is done when its record is written, and done again when its file
changed. What was made of a picture that is gone is deleted, unless a folder of the input cannot be read. Folders that
are links are not entered, hidden files are not read.
"""

import argparse
import csv
import io
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from ra_core.apply.applied_runs import load_method
from ra_core.apply.contact_sheet import contact_sheet, fitted
from ra_core.apply.picture_jobs import COLUMNS, Job, finished, forget, output_names, process, readable
from ra_core.cores import cores
from ra_core.data.decoding import open_picture
from ra_core.errors import DataError, OutputError, ParameterError, RAError, exit_status
from ra_core.files import atomic, write_json, write_text
from ra_core.training import pick_device

SHOWN = 12  # pictures on the contact sheet
EVERY = 5.0  # seconds between two lines of progress


def apply(
    source: str | Path,
    target: str | Path,
    run: str | Path | None = None,
    codec: str | None = None,
    quality: float | None = None,
    strength: float | None = None,
    transformer: bool = False,
    workers: int | None = None,
    device: str = "auto",
) -> list[dict]:
    """Apply a run or a codec to the pictures of a folder and return the rows of `pictures.csv`.

    `workers` pictures are read, coded and written at once (one a core, at most four); their number changes nothing in
    the results. What the other parameters mean is said at `ra_core.apply.applied_runs.load_method`.
    Raises `ParameterError` or `DataError` before anything is written, or `DataError` where no picture can be used, and
    `OutputError` where writing fails.
    """
    source, target = _checked_folders(Path(source), Path(target))
    workers = min(4, cores()) if workers is None else workers
    if type(workers) is not int or not 1 <= workers <= 64:
        raise ParameterError(f"number of workers {workers!r} is not allowed; give a whole number from 1 to 64.")
    device = pick_device(device)
    method = load_method(run, codec, quality, strength, transformer, device)
    files, skipped = find_files(source)
    _begin(target, {"input": str(source)} | method.settings)
    _read_heic()
    job = Job(source, target, method, device)
    gone = 0 if skipped else forget(job, files)  # what lies in a folder that cannot be read may well be there
    rows, new = _work(job, files, workers, skipped)
    _write_table(target / "skipped.csv", ("file", "reason"), skipped)
    _write_table(target / "pictures.csv", COLUMNS, list(rows.values()))
    if not rows:
        raise DataError(f"none of the files in {source} could be used; {target / 'skipped.csv'} says why.")
    if new or gone or not (target / "contact_sheet.png").exists():
        _write_sheet(job, rows, output_names(files))
    if gone:
        print(f"{gone} pictures are gone from {source}, and so is now what was made of them", flush=True)
    print(f"{len(rows)} pictures ({new} of them now), {len(skipped)} skipped: {target}", flush=True)
    return list(rows.values())


def find_files(source: Path) -> tuple[list[str], list[dict]]:
    """Return all files in and below a folder, relative to it, and the folders that cannot be read.

    Raises `DataError` where there is nothing.
    """
    files, unread = [], []

    def note(error: OSError) -> None:
        unread.append({"file": readable(error.filename), "reason": f"{error.strerror}; mend its permissions."})

    for where, folders, names in os.walk(source, onerror=note):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found = (Path(where, name).relative_to(source) for name in sorted(names) if not name.startswith("."))
        files += [path.as_posix() for path in found]
    if not files and not unread:
        raise DataError(f"{source} holds no files; put pictures into it.")
    return files, unread


def _checked_folders(source: Path, target: Path) -> tuple[Path, Path]:
    if not source.is_dir():
        raise DataError(f"{source} is no folder; name one that holds pictures.")
    source, target = source.resolve(), target.resolve()
    if target.is_relative_to(source):
        raise ParameterError(f"the output folder {target} lies in the input folder; name one outside {source}.")
    if target.exists() and not target.is_dir():
        raise ParameterError(f"{target} is a file; name a folder for the output.")
    return source, target


def _begin(target: Path, settings: dict) -> None:
    """Write down how the output is made. Raises `ParameterError` where something else lies there already."""
    path = target / "settings.json"
    if not path.exists():
        if target.is_dir() and any(not entry.name.startswith(".") for entry in target.iterdir()):
            raise ParameterError(f"{target} holds other files; name a new folder for the output.")
        write_json(path, settings)
        return
    known = {}
    with suppress(OSError, ValueError, TypeError):  # then nothing of it is known
        known = dict(json.loads(path.read_text(encoding="utf-8")))
    if changed := [key for key in settings if known.get(key) != settings[key]]:
        raise ParameterError(
            f"{target} was made with other settings ({', '.join(changed)}); name another folder, or delete it."
        )


def _read_heic() -> None:
    """Let Pillow read HEIC files, where that is possible."""
    if find_spec("pillow_heif"):
        import pillow_heif

        pillow_heif.register_heif_opener()


def _work(job: Job, files: list[str], workers: int, skipped: list[dict]) -> tuple[dict[str, dict], int]:
    """Return the row of each picture that is done, and how many were done just now; add to `skipped`."""
    names, rows, new, shown = output_names(files), {}, 0, time.monotonic()

    def one(file: str) -> tuple[dict | None, str]:
        try:
            return process(job, file, names[file]), ""
        except OutputError:  # a full disk stops everything
            raise
        except RAError as error:
            return None, str(error)

    todo = []
    for file in files:
        if row := finished(job, file, names[file]):
            rows[file] = row
        else:
            todo.append(file)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="apply")
    try:
        for number, (file, (row, reason)) in enumerate(zip(todo, pool.map(one, todo), strict=True), 1):
            if row:
                rows[file], new = row, new + 1
            else:
                skipped.append({"file": readable(file), "reason": readable(reason)})
            if time.monotonic() - shown > EVERY:
                shown = time.monotonic()
                print(f"{number} of {len(todo)} files, {len(skipped)} skipped", flush=True)
    finally:
        pool.shutdown(cancel_futures=True)
    return {file: rows[file] for file in files if file in rows}, new


def _write_table(path: Path, columns: tuple[str, ...], rows: list[dict]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def _write_sheet(job: Job, rows: dict[str, dict], names: dict[str, str]) -> None:
    """Show pictures from all over the folder, as they were and as they are."""
    count = min(SHOWN, len(rows))
    files, pairs = list(rows), []
    for file in (files[place * len(files) // count] for place in range(count)):
        row, found = rows[file], [job.source / file, job.target / "pictures" / f"{names[file]}.png"]
        measured = f"  {row['bpp']:.2f} bpp" + (f"  {row['psnr']:.1f} dB" if row["psnr"] is not None else "")
        with suppress(DataError):  # gone or changed by now
            pairs.append((*(fitted(open_picture(path)) for path in found), row["file"], measured))
    if pairs:
        with atomic(job.target / "contact_sheet.png") as temporary:
            contact_sheet(pairs).save(temporary, "PNG")


def main(arguments: list[str] | None = None) -> int:
    """Apply a run or a codec to a folder. Return 0, or 1 after one sentence."""
    parser = argparse.ArgumentParser(
        prog="python -m ra_core.apply", description="Apply a run, or a codec alone, to a folder of pictures."
    )
    parser.add_argument("source", type=Path, metavar="INPUT", help="folder of pictures")
    parser.add_argument("target", type=Path, metavar="OUTPUT", help="folder for the results, outside of INPUT")
    parser.add_argument("--run", type=Path, help="folder of a preprocessor's or processor's run; else the codec alone")
    parser.add_argument("--codec", help="codec of the standard files (default: the run's; a processor: PNG only)")
    parser.add_argument("--quality", type=float, help="in the codec's own unit (default: the run's)")
    parser.add_argument("--strength", type=float, help="of an adaptive preprocessor (default: by the quality)")
    parser.add_argument("--transformer", action="store_true", help="apply the processor's transformer too")
    parser.add_argument("--workers", type=int, help="pictures at once (default: one a core, at most four)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    given = vars(parser.parse_args(arguments))
    return exit_status(lambda: apply(**given))
