"""A run, or a codec alone, on every picture of a folder; names and folders are kept.

- `files/`: standard files (with a codec), `pictures/`: what was decoded from them, or what a processor made, as PNG.
- `pictures.csv`: `width` and `height` of what was stored, and its `bytes`; `bpp`, bits a pixel; `psnr`, dB, to the
  input where the sizes agree; of a picture sent smaller both are of the one that its receiver enlarges back to the
  input's size; `seconds`, from reading to writing. `skipped.csv`: what failed, and why.
- Pixels are turned upright; all metadata go but a profile of RGB colours, which is put into the PNG, and into JPEG,
  WebP, HEIC and AVIF files, where it counts among the `bytes`. Pixels with a grey or CMYK profile become sRGB.
- Networks and codecs see the colours; transparency lies in the PNG, and beside the standard file as `<name>.alpha.png`.

Called again, it does what is missing or has changed, and deletes what was made of pictures that are gone, unless a
folder of the input cannot be read. Hidden files are not read; hidden folders and those that are links are listed.
"""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pandas as pd
from tqdm.auto import tqdm

from ra_core.apply.jobs import COLUMNS, Job, output_names
from ra_core.apply.pipeline import make_pipeline
from ra_core.apply.sheet import write_sheet
from ra_core.cores import cores
from ra_core.data.decoding import NO_MEMORY, reason
from ra_core.data.listing import spelt
from ra_core.errors import DataError, ParameterError, RAError, is_out_of_memory
from ra_core.files import NO_SPACE, write_json, write_text
from ra_core.training import pick_device


def apply(
    source: str | Path, target: str | Path, run: str | Path | None = None, *, workers=None, device="auto", **options
) -> list[dict]:
    """Apply a run or a codec to the pictures of a folder and return the rows of `pictures.csv`.

    `workers` pictures are read, coded and written at once (one a core, at most four); their number changes nothing in
    the results. `options` are those of `ra_core.apply.pipeline.make_pipeline`: codec, quality, strength, transformer.
    Raises `ParameterError` or `DataError` before anything is written, `DataError` where no picture can be used, and
    `OutputError` where the disk is full.
    """
    source, target, device = Path(source).resolve(), Path(target).resolve(), pick_device(device)
    if target.is_relative_to(source) or (target.exists() and not target.is_dir()):
        raise ParameterError(f"the output {target} lies in the input folder, or is a file; name a folder elsewhere.")
    if workers is not None and workers < 1:
        raise ParameterError(f"workers {workers} are not allowed; give a whole number from 1.")
    job = Job(source, target, make_pipeline(run, device=device, **options))
    files, skipped, unreadable = find_files(source)
    _check_settings(target, {"input": str(source)} | job.pipeline.settings)
    with suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
    names = output_names(files)
    done, gone = job.finished_rows(names, delete_others=not unreadable)  # where may be what seems gone
    found = done | _process(job, {file: name for file, name in names.items() if file not in done}, workers)
    rows = {file: found[file] for file in files if isinstance(found[file], dict)}
    skipped += [{"file": file, "reason": found[file]} for file in files if file not in rows]
    for name, columns, lines in (("skipped", ("file", "reason"), skipped), ("pictures", COLUMNS, list(rows.values()))):
        table = pd.DataFrame(lines, columns=columns)
        write_text(target / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))
    if not rows:
        raise DataError(f"none of the files in {source} could be used; {target / 'skipped.csv'} says why.")
    new = len(rows.keys() - done.keys())
    if new or gone or not (target / "contact_sheet.png").exists():
        pictures = [(source / file, target / "pictures" / f"{names[file]}.png", row) for file, row in rows.items()]
        write_sheet(target / "contact_sheet.png", pictures)
    print(f"{len(rows)} pictures ({new} of them now), {len(skipped)} skipped, {gone} gone: {target}", flush=True)
    return list(rows.values())


def find_files(source: Path) -> tuple[list[str], list[dict], bool]:
    """Return all files in and below a folder, relative to it, what of it is left out, and whether some is unreadable.

    Raises `DataError` where there is nothing.
    """
    files, left_out, errors = [], {}, []
    for where, folders, names in os.walk(source, onerror=errors.append):
        found = {name: Path(where, name).relative_to(source).as_posix() for name in sorted(folders + names)}
        hidden = {name: "it is hidden." for name in folders if name[0] == "."}
        linked = {name: "it is a link to a folder; name that." for name in folders if Path(where, name).is_symlink()}
        left_out |= {found[name]: why for name, why in (linked | hidden).items()}
        folders[:] = sorted(set(folders) - linked.keys() - hidden.keys())
        files += [found[name] for name in sorted(names) if name[0] != "."]
    if not files and not (errors and source.is_dir()):
        raise DataError(f"{source} is no folder, or holds no files; name one that holds pictures.")
    left_out |= {error.filename: f"{error.strerror}; mend its permissions." for error in errors}
    left_out |= {file: "its name is no Unicode; rename it." for file in files if spelt(file) != file}
    skipped = [{"file": spelt(file), "reason": why} for file, why in left_out.items()]
    return [file for file in files if file not in left_out], skipped, bool(errors)


def _check_settings(target: Path, settings: dict) -> None:
    """Write down how the output is made. Raises `ParameterError` where something else lies there already."""
    path = target / "settings.json"
    if not path.exists() and target.is_dir() and any(entry.name[0] != "." for entry in target.iterdir()):
        raise ParameterError(f"{target} holds other files; name a new folder for the output.")
    if not path.exists():
        write_json(path, settings)
    try:
        known, settings = dict(json.loads(path.read_text(encoding="utf-8"))), json.loads(json.dumps(settings))
    except (OSError, ValueError, TypeError) as error:
        raise ParameterError(f"{path} cannot be read ({reason(error)}); name another folder for the output.") from error
    if changed := [key for key in settings if known.get(key) != settings[key]]:
        raise ParameterError(f"{target} was made with other settings ({', '.join(changed)}); name another folder.")


def _process(job: Job, names: dict[str, str], workers: int | None) -> dict[str, dict | str]:
    """Return the row of each file, or the reason why it could not be processed."""

    def attempt(file: str) -> dict | str:
        try:
            return job.process(file, names[file])
        except Exception as error:  # one bad picture never ends a run of many; a full disk does
            if getattr(error.__cause__ or error, "errno", None) in NO_SPACE:
                raise
            if isinstance(error, RAError):
                return str(error)
            what = f"could not be processed ({type(error).__name__}: {error})"
            return f"{file} {NO_MEMORY if is_out_of_memory(error) else what}."

    with ThreadPoolExecutor(workers or min(4, cores()), thread_name_prefix="apply") as pool:
        rows = tqdm(pool.map(attempt, names), total=len(names), unit="file", mininterval=5, disable=not names)
        return dict(zip(names, rows, strict=True))
