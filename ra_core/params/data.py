"""Typed parameters of where pictures come from."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, TypeAdapter, model_validator

from ra_core.data import DATASETS
from ra_core.params.base import Strict


class Data(Strict):
    """Where pictures come from."""

    kind: str = Field(
        "cifar10",
        description="a registered data set; folder: class folders, labels.csv or pictures; boxes: COCO or VOC",
    )
    source: str = Field("shipped", description="CIFAR-10: shipped, download or a path; folder, boxes: its path")
    test: str = Field("", description="folder: another one without class folders, all of which is only reported on")
    train_per_class: int = Field(0, ge=0, description="training pictures a class, 0 for all")
    test_per_class: int = Field(0, ge=0, description="test pictures a class, 0 for all")
    validation_per_class: int = Field(
        50, ge=1, description="pictures a class set aside from training (not of flat folders)"
    )
    resize: int = Field(
        256, ge=0, description="shorter side in pixels: folder: before the crop; boxes: of the picture, 0 as stored"
    )
    crop: int = Field(224, ge=8, description="folder: side of the square crop, pixels")
    test_share: float = Field(
        0.5, gt=0, lt=1, description="folder without class folders: share of the files that is only reported on"
    )
    validation_share: float = Field(
        0.1, gt=0, lt=1, description="folder without class folders: share of the files that validates"
    )
    # No part of what a training is, so that no run and no step of a workflow depends on it.
    cache: Literal["memory", "disk", "none"] = Field(
        "none", exclude=True, description="folder: where pictures are kept decoded, so that a GPU does not wait"
    )

    @model_validator(mode="after")
    def _possible(self):
        if self.cache != "none" and self.kind != "folder":
            raise ValueError(f"cache = {self.cache!r} keeps the decoded pictures of kind: folder; leave it out")
        if self.test and self.kind != "folder":
            raise ValueError(f"test = {self.test!r} is a folder beside that of kind: folder; leave it out")
        if self.kind == "folder" and self.crop > self.resize:
            raise ValueError(f"a crop of {self.crop} pixels does not fit into the {self.resize} resized to")
        return something_to_train_on(self)

    @property
    def title(self) -> str:
        """What readers call these pictures."""
        if self.kind in DATASETS:
            return DATASETS[self.kind].title
        folder = Path(self.source)
        return (folder.parent if folder.name == "train" else folder).name


class BoxFolder(Strict):
    """Where pictures of one's own with boxes come from, and how they are divided (`ra_core.data.box_folders`)."""

    folder: str = Field(description="in the format of Pascal VOC or COCO; a relative path begins at the project")
    resize: int = Field(
        0, ge=0, description="pixels of the shorter side, 0 as stored; what is resized counts as the picture"
    )
    names: dict[str, str | None] = Field(
        {}, description="a class of the folder: what detectors call it; null leaves its boxes out"
    )
    parts: dict[Literal["train", "validation", "test"], str] = Field(
        {}, description="lists of a VOC folder, or ends of the names of COCO's files; none: all files are divided"
    )
    test_share: float = Field(0.3, gt=0, lt=1, description="without parts: share of the files that tests")
    validation_share: float = Field(0.1, gt=0, lt=1, description="share of the files that validates")

    @model_validator(mode="after")
    def _divisible(self):
        if self.parts and not {"train", "test"} <= set(self.parts):
            raise ValueError("parts must name train and test, or nothing")
        return something_to_train_on(self)


def _which(given) -> str:
    """Say what a folder before a codec holds: boxed pictures, unless it states a `kind`."""
    kind = isinstance(given, Data) or (isinstance(given, dict) and "kind" in given and "folder" not in given)
    return "[pictures]" if kind else "[boxes]"


# In brackets, as errors then leave it out of the key.
OwnFolder = Annotated[Annotated[Data, Tag("[pictures]")] | Annotated[BoxFolder, Tag("[boxes]")], Discriminator(_which)]


def own_folder(given: dict) -> Data | BoxFolder:
    """Return the parameters of a folder of one's own, of labelled pictures or of boxed ones."""
    return TypeAdapter(OwnFolder).validate_python(given)


def something_to_train_on(shares):
    """Return the parameters as they are; what they set aside must leave something."""
    if shares.test_share + shares.validation_share >= 1:
        raise ValueError("test_share and validation_share leave nothing to train on; their sum must be below 1")
    return shares
