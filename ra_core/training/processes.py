"""Processes that train together: how many there are, which of them this is, and what they tell each other.

Where a launcher started several (`accelerate launch`, `torchrun`, `notebook_launcher`), Accelerate connects them.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property

import torch
from torch import distributed

from ra_core.cores import launched, processes_here
from ra_core.errors import ParameterError, RAError, TrainingError

CONNECTION = ("gloo", "NCCL", "Connection", "connection")  # what torch's errors speak of where one breaks


def pick_device(device: str = "auto") -> torch.device:
    """Return a device; `auto` takes CUDA, then MPS, then the CPU. Raises `ParameterError` for one that is not here."""
    seen = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    here = [kind for kind, available in seen.items() if available]
    with suppress(RuntimeError):  # for what is no name of a device
        found = torch.device(here[0] if device == "auto" else device)
        if found.type in here and (found.type != "cuda" or (found.index or 0) < torch.cuda.device_count()):
            return found
    raise ParameterError(f"device {device!r} is not here; choose one of auto, {', '.join(here)}.")


class Team:
    """The processes of one training, seen from one of them: number `rank` of `size`, which asks for a device."""

    def __init__(self, device: str = "auto", size: int = 1, rank: int = 0):
        self.asked, self.size, self.rank = device, size, rank
        self.divides = True  # the present batch; each works through all of one with fewer pictures than processes

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
        """Return which of the `count` pictures of a batch this process works through, and what its mean counts for."""
        if count < self.size:  # each works through all of them
            return slice(0, count), 1 / self.size
        part = self.part(count)
        return part, (part.stop - part.start) / count

    def all_reduce(self, tensor: torch.Tensor) -> torch.Tensor:
        """Replace a tensor by its sum over all processes, to the bit the same in each, and return it."""
        if self.size > 1:
            distributed.all_reduce(tensor)
        return tensor

    def gather(self, items: list) -> list:
        """Return the items of all processes, those of the first one first."""
        if self.size == 1:
            return items
        parts: list = [None] * self.size
        with self.connection():
            distributed.all_gather_object(parts, items)
        return [item for part in parts for item in part]

    def on_rank_zero(self, work: Callable[[], object]):
        """Let rank zero alone do `work`; what it returns, or its `RAError`, is broadcast to all."""
        if self.size == 1:
            return work()
        answer: list = [None]
        if self.is_main:
            try:
                answer = [work()]
            except RAError as error:
                answer = [error]
        with self.connection():
            distributed.broadcast_object_list(answer)
        if isinstance(answer[0], RAError):
            raise answer[0]
        return answer[0]

    @contextmanager
    def connection(self) -> Iterator[None]:
        """Turn the error of a connection that breaks into a `TrainingError`."""
        try:
            yield
        except RuntimeError as error:
            lost = isinstance(error, distributed.DistError) or any(word in str(error) for word in CONNECTION)
            if self.size == 1 or not lost:
                raise
            raise TrainingError(
                f"process {self.rank} of {self.size} lost touch with the others, one of which has ended; what was "
                "saved last is kept: start again, with this number of processes or another."
            ) from error


def find_team(device: str = "auto") -> Team:
    """Return the team of this process as its launcher told it, a GPU for each; a process started alone is one.

    Raises `ParameterError` where a node cannot serve so many processes, and `TrainingError` where they do not connect.
    """
    size = launched("WORLD_SIZE", 1)
    if size == 1:
        return Team(device)
    local, kind = processes_here(), pick_device(device).type
    served = {"cuda": torch.cuda.device_count(), "mps": 1}.get(kind, local)
    if local > served:
        raise ParameterError(
            f"{local} processes were started on a node that has {served} of device {kind!r}; start {served}, or choose "
            "device cpu."
        )
    try:
        from accelerate import PartialState

        state = PartialState(cpu=kind == "cpu")
    except (ImportError, ValueError, RuntimeError) as error:  # a wrong or taken address, others that never came
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise TrainingError(
            f"process {os.environ.get('RANK', 0)} of {size} could not connect to the others ({reason}); install "
            "ra-core[processes], and check the main process's address and port, and that all processes were started."
        ) from error
    return Team(str(state.device), state.num_processes, state.process_index)


def shutdown() -> None:
    """End the connection to the other processes, where there is one."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
