"""What the training loop does to gradients before the optimiser sees them."""

import pytest
import tiny
import torch

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("mode", ["plain", "ra_transformer"])
def test_the_gradient_of_each_network_is_shortened_on_its_own(tmp_path, mode):
    lengths = {}
    for clip in (0.0, 1e-4):
        nets = tiny.networks(mode)
        tiny.train(tmp_path / str(clip), mode, networks=nets, batch=4, steps=1, clip=clip)
        state = torch.load(tmp_path / str(clip) / "checkpoint.pt", weights_only=True)
        moments = iter(state["optimiser"]["state"].values())  # a tenth of the first gradient
        lengths[clip] = [
            torch.stack([10 * next(moments)["exp_avg"].norm() for _ in net.parameters()]).norm().item()
            for net in nets.values()
        ]
    assert min(lengths[0.0]) > 1e-4
    assert lengths[1e-4] == pytest.approx([1e-4] * len(nets), rel=1e-3)
