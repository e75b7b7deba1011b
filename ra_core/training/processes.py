"""Processes that train together: how many there are, which of them this is, and what they tell each other.

A process that was started alone is a team of one, and nothing of Accelerate is imported. Where a launcher started
several (`accelerate launch`, `torchrun`, `notebook_launcher`), Accelerate connects them.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property

import torch
from torch import nn

from ra_core.cores import launched, processes_here
from ra_core.errors import ParameterError, RAError, TrainingError
from ra_core.training.devices import pick_device

CONNECTION = ("gloo", "NCCL", "Connection", "connection")  # what torch's errors speak of where one breaks


class Team:
    """The processes of one training, seen from one of them: number `rank` of `size`, which asks for a device."""

    def __init__(self, device: str = "auto", size: int = 1, rank: int = 0):
        self.asked, self.size, self.rank = device, size, rank

    @cached_property
    def device(self) -> torch.device:
        """What this process computes on; raises `ParameterError` where that is not here."""
        return pick_device(self.asked)

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes and shows."""
        return self.rank == 0

    @property
    def facts(self) -> dict[str, int]:
        """What a record says of a team: `processes`, where there is more than one."""
        return {"processes": self.size} if self.size > 1 else {}

    def part(self, count: int) -> slice:
        """Return which of `count` things in a row are this process's; parts differ by one at most and may be empty."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def share(self, count: int) -> tuple[slice, float]:
        """Return which of the `count` pictures of a batch this process works through, and what its mean counts for.

        Where there are fewer pictures than processes each works through all of them.
        """
        if count < self.size:
            return slice(0, count), 1 / self.size
        part = self.part(count)
        return part, (part.stop - part.start) / count

    def all_reduce(self, tensor: torch.Tensor) -> torch.Tensor:
        """Replace a tensor by its sum over all processes, to the bit the same in each, and return it."""
        if self.size > 1:
            with self.connection():
                torch.distributed.all_reduce(tensor)
        return tensor

    def gather(self, items: list) -> list:
        """Return the items of all processes, those of the first one first."""
        if self.size == 1:
            return items
        from accelerate.utils import gather_object

        with self.connection():
            return gather_object(items)

    def on_rank_zero(self, work: Callable[[], object]):
        """Let rank zero alone do `work`; what it returns, or its `RAError`, is broadcast to all."""
        if self.size == 1:
            return work()
        from accelerate.utils import broadcast_object_list

        answer: list = [None, None]
        if self.is_main:
            try:
                answer[0] = work()
            except RAError as error:
                answer[1] = error
        with self.connection():
            broadcast_object_list(answer)
        if answer[1] is not None:
            raise answer[1]
        return answer[0]

    def check_equal(self, values: dict) -> None:
        """Raise `TrainingError` unless all processes have the same values."""
        first, *others = self.gather([values])
        for number, other in enumerate(others, 1):
            for key, value in first.items():
                if other.get(key) != value:
                    raise TrainingError(
                        f"process {number} has {key} = {_short(other.get(key))}, process 0 has {_short(value)}; "
                        "give every process the same profile, code, weights and pictures."
                    )

    @contextmanager
    def connection(self) -> Iterator[None]:
        """Turn the error of a connection that breaks into a `TrainingError`."""
        try:
            yield
        except RuntimeError as error:
            lost = isinstance(error, torch.distributed.DistError) or any(word in str(error) for word in CONNECTION)
            if self.size == 1 or not lost:
                raise
            raise TrainingError(
                f"process {self.rank} of {self.size} lost touch with the others, one of which has ended; what was "
                "saved last is kept: start again, with this number of processes or another."
            ) from error


def find_team(device: str = "auto") -> Team:
    """Return the team of this process as its launcher told it; a process started alone is one.

    Where a node has several devices of a kind, each process gets its own. Raises `ParameterError` where several
    processes were started and cannot be a team, or the device is not here.
    """
    size = launched("WORLD_SIZE", 1)
    if size == 1:
        return Team(device)
    local, kind = processes_here(), pick_device(device).type
    if kind == "mps":
        raise ParameterError(
            f"{size} processes were started on device 'mps', which serves one; start one, or choose device cpu."
        )
    if kind == "cuda" and local > torch.cuda.device_count():
        raise ParameterError(
            f"{local} processes were started on a node with {torch.cuda.device_count()} GPUs; "
            "start at most as many processes a node as it has GPUs."
        )
    try:
        from accelerate import PartialState
    except ImportError as error:
        raise ParameterError(
            f"{size} processes were started but the package accelerate is not installed; "
            "install ra-core[processes], or start one process."
        ) from error
    try:
        state = PartialState(cpu=kind == "cpu")
    except (ValueError, RuntimeError) as error:
        # An address that is missing, wrong or taken, or others that never came.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise TrainingError(
            f"process {os.environ.get('RANK', 0)} of {size} could not connect to the others ({reason}); "
            "check the main process's address and port, and that all processes were started."
        ) from error
    return Team(str(state.device), state.num_processes, state.process_index)


def is_rank_zero() -> bool:
    """Say whether this process is the first, or the only one, that a launcher started."""
    return launched("RANK", 0) == 0


def shutdown() -> None:
    """End the connection to the other processes, where there is one."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def digest(modules: dict[str, nn.Module]) -> dict[str, str]:
    """Return the SHA-256 of the weights of each network by name."""
    found = {}
    for name, module in modules.items():
        sha = hashlib.sha256()
        for key, value in module.state_dict().items():
            sha.update(key.encode() + value.detach().cpu().flatten().view(torch.uint8).numpy().tobytes())
        found[name] = sha.hexdigest()
    return found


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
