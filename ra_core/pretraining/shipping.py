"""How a pretrained network is kept: its weights, and beside them a sidecar that says how they were made."""

import json
import platform
import shutil
from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn

from ra_core.data import fingerprint
from ra_core.files import atomic, content_of, write_json
from ra_core.models.blocks import parameter_count

COUNTER = "num_batches_tracked"  # of batch normalisation, which no evaluation needs


def halve(net: nn.Module) -> nn.Module:
    """Round the weights of a network to 16-bit floats, in place, so that it is measured as it is kept."""
    for tensor in net.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(tensor.half())
    return net


def ship(net: nn.Module, facts: dict, train, run: Path) -> dict:
    """Write a network trained in `run`, `<stem>.run`, as `<stem>.safetensors` with a sidecar within and beside it.

    Returns the sidecar beside: `facts`, those of the pictures `train`, the network and this machine, and the SHA-256 of
    the file, which the one within cannot have. Removes `run`.
    """
    sidecar = {"input": "RGB in [0, 1]"} | facts | {
        "trained_on": train.name, "train_fingerprint": fingerprint(train), "train_pictures": len(train),
        "parameters": parameter_count(net), "threads": torch.get_num_threads(),
        "torch": torch.__version__, "machine": platform.machine(),
    }  # fmt: skip
    dtype = torch.float16 if facts.get("stored") == "16-bit floats" else torch.float32
    tensors = {k: v.cpu().to(dtype).contiguous() for k, v in net.state_dict().items() if not k.endswith(COUNTER)}
    with atomic(run.with_suffix(".safetensors")) as path:
        path.write_bytes(save(tensors, metadata={"sidecar": json.dumps(sidecar)}))
    sidecar["sha256"] = content_of(run.with_suffix(".safetensors"))
    write_json(run.with_suffix(".json"), sidecar)
    shutil.rmtree(run)
    return sidecar
