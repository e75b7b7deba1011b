"""Out of memory is known, told in one sentence, and costs nothing that was trained."""

import pytest
import tiny
import torch
from refusal import refusal
from torch import nn
from trouble import Troubled

from ra_core.channels import Noise
from ra_core.errors import TrainingError, is_out_of_memory


def short(*_):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")


@pytest.mark.parametrize(
    ("error", "yes"),
    [(torch.OutOfMemoryError("CUDA out of memory."), True), (MemoryError(), True),
     (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes."), True),
     (RuntimeError("could not create a primitive"), True), (RuntimeError("shapes differ"), False),
     (OSError(12, "Cannot allocate memory"), True), (TrainingError("can't allocate memory"), False)],
)  # fmt: skip
def test_errors_of_memory_are_known(error, yes):
    assert is_out_of_memory(error) is yes


def test_a_training_says_what_does_not_fit_and_goes_on_where_there_is_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(Troubled, "spoil", short, raising=False)
    said = refusal(TrainingError, tiny.train, tmp_path, channel=Troubled(4))
    assert "5 pictures" in said and "memory of cpu" in said
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 3
    tiny.train(tmp_path)
    tiny.train(tmp_path / "once")
    assert tiny.weights(tmp_path) == tiny.weights(tmp_path / "once")


def test_a_validation_without_memory_names_what_to_lower_and_is_made_up_for(tmp_path):
    said = refusal(TrainingError, tiny.train, tmp_path, validate=short, checkpoint_seconds=60)
    assert "evaluation_batch" in said
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 1
    assert tiny.train(tmp_path, validate=lambda: {"psnr": 3.0})["validation"] == {"psnr": 3.0}
    assert [line["step"] for line in tiny.log(tmp_path) if "validation" in line] == [1, 2, 3, 4, 5, 6]


@pytest.mark.gpu
def test_a_gpu_without_memory_says_so(tmp_path):
    class Hungry(Noise):
        def __call__(self, images, generator=None, indices=None):
            torch.empty(2 * torch.cuda.mem_get_info()[1], dtype=torch.uint8, device="cuda")

    nets = {"processor": nn.Conv2d(3, 3, 1)}
    assert "cuda" in refusal(TrainingError, tiny.train, tmp_path, channel=Hungry(0.1), device="cuda", networks=nets)
