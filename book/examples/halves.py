"""Photographs of every second class of ImageNet, and recognizers that choose among these classes alone."""

from dataclasses import replace
from functools import cache, partial
from pathlib import Path

from ra_core.data import FolderPictures, dataset
from ra_core.data.folders import list_flat, load_flat
from ra_core.judges import JUDGES, Recognizer, load_judge

FIRST = {"even": 0, "odd": 1}  # the first class of each half
NAMES = [f"efficientnet_lite{size}" for size in range(3)]
NAMES += ["mobilenet_v2_1.0_224_quant", "mobilenet_v1_0.75_192_quant", "mcunet-5fps_int8"]
divided = cache(partial(load_flat, test_share=0.02, validation_share=0.05))  # as in the profile photos


class Within(Recognizer):
    """A recognizer of all classes that chooses among those of one half."""

    def __init__(self, name: str, half: str):
        super().__init__(load_judge(name), f"{name}_{half}", (0, 0, 0), (1, 1, 1))
        self.first, self.family, self.black_box = FIRST[half], self.net.family, self.net.black_box

    def forward(self, images):
        return super().forward(images)[:, self.first :: 2]


def load(half: str, part: str, source: str = "data/photos/train", home: str | Path = "") -> FolderPictures:
    """Return the pictures of one half, as `photos` divides them; those to report on lie beside, in `test`."""
    folder, first = Path(home, source), FIRST[half]
    pictures = list_flat(folder.with_name("test")) if part == "test" else divided(folder)[part]
    chosen = pictures.subset((pictures.labels % 2 == first).nonzero().flatten(), f"{pictures.name}/{half}")
    return replace(chosen, labels=chosen.labels // 2, classes=pictures.classes[first::2])


for half in FIRST:
    dataset(f"photos_{half}", kind="classification", title=f"photographs, {half} classes")(partial(load, half))
    for name in NAMES:
        JUDGES.add(f"{name}_{half}", partial(Within, name, half))
