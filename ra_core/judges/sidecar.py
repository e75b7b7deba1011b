"""What `judges/<name>.json` says of the weights beside it: how to feed them, how to read their answer, whose they are.

The folder `judges` lies at the root of the project; git ignores it, as weights are mostly somebody else's.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ra_core.data.folders import imagenet_classes
from ra_core.errors import ParameterError
from ra_core.files import read_json
from ra_core.judges.base import JUDGES
from ra_core.paths import project_root
from ra_core.strict import Strict, checked

SUFFIXES = {"onnx": ".onnx", "tflite": ".tflite", "torchscript": ".pt", "torchvision": ".safetensors"}
DECODERS = {"yolox": "onnx", "nanodet": "onnx", "faster_rcnn": "torchscript"}  # and the framework of each
EVERY = "judges/*"
Positive = Annotated[float, Field(gt=0)]
Percent = Annotated[float, Field(gt=0, le=100)]
Text = Annotated[str, Field(min_length=1)]


class Scaling(Strict):
    """What becomes of a value v from 0 to 255: (v / divisor - mean) / std, mean and std in the order of channels."""

    channels: Literal["RGB", "BGR"]
    divisor: Positive
    mean: list[float] = Field([0, 0, 0], min_length=3, max_length=3)
    std: list[Positive] = Field([1, 1, 1], min_length=3, max_length=3)


class Sidecar(Strict):
    """The fields of a sidecar; a classifier states the `top1` that it reaches on clean pictures, a detector `map50`."""

    framework: Literal["onnx", "tflite", "torchscript", "torchvision"]
    architecture: Text | None = Field(None, description="its name in torchvision")
    family: Text = Field(description="of networks, by which judges are grouped")
    input: list[Annotated[int, Field(ge=1)]] = Field(min_length=2, max_length=2, description="height, width")
    resize: Literal["squeeze", "crop", "fit", "none"] = Field(description="how a picture comes to that size")
    scaling: Scaling
    classes: Literal["imagenet", "coco", "coco_ids"] | list[Text] = Field(description="in the order of the answer")
    background: bool = Field(False, description="the answer begins with a class for none of them")
    output: Literal["scores", "probabilities"] = Field("scores", description="scores are what comes before a softmax")
    decoder: Literal["yolox", "nanodet", "faster_rcnn"] | None = Field(None, description="how boxes are read")
    engine: Literal["qnnpack", "x86", "fbgemm", "onednn"] | None = Field(None, description="of 8-bit TorchScript")
    source: Text = Field(description="where the weights come from")
    licence: Text
    top1: Percent | None = None
    map50: Percent | None = None

    @model_validator(mode="after")
    def _fitting(self):
        detects, ours = self.detects, self.framework == "torchvision"
        classifies_only = self.background or self.output == "probabilities"
        wrong = (
            ("state top1 of a classifier, or map50 of a detector", detects == (self.top1 is not None)),
            ("framework torchvision needs an architecture, and no other has one", ours != bool(self.architecture)),
            ("a decoder is for a detector in a file of its own", bool(self.decoder) != (detects and not ours)),
            (f"decoder {self.decoder} reads no {self.framework} file",
             self.decoder is not None and DECODERS[self.decoder] != self.framework),
            ("background and probabilities are for classifiers", detects and classifies_only),
            ("an engine is for torchscript", self.engine is not None and self.framework != "torchscript"),
            ("a detector must see all of a picture, so it cannot crop", detects and self.resize == "crop"),
            ("decoders yolox and nanodet need resize squeeze or fit",
             self.decoder in ("yolox", "nanodet") and self.resize == "none"),
            ("a detector of torchvision takes RGB pictures as they come, so resize is none",
             ours and detects and (self.resize != "none" or self.scaling.channels != "RGB")),
            ("classes has a name twice", isinstance(self.classes, list) and len({*self.classes}) < len(self.classes)),
        )  # fmt: skip
        if found := [sentence for sentence, is_so in wrong if is_so]:
            raise ValueError(found[0])
        return self

    @property
    def detects(self) -> bool:
        """Whether it finds boxes, and does not classify."""
        return self.map50 is not None

    @property
    def black_box(self) -> bool:
        """Whether no gradient comes back."""
        return self.framework != "torchvision"

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the classes."""
        if isinstance(self.classes, list):
            return tuple(self.classes)
        if self.classes == "imagenet":
            return imagenet_classes()
        from torchvision.models.detection import FCOS_ResNet50_FPN_Weights

        ids = FCOS_ResNet50_FPN_Weights.COCO_V1.meta["categories"][1:]  # COCO's ids 1 to 90, of which it uses 80
        return tuple(name for name in ids if name != "N/A" or self.classes == "coco_ids")


def judges_folder() -> Path:
    """Return the folder of judges that are files."""
    return project_root() / "judges"


def find_sidecar(name: str) -> Sidecar | None:
    """Return what `judges/<name>.json` says; None where there is none of that name.

    Raises `ParameterError` for one that cannot be read, lacks its weights or takes the name of another judge.
    """
    path = judges_folder() / f"{name}.json"
    if Path(name).name != name or not path.exists():
        return None
    if name in JUDGES:
        raise ParameterError(f"{path} has the name of a judge that there is already; give it another name.")
    try:
        sidecar = checked(Sidecar, path, read_json(path))
    except (OSError, ValueError) as error:
        raise ParameterError(f"{path} cannot be read ({error}); write it as JSON, every key once.") from error
    if not weights_of(name, sidecar).is_file():
        raise ParameterError(f"{path} has no weights beside it; put them there as {weights_of(name, sidecar).name}.")
    return sidecar


def weights_of(name: str, sidecar: Sidecar) -> Path:
    """Return the file of weights beside a sidecar."""
    return judges_folder() / f"{name}{SUFFIXES[sidecar.framework]}"


def spelled_out(names: list) -> list:
    """Return names of judges, with `judges/*` replaced by every classifier that has a sidecar, by name."""
    if EVERY not in names:
        return names
    found = [path.stem for path in sorted(judges_folder().glob("*.json")) if not find_sidecar(path.stem).detects]
    return [*(name for name in names if name != EVERY), *(name for name in found if name not in names)]


def checked_judge(name: str) -> str:
    """Return the name of a judge. Raises `ParameterError` where it has a sidecar that is wrong."""
    find_sidecar(name)
    return name


def checked_source(name: str) -> str:
    """Return the name of a judge to learn from. Raises `ParameterError` where it is a black box."""
    sidecar = find_sidecar(name)
    if sidecar and sidecar.black_box:
        raise ParameterError(
            f"judge {name!r} is a black box ({sidecar.framework}), which gives no gradient to learn from; "
            "name it under unseen, and another as source."
        )
    return name
