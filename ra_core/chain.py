"""The one chain: picture, pre, channel, post, 8-bit picture, transformer, recognizer."""

from dataclasses import dataclass

import torch
from torch import nn

from ra_core.channels import Channel
from ra_core.metrics import to_8bit


@dataclass
class Chain:
    """The links between a clean picture and the recognizers; a link that is None leaves the picture as it is.

    `pre` and `post` map pictures to pictures and are rounded to 8 bits after, as what leaves them is stored.
    Where a channel comes without `post`, its output is brought back to size (this is `unprocessed`).
    `transformer` works on the stored picture, and what it returns goes straight to the recognizer.
    Every call puts the networks into evaluation mode, in which they stay. Autocast is not for the channel.
    """

    channel: Channel | None = None
    post: nn.Module | None = None
    transformer: nn.Module | None = None
    pre: nn.Module | None = None

    @torch.inference_mode()
    def __call__(self, images: torch.Tensor, indices: torch.Tensor) -> dict[str, torch.Tensor]:
        """Run pictures (B, 3, H, W) in [0, 1] through the chain; `indices` fix the noise of each.

        Returns `degraded` (what left the channel), `stored` (the 8-bit picture that is scored) and `seen`
        (what the judge gets), and `bytes` (B,), those of the files behind a real codec, else None.
        """
        for net in (self.pre, self.post, self.transformer):
            if net is not None:
                net.eval()
        sent = images if self.pre is None else to_8bit(self.pre(images))
        with torch.autocast(images.device.type, enabled=False):
            degraded, sizes = (sent, None) if self.channel is None else self.channel.transmit(sent, indices=indices)
        if self.post is not None:
            stored = to_8bit(self.post(degraded))
        else:
            stored = degraded if self.channel is None else to_8bit(self.channel.enlarge(degraded))
        seen = stored if self.transformer is None else self.transformer(stored).float().clamp(0, 1)
        return {"degraded": degraded, "stored": stored, "seen": seen, "bytes": sizes}
