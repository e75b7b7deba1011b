"""The chapter on both ends: the same pictures through a codec alone, with a network before it, behind it, and both."""

import torch

from ra_core.chain import Chain
from ra_core.coding import chain_of, ladder, load_nets, preprocessor_parameters, rungs, together, train_preprocessor
from ra_core.errors import ParameterError
from ra_core.params import Profile

ENDS = ("npp_qa", "post", "both")


def check_both_ends(profile: Profile, dataset: str, codec: str) -> None:
    """Raise `ParameterError` where a profile trains no postprocessor for a codec."""
    if not ladder(profile, dataset, codec).both_ends:
        raise ParameterError(
            f"profile {profile.name} trains only one end of codec {codec!r} on {dataset}; "
            f"set both_ends: true for it, or choose one of {', '.join(profile.coding(dataset).both_ends) or 'none'}."
        )


def through_every_chain(
    profile: Profile, dataset: str, codec: str, seed: int, pictures
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Return what a recognizer is shown (B, 3, H, W) and the bytes of the files (B,), by method, `codec` first.

    At the middle rung of the ladder; what is not trained yet is trained first.
    """
    check_both_ends(profile, dataset, codec)
    steps = rungs(ladder(profile, dataset, codec), "both", None)
    rung, images = steps[len(steps) // 2], together(pictures)[0]

    def shown(chain: Chain) -> tuple[torch.Tensor, torch.Tensor]:
        out = chain(images, torch.arange(len(images)))
        return out["stored"], out["bytes"]

    found = {"codec": shown(chain_of({}, codec, rung.quality, rung.strength))}
    for method in ENDS:
        run = (profile, dataset, codec, method, None, seed)
        nets = load_nets(train_preprocessor(*run), preprocessor_parameters(*run))
        found[method] = shown(chain_of(nets, codec, rung.quality, rung.strength))
    return found
