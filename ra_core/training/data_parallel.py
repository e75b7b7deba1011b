"""Networks whose gradients and batch normalisation are those of the batch of all processes."""

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ra_core.errors import ParameterError
from ra_core.objectives import Objective
from ra_core.training.processes import Team, digest


class DataParallel(DistributedDataParallel):
    """A network whose gradients are averaged over processes while `backward` still runs; otherwise the network."""

    def __getattr__(self, name: str):
        try:
            return super().__getattr__(name)
        except AttributeError:  # such as `adaptive`, by which a preprocessor is asked
            return getattr(self.module, name)


def distribute(networks: dict[str, nn.Module], team: Team) -> dict[str, nn.Module]:
    """Return the networks of a training as all processes of a team train them; a team of one has them as they are.

    On GPUs their batch normalisation becomes torch's SyncBatchNorm, in place; the CPU has `synced_norms` for that.
    """
    if team.size == 1:
        return networks
    gpu = team.device.type == "cuda"
    for net in networks.values() if gpu else ():
        _sync_batch_norm(net.train())
    return {
        name: DataParallel(net, device_ids=[team.device.index] if gpu else None, broadcast_buffers=False)
        for name, net in networks.items()
    }


def _sync_batch_norm(net: nn.Module) -> None:
    """Replace what takes statistics of the batch; what is frozen stays, as networks know it by its class."""
    for parent in list(net.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.training:
                setattr(parent, name, nn.SyncBatchNorm.convert_sync_batchnorm(layer))


def check_processes(networks: dict[str, nn.Module], objective: Objective, settings: dict, team: Team) -> None:
    """Check that processes can share a training. Raises `ParameterError`, or `TrainingError` where they differ."""
    if team.size == 1:
        return
    if not getattr(objective, "divisible", False):
        raise ParameterError(
            "the loss of this training is not a mean over its pictures, so its batches cannot be divided among "
            f"{team.size} processes; start one."
        )
    frozen = {f"frozen network {number}": net for number, net in enumerate(objective.frozen)}
    team.check_equal(settings | digest(networks | frozen))


def reduced(terms: dict[str, torch.Tensor], share: float, team: Team) -> dict[str, torch.Tensor]:
    """Return the terms of the batch of all processes, of which this one has had a share."""
    values = team.all_reduce(torch.stack([share * value.detach().float() for value in terms.values()]))
    return dict(zip(terms, values, strict=True))
