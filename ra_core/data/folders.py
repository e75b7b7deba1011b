"""Pictures from the user's own files: one picture, or a tree `root/{train,val}/<class>/<picture>`.

The tree is what torchvision calls an ImageFolder; `ra_core.data.flat_folders` reads folders without one. Pictures are
decoded when a batch is made, so that the tree may be larger than memory.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from heapq import nsmallest
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from ra_core.cores import own_cores
from ra_core.data.draws import draw
from ra_core.errors import DataError, ParameterError

MAX_MEGAPIXELS = 80  # below the size at which Pillow starts to warn (89)
ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".pgm", ".tif", ".tiff")
PARTS = {"train": "train", "test": "val", "val": "val"}  # ImageNet is reported on its labelled `val` folder
READ = 1000  # files whose bytes a fingerprint is taken of: all of a small set, and seconds of a large one
WHITE_OF_MODE = {"I;16": 65535, "I;16L": 65535, "I;16B": 65535, "I;16N": 65535, "I": 65535, "F": 1}


def open_picture(path: str | Path) -> Image.Image:
    """Return the picture at `path` as 8-bit RGB, upright.

    Grey becomes RGB, 16-bit grey is scaled and rounded to 8 bits, transparent pixels lie on white, CMYK and
    palettes are converted, the camera's orientation tag is applied, and an animation gives its first frame.
    Raises `DataError` when `path` is not a whole picture or has more than `MAX_MEGAPIXELS`.
    """
    path = Path(path)
    _refuse_non_files(path)
    try:
        with Image.open(path) as picture:
            _refuse_giants(path, *picture.size)
            picture.load()
            return _to_rgb(_upright(picture))
    except DataError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(_too_large(path, "a size far beyond what is allowed")) from error
    except Image.UnidentifiedImageError as error:
        raise DataError(
            f"{path} is not a picture of a known kind; give a JPEG, PNG, WebP, TIFF, BMP or PPM file."
        ) from error
    except Exception as error:  # each of Pillow's decoders fails in its own way on damaged data
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"{path} cannot be read as a picture ({reason}); it may be damaged: give a whole copy."
        ) from error


def _refuse_non_files(path: Path) -> None:
    if path.is_dir():
        raise DataError(f"{path} is a folder; give the path of one picture.")
    if not path.exists():
        raise DataError(f"{path} does not exist; give the path of a picture.")
    if path.is_file() and path.stat().st_size == 0:
        raise DataError(f"{path} is an empty file; give a picture.")


def _too_large(path: Path, size: str) -> str:
    return f"{path} has {size}; at most {MAX_MEGAPIXELS} megapixels are read: make it smaller first."


def _refuse_giants(path: Path, width: int, height: int) -> None:
    if width * height > MAX_MEGAPIXELS * 1_000_000:
        raise DataError(_too_large(path, f"{width} x {height} pixels"))


def _upright(picture: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # a garbled tag is no reason to refuse a picture whose pixels are whole
        return picture


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode in WHITE_OF_MODE:
        return _from_deep_grey(picture)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    return picture.convert("RGB")


def _from_deep_grey(picture: Image.Image) -> Image.Image:
    """Scale a 16-bit (white is 65535) or float (white is 1) grey picture to 8 bits, rounding half up."""
    values, white = np.asarray(picture).astype(np.float32), WHITE_OF_MODE[picture.mode]
    if not (values.min() >= 0 and values.max() <= white):  # said so that a NaN fails too
        raise ValueError(f"its grey values are not between 0 and {white}")
    return Image.fromarray(np.floor(values * (255 / white) + 0.5).astype(np.uint8)).convert("RGB")


@dataclass(frozen=True)
class FolderPictures:
    """A set of picture files, decoded batch by batch; the same interface as `ra_core.data.Pictures`.

    `files` are relative to `folder`; `labels` (N,) int64 index `classes`, of which there is one where nothing is
    known of the pictures. Pictures are resized so that the shorter side is `resize` pixels (bilinear with antialias)
    and cropped to `crop` x `crop`, as published. `skipped` are files that are no pictures, each with the reason,
    and `contents`, where it is known, the SHA-256 of each file's bytes.
    """

    folder: Path
    files: tuple[str, ...]
    labels: torch.Tensor
    classes: tuple[str, ...]
    name: str
    resize: int = 256
    crop: int = 224
    skipped: tuple[tuple[str, str], ...] = ()
    contents: tuple[str, ...] = ()
    prefetch = 2  # batches that are read while another is trained on

    def __post_init__(self) -> None:
        if not 1 <= self.crop <= self.resize:
            raise ParameterError(
                f"a crop of {self.crop} out of {self.resize} pixels was asked for; "
                "the crop must be at least 1 and at most the size resized to."
            )

    def __len__(self) -> int:
        return len(self.files)

    def subset(self, indices: torch.Tensor, name: str) -> "FolderPictures":
        """Return the pictures at `indices` as a set of its own."""
        chosen = indices.tolist()
        files = tuple(self.files[i] for i in chosen)
        contents = tuple(self.contents[i] for i in chosen) if self.contents else ()
        return replace(self, files=files, labels=self.labels[indices], name=name, contents=contents)

    def batch(self, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return centre crops (B, 3, crop, crop), float in [0, 1], and labels (B,)."""
        images, labels = self._decode(indices, [None] * len(indices))
        return images.float().div_(255), labels

    def training_batch(self, indices: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Return random crops (B, 3, crop, crop) uint8, each mirrored with probability one half, and labels.

        They are left as bytes, of which a device is sent a quarter as many as of floats. Three numbers a picture are
        drawn, in the order of `indices`, before any file is read.
        """
        return self._decode(indices, draw(torch.rand, (len(indices), 3), generator).tolist())

    def digests(self) -> Iterator[bytes]:
        """Yield the SHA-256 of each picture's class, file name and bytes.

        Where `contents` is empty, the file's size stands for its bytes, except of `READ` files, chosen by their name,
        which are read: a million cannot be. Times have no part in it, so that every true copy of a folder goes on
        with a training; in exchange, among more than `READ` files one that changes and keeps its size may go unseen.
        """
        facts = self.contents or [(self.folder / file).stat().st_size for file in self.files]
        found = [
            hashlib.sha256(f"{self.classes[label]}\n{file}\n{fact}".encode()).digest()
            for file, label, fact in zip(self.files, self.labels.tolist(), facts, strict=True)
        ]
        for i in () if self.contents else nsmallest(READ, range(len(found)), key=found.__getitem__):
            content = content_of(self.folder / self.files[i])
            found[i] = hashlib.sha256(found[i] + content.encode()).digest()
        yield from found

    def _decode(self, indices: torch.Tensor, draws: list[list[float] | None]) -> tuple[torch.Tensor, torch.Tensor]:
        files = [self.files[i] for i in indices.tolist()]
        with ThreadPoolExecutor(own_cores()) as pool:  # Pillow mostly works without the interpreter lock
            try:
                images = list(pool.map(self._read, files, draws))
            except DataError as error:
                raise DataError(
                    f"{str(error).removesuffix('.')}; python -m ra_core.data.check {self.folder} lists all such files."
                ) from error
        return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2), self.labels[indices]

    def check(self, file: str) -> str | None:
        """Return why a file cannot be used, in one sentence, or None where it is whole."""
        return why_not(self._read, file, None)

    def _read(self, file: str, draw: list[float] | None) -> np.ndarray:
        """Return one crop (crop, crop, 3) uint8: the centre, or as the three numbers of `draw` say."""
        path = self.folder / file
        picture = self._resized(path, open_picture(path))
        room_x, room_y = picture.width - self.crop, picture.height - self.crop
        if draw is None:
            left, top, mirrored = round(room_x / 2), round(room_y / 2), False
        else:
            left, top, mirrored = int(draw[0] * (room_x + 1)), int(draw[1] * (room_y + 1)), draw[2] < 0.5
        picture = picture.crop((left, top, left + self.crop, top + self.crop))
        return np.asarray(ImageOps.mirror(picture) if mirrored else picture)

    def _resized(self, path: Path, picture: Image.Image) -> Image.Image:
        shorter = min(picture.size)
        width, height = (int(self.resize * side / shorter) for side in picture.size)
        _refuse_giants(path, width, height)  # a strip one pixel wide would grow without bounds
        return picture.resize((width, height), Image.Resampling.BILINEAR)


def why_not(read: Callable, *arguments) -> str | None:
    """Return the sentence with which a picture is refused, or None where it is read."""
    try:
        read(*arguments)
    except DataError as error:
        return str(error)
    return None


def load(root: str | Path, part: str = "train", resize: int = 256, crop: int = 224) -> FolderPictures:
    """Return the `train` or `test` part of the tree `root/{train,val}/<class>/<picture>`; `test` reads `val`.

    Classes and files come in alphabetical order, so that labels agree with recognizers trained on such trees.
    Raises `ParameterError` for another part, and `DataError` when a folder is missing, there are fewer than
    two classes, one is empty, or the two parts have different classes.
    """
    if part not in PARTS:
        raise ParameterError(f"a picture folder has no part {part!r}; choose one of {', '.join(PARTS)}.")
    root = Path(root).expanduser()
    folder = root / PARTS[part]
    try:
        classes = _classes(root, folder)
        per_class = [picture_files(folder, name) for name in classes]
    except OSError as error:
        raise DataError(f"{folder} cannot be read ({error.strerror or error}); mend its permissions.") from error
    empty = [name for name, files in zip(classes, per_class, strict=True) if not files]
    if empty:
        raise DataError(
            f"class folder {folder / empty[0]} holds no pictures ({len(empty)} such); "
            f"put in files that end in {', '.join(ENDINGS)}, or remove the folder from every part."
        )
    labels = torch.tensor([label for label, files in enumerate(per_class) for _ in files])
    files = tuple(file for files in per_class for file in files)
    return FolderPictures(folder, files, labels, classes, f"{root.resolve().name}/{part}", resize, crop)


def _folder_names(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")))


def _classes(root: Path, folder: Path) -> tuple[str, ...]:
    """Return the names of the class folders, after checking that the other parts have the same."""
    if not root.is_dir():
        raise DataError(
            f"{root} is not a folder; put there {PARTS['train']}/<class>/ and {PARTS['test']}/<class>/, or pictures "
            "with a table labels.csv, or pictures alone."
        )
    if not folder.is_dir():
        raise DataError(
            f"{folder} is not a folder; pictures are expected in {root}/train/<class>/ and {root}/val/<class>/."
        )
    classes = _folder_names(folder)
    if len(classes) < 2:
        raise DataError(
            f"{folder} has {len(classes)} class folders; at least 2 are needed: make one folder a class, "
            "named after it, with its pictures inside."
        )
    for other in sorted({root / name for name in PARTS.values()} - {folder}):
        different = set(classes) ^ set(_folder_names(other)) if other.is_dir() else ()
        if different:
            raise DataError(
                f"{folder} and {other} differ in class {min(different)!r} ({len(different)} such); "
                "both must have the same class folders."
            )
    return classes


def content_of(path: Path) -> str:
    """Return the SHA-256 of the bytes of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def place_of(digest: str) -> float:
    """Return a number from 0 to 1 that follows from a SHA-256 in hexadecimal digits: its first eight bytes."""
    return int(digest[:16], 16) / 2**64


def picture_files(folder: Path, name: str = "") -> list[str]:
    """Return the picture files in and below `folder / name`, sorted, relative to `folder`.

    Links to folders are followed, but no folder is entered twice, nor one that `folder / name` lies in.
    """
    top, found = Path(os.path.realpath(folder / name)), []
    seen = {top, *top.parents}
    for where, folders, files in os.walk(folder / name, followlinks=True):
        found += [Path(where, file) for file in files if file.lower().endswith(ENDINGS) and file[0] != "."]
        inside = sorted(folders, key=lambda one: (os.path.islink(os.path.join(where, one)), one))
        real = {one: Path(os.path.realpath(os.path.join(where, one))) for one in inside}
        folders[:] = [one for one in inside if not (real[one] in seen or seen.add(real[one]))]
    return sorted(path.relative_to(folder).as_posix() for path in found)
