"""Out of memory: what is said of it is what a trial found."""

import pytest
import tiny
import torch
from refusal import refusal
from torch import nn

from ra_core.chain import Chain
from ra_core.channels import Noise
from ra_core.errors import TrainingError
from ra_core.evaluation import evaluate
from ra_core.training.memory import is_out_of_memory, largest_that_fits, told_what_fits

pytestmark = pytest.mark.usefixtures("one_thread")


class Tight(Noise):
    """Noise for which there is memory for `room` pictures after some steps of the process."""

    def __init__(self, room: int, steps: int = 0):
        super().__init__(0.1)
        object.__setattr__(self, "left", [room, steps])  # a channel is frozen

    def __call__(self, images, generator=None, indices=None):
        self.left[1] -= 1
        if self.left[1] < 0 and len(images) > self.left[0]:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
        return super().__call__(images, generator, indices)

    def __repr__(self):
        return repr(Noise(self.sigma))


@pytest.mark.parametrize(
    ("error", "yes"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (MemoryError(), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes."), True),
        (RuntimeError("shapes differ"), False),
        (ValueError("can't allocate memory"), False),
    ],
)
def test_errors_of_memory_are_known(error, yes):
    assert is_out_of_memory(error) is yes


def test_halves_are_tried_until_one_fits():
    tried = []

    def trial(count):
        tried.append(count)
        if count > 3:
            raise MemoryError

    assert largest_that_fits(trial, 20) == 2 and tried == [10, 5, 2]


def test_another_error_in_a_trial_is_not_swallowed():
    def trial(count):
        raise ValueError("something else")

    with pytest.raises(ValueError, match="something else"):
        largest_that_fits(trial, 4)


def test_what_was_computed_is_let_go_before_the_trial():
    held = []

    class Activation:
        def __init__(self):
            held.append(1)

        def __del__(self):
            held.pop()

    def step():
        activation = Activation()  # noqa: F841
        raise MemoryError

    def trial(count):
        assert held == []

    def run():
        with told_what_fits(trial, 8, 8, torch.device("cpu"), lambda: "nothing is kept"):
            step()

    assert "fits with 4" in refusal(TrainingError, run)


@pytest.mark.parametrize(("room", "advice"), [
    (2, "a trial of the step fits with 2: give batch 2 to start anew, or keep the batch and start at least 3 "
        "processes"),
    (0, "a trial with one picture does not fit either: give smaller networks or pictures"),
])  # fmt: skip
def test_a_training_says_what_fits_and_keeps_its_checkpoint(tmp_path, room, advice):
    said = refusal(TrainingError, tiny.train, tmp_path, channel=Tight(room, steps=3))
    kept = tmp_path / "checkpoint.pt"
    assert said == (
        f"5 pictures a step do not fit into the memory of cpu; the last good checkpoint, {kept}, is kept; {advice}."
    )
    assert torch.load(kept, weights_only=True)["step"] == 3
    tiny.train(tmp_path)  # with more memory
    tiny.train(tmp_path / "once")
    assert tiny.weights(tmp_path) == tiny.weights(tmp_path / "once")


def test_the_last_picture_that_does_not_fit(tmp_path):
    said = refusal(TrainingError, tiny.train, tmp_path, channel=Tight(0), batch=1)
    assert "1 pictures a step do not fit" in said and "no checkpoint was due yet" in said


def test_the_advice_holds(tmp_path):
    tiny.train(tmp_path, channel=Tight(2), batch=2, steps=2)


def test_a_validation_that_does_not_fit_says_so_and_is_made_up_for(tmp_path):
    def validate(room: int):
        shown = {"tiny": tiny.source()}, tiny.pictures(6), 3
        return lambda: {"psnr": evaluate(Chain(Tight(room)), *shown).psnr.mean().item()}

    said = refusal(TrainingError, tiny.train, tmp_path, validate=validate(2), checkpoint_seconds=60)
    assert said == (
        "the pictures of a step of evaluation do not fit into the memory of cpu; what was trained is kept: "
        "give a smaller evaluation_batch and run again."
    )
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 1
    assert tiny.train(tmp_path, validate=validate(3))["validation"]["psnr"] > 0
    tiny.train(tmp_path / "once", validate=validate(3))
    assert tiny.weights(tmp_path) == tiny.weights(tmp_path / "once")
    for folder in (tmp_path, tmp_path / "once"):
        assert [line["step"] for line in tiny.log(folder) if "validation" in line] == [1, 2, 3, 4, 5, 6]


def test_any_validation_without_memory_is_told(tmp_path):
    def validate():
        raise torch.OutOfMemoryError("CUDA out of memory.")

    said = refusal(TrainingError, tiny.train, tmp_path, validate=validate, validations=1)
    assert "give a smaller evaluation_batch" in said
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 6  # all of the training


@pytest.mark.gpu
def test_a_gpu_without_memory_says_what_fits(tmp_path):
    free = torch.cuda.mem_get_info()[0]

    class Hungry(Noise):
        def __call__(self, images, generator=None, indices=None):
            torch.empty(len(images), free // 4, dtype=torch.uint8, device="cuda")
            return super().__call__(images, generator, indices)

    said = refusal(TrainingError, tiny.train, tmp_path, channel=Hungry(0.1), device="cuda", batch=12,
                   networks={"processor": nn.Conv2d(3, 3, 1)})  # fmt: skip
    assert "a trial of the step fits with 3: give batch 3" in said
