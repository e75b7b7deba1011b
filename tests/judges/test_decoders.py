"""Boxes of YOLOX and NanoDet."""

import numpy as np
import pytest
import torch
from judge_files import DETECTOR, onnx_constant, write
from refusal import refusal

from ra_core.errors import WeightsError
from ra_core.judges import load_judge

pytestmark = pytest.mark.usefixtures("empty_project")


def yolox(places: dict[int, list[float]]) -> bytes:
    """Return a YOLOX of two classes for 64 pixels that gives some places something and the others nothing."""
    answer = np.zeros((1, 64 + 16 + 4, 7), np.float32)
    for place, values in places.items():
        answer[0, place] = values
    return onnx_constant(64, y=answer)


def test_boxes_of_yolox_are_read_and_brought_back_to_the_picture():
    # Cell (2, 1) of stride 8, and cell (1, 0) of stride 16 with nearly the same box, less sure; cell (0, 1) of 32.
    near, size = [0.25, 0.5, np.log(2), np.log(3)], [0.0, 0.0, np.log(0.5), np.log(0.5)]
    found = {
        8 + 2: [*near, 0.8, 0.5, 0.9],
        64 + 1: [0.125, 0.75, np.log(1), np.log(1.5), 0.8, 0.0, 0.6],
        80 + 2: [*size, 1, 1, 0],
    }
    write("it", yolox(found), decoder="yolox", **DETECTOR)
    judge = load_judge("it")
    for answer in judge(torch.rand(2, 3, 128, 96)):  # half as large when it is fed
        assert answer["labels"].tolist() == [1, 2, 1]
        assert answer["scores"].tolist() == pytest.approx([1, 0.72, 0.4])
        boxes = [[0, 48, 16, 80], [20, 0, 52, 48], [20, 0, 52, 48]]
        assert torch.allclose(answer["boxes"], torch.tensor(boxes).float(), atol=1e-3)
    [answer] = judge.with_classes(("Green",))([torch.rand(3, 64, 64)])
    assert answer["labels"].tolist() == [1] and answer["scores"].tolist() == pytest.approx([0.72])


@pytest.mark.parametrize("levels", [False, True])
def test_boxes_of_nanodet_are_read_from_one_output_or_from_that_of_each_level(levels):
    scores, sides = np.zeros((1, 84, 2), np.float32), np.zeros((1, 84, 4, 8), np.float32)
    scores[0, 8 + 3, 1] = 0.7  # cell (3, 1) of stride 8, centre (28, 12)
    for side, distance in enumerate((2, 1, 3, 4)):
        sides[0, 8 + 3, side, distance] = 50
    sides = sides.reshape(1, 84, 32)
    outputs = {"y": np.concatenate([scores, sides], -1)}
    if levels:
        cut = [slice(0, 64), slice(64, 80), slice(80, 84)]
        outputs = {f"{kind}{i}": v[:, part] for i, part in enumerate(cut) for kind, v in (("a", scores), ("b", sides))}
    write("it", onnx_constant(64, **outputs), decoder="nanodet", **DETECTOR)
    [answer] = load_judge("it")(torch.rand(1, 3, 64, 64))
    assert answer["labels"].tolist() == [2] and answer["scores"].tolist() == pytest.approx([0.7])
    assert torch.allclose(answer["boxes"], torch.tensor([[12.0, 4.0, 52.0, 44.0]]), atol=1e-3)


def test_an_output_that_a_decoder_cannot_read_is_refused():
    write("it", onnx_constant(64, y=np.zeros((1, 84, 8), np.float32)), decoder="yolox", **DETECTOR)
    assert "84 x 3" in refusal(WeightsError, load_judge, "it")
    write("it", onnx_constant(64, y=np.zeros((1, 80, 7), np.float32)), decoder="yolox", **DETECTOR)
    refusal(WeightsError, load_judge, "it")
