"""A run, or a codec alone, on every picture of a folder; names and folders are kept.

- `files/`: standard files (with a codec), `pictures/`: what was decoded from them, or what a processor made, as PNG.
- `pictures.csv`: `width`, `height`, `bytes` of what was stored; `bpp`, 8 * bytes / (width * height); `psnr`, dB, to
  the input where the sizes agree; `seconds`, from reading to writing. `skipped.csv`: what failed, and why.
- Pixels are turned upright; all metadata go but a profile of RGB colours, which is put into the PNG, and into JPEG,
  WebP, HEIC and AVIF files, where it counts among the `bytes`. Pixels with a grey or CMYK profile become sRGB.
- Networks and codecs see the colours; transparency lies in the PNG, and beside the standard file as `<name>.alpha.png`.
- Pictures have up to 2^26 pixels, in and out; large ones go through a network in tiles (`ra_core.apply.tiles`).

Called again, it does what is missing or has changed, and deletes what was made of pictures that are gone, unless a
folder of the input cannot be read. Folders that are links are not entered, hidden files are not read.
"""

import errno
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pandas as pd

from ra_core.apply.jobs import COLUMNS, Job, output_names, readable
from ra_core.apply.pipeline import make_pipeline
from ra_core.apply.sheet import contact_sheet
from ra_core.cores import cores
from ra_core.data.decoding import open_picture
from ra_core.errors import DataError, OutputError, ParameterError, RAError
from ra_core.files import atomic, write_json, write_text
from ra_core.training import pick_device

SHOWN = 12  # pictures on the contact sheet
EVERY = 5.0  # seconds between two lines of progress
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # which every other picture would meet too


def apply(
    source: str | Path, target: str | Path, run: str | Path | None = None, *, workers=None, device="auto", **options
) -> list[dict]:
    """Apply a run or a codec to the pictures of a folder and return the rows of `pictures.csv`.

    `workers` pictures are read, coded and written at once (one a core, at most four); their number changes nothing in
    the results. `options` are those of `ra_core.apply.pipeline.make_pipeline`: codec, quality, strength, transformer.
    Raises `ParameterError` or `DataError` before anything is written, `DataError` where no picture can be used, and
    `OutputError` where the disk is full.
    """
    source, target = Path(source).resolve(), Path(target).resolve()
    if not source.is_dir():
        raise DataError(f"{source} is no folder; name one that holds pictures.")
    if target.is_relative_to(source) or (target.exists() and not target.is_dir()):
        raise ParameterError(f"the output {target} lies in the input folder, or is a file; name a folder elsewhere.")
    workers = min(4, cores()) if workers is None else workers
    if type(workers) is not int or not 1 <= workers <= 64:
        raise ParameterError(f"number of workers {workers!r} is not allowed; give a whole number from 1 to 64.")
    device = pick_device(device)
    job = Job(source, target, make_pipeline(run, device=device, **options), device)
    files, skipped = find_files(source)
    _check_settings(target, {"input": readable(source)} | job.pipeline.settings)
    with suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
    gone = 0 if skipped else job.delete_orphans(files)  # what lies in an unreadable folder may well be there
    names = output_names(files)
    rows, new = _process_all(job, names, workers, skipped)
    for name, columns, found in (("skipped", ("file", "reason"), skipped), ("pictures", COLUMNS, list(rows.values()))):
        table = pd.DataFrame(found, columns=columns)
        write_text(target / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))
    if not rows:
        raise DataError(f"none of the files in {source} could be used; {target / 'skipped.csv'} says why.")
    if new or gone or not (target / "contact_sheet.png").exists():
        _write_sheet(job, rows, names)
    if gone:
        print(f"{gone} pictures are gone from {readable(source)}, and so is now what was made of them", flush=True)
    print(f"{len(rows)} pictures ({new} of them now), {len(skipped)} skipped: {readable(target)}", flush=True)
    return list(rows.values())


def find_files(source: Path) -> tuple[list[str], list[dict]]:
    """Return all files in and below a folder, relative to it, and the folders that cannot be read.

    Raises `DataError` where there is nothing.
    """
    files, errors = [], []
    for where, folders, names in os.walk(source, onerror=errors.append):
        folders[:] = sorted(name for name in folders if name[0] != ".")
        files += [Path(where, name).relative_to(source).as_posix() for name in sorted(names) if name[0] != "."]
    if not files and not errors:
        raise DataError(f"{source} holds no files; put pictures into it.")
    unread = ((readable(error.filename), f"{error.strerror}; mend its permissions.") for error in errors)
    return files, [{"file": file, "reason": reason} for file, reason in unread]


def _check_settings(target: Path, settings: dict) -> None:
    """Write down how the output is made. Raises `ParameterError` where something else lies there already."""
    path, known = target / "settings.json", {}
    if not path.exists():
        if target.is_dir() and any(entry.name[0] != "." for entry in target.iterdir()):
            raise ParameterError(f"{target} holds other files; name a new folder for the output.")
        return write_json(path, settings)
    with suppress(OSError, ValueError, TypeError):  # then nothing of it is known
        known = dict(json.loads(path.read_text(encoding="utf-8")))
    if changed := [key for key in settings if known.get(key) != settings[key]]:
        raise ParameterError(f"{target} was made with other settings ({', '.join(changed)}); name another folder.")


def _process_all(job: Job, names: dict[str, str], workers: int, skipped: list[dict]) -> tuple[dict[str, dict], int]:
    """Return the row of each picture that is done, and how many were done just now; add to `skipped`."""
    rows, shown = {file: job.finished_row(file, name) for file, name in names.items()}, time.monotonic()
    todo = [file for file, row in rows.items() if row is None]

    def attempt(file: str) -> dict | str:
        try:
            return job.process(file, names[file])
        except Exception as error:  # one bad picture never ends a run of many; a full disk does
            cause = error.__cause__ or error
            if isinstance(error, OutputError) and getattr(cause, "errno", None) in NO_SPACE:
                raise
            if isinstance(error, RAError) and not isinstance(error, OutputError):
                return str(error)
            return f"{job.source / file} could not be processed ({type(cause).__name__}: {cause})."

    pool = ThreadPoolExecutor(workers, thread_name_prefix="apply")
    try:
        for number, (file, found) in enumerate(zip(todo, pool.map(attempt, todo), strict=True), 1):
            if isinstance(found, dict):
                rows[file] = found
            else:
                skipped.append({"file": readable(file), "reason": " ".join(readable(found).split())})
            if time.monotonic() - shown > EVERY:
                shown = time.monotonic()
                print(f"{number} of {len(todo)} files, {len(skipped)} skipped", flush=True)
    finally:
        pool.shutdown(cancel_futures=True)
    return {file: row for file, row in rows.items() if row}, sum(rows[file] is not None for file in todo)


def _write_sheet(job: Job, rows: dict[str, dict], names: dict[str, str]) -> None:
    """Show pictures from all over the folder, before and after."""
    count, files, pairs = min(SHOWN, len(rows)), list(rows), []
    for file in (files[place * len(files) // count] for place in range(count)):
        row, found = rows[file], (job.source / file, job.target / "pictures" / f"{names[file]}.png")
        measured = f"  {row['bpp']:.2f} bpp" + (f"  {row['psnr']:.1f} dB" if row["psnr"] is not None else "")
        with suppress(DataError):  # gone or changed by now
            pairs.append((*map(open_picture, found), row["file"], measured))
    if pairs:
        with atomic(job.target / "contact_sheet.png") as temporary:
            contact_sheet(pairs).save(temporary, "PNG")
