"""A network behind the codec, alone and together with one before it: values, and which gradient reaches which."""

import boxed
import pytest
import tiny
import torch
from posterised import (
    LADDER,
    Change,
    Finder,
    expected_gradient,
    generator,
    images,
    labels,
    objective,
    sent_through,
    terms_of,
)
from torch import nn
from torch.nn import functional as F

from ra_core.objectives import Preprocessing


class Mend(nn.Module):
    """A postprocessor of one number a channel."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor([1.1, 0.8, 0.95]).view(3, 1, 1))

    def forward(self, images):
        return self.gain * images


def both_ends(pre: bool = True, **changes) -> tuple[Preprocessing, dict[str, nn.Module]]:
    nets = ({"preprocessor": Change()} if pre else {}) | {"postprocessor": Mend()}
    given = {} if pre else {"proxy": None}
    return objective(LADDER, **given | {"restoration_weight": 20.0} | changes), nets


def test_a_postprocessor_alone_learns_its_two_terms_behind_the_codec_of_clean_pictures():
    what, nets = both_ends(pre=False)
    batch = what.prepare(images(), labels(), generator())
    decoded, bits = sent_through(what.codec, images(), batch["quality"])
    terms = what.terms(nets, batch)
    terms["loss"].backward()
    again = Mend()
    restoration = (again(decoded) - images()).square().mean()
    task = F.cross_entropy(tiny.source()(again(decoded)), labels(), reduction="none")
    learned = 20 * restoration + (batch["weight"] * task).mean()
    assert set(terms) == {"loss", "bpp", "distortion", "recognition", "restoration"}
    assert terms["bpp"].item() == (bits / 256).mean().item() and terms["distortion"] == 0
    assert terms["restoration"].item() == pytest.approx(restoration.item(), rel=1e-5)
    assert terms["recognition"].item() == pytest.approx(task.mean().item(), rel=1e-5)
    assert terms["loss"].item() == pytest.approx((terms["bpp"] + learned).item(), rel=1e-5)
    [expected] = torch.autograd.grad(learned, again.gain)
    assert torch.allclose(nets["postprocessor"].gain.grad, expected, rtol=1e-4, atol=1e-7)
    assert what.frozen == [what.judge] and what.settings["restoration_weight"] == 20


def test_at_both_ends_each_network_gets_its_own_gradient():
    what, nets = both_ends()
    batch = what.prepare(images(), labels(), generator())
    judge, fixed = tiny.source(), Mend().requires_grad_(False)

    def task_of(received, post=fixed):
        each = F.cross_entropy(judge(post(received)), labels(), reduction="none")
        return (batch["weight"] * each).mean()

    before = expected_gradient(what, nets["preprocessor"], batch, task_of)
    again, sent = Mend(), nets["preprocessor"](images()).clamp(0, 1).detach()
    decoded, bits = sent_through(what.codec, sent, batch["quality"])
    restoration = (again(decoded) - images()).square().mean()
    task = task_of(decoded, again)
    [behind] = torch.autograd.grad(20 * restoration + task, again.gain)
    terms = what.terms(nets, batch)
    parts = (bits / 256).mean() + 0.5 * terms["distortion"] + task + 20 * restoration
    assert terms["loss"].item() == pytest.approx(parts.item(), rel=1e-5)
    terms["loss"].backward()
    assert torch.allclose(nets["preprocessor"].factor.grad, before, rtol=1e-4, atol=1e-7)
    assert torch.allclose(nets["postprocessor"].gain.grad, behind, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("term", "reached"),
    [
        ("restoration", {"postprocessor"}),
        ("recognition", {"preprocessor", "postprocessor"}),
        ("bpp", {"preprocessor"}),
        ("distortion", {"preprocessor"}),
    ],
)
def test_which_term_reaches_which_network(term, reached):
    what, nets = both_ends()
    terms_of_both = what.terms(nets, what.prepare(images(), labels(), generator()))
    terms_of_both[term].backward()
    found = {name for name, net in nets.items() for p in net.parameters() if p.grad is not None and p.grad.any()}
    assert found == reached


def test_a_preprocessor_s_terms_do_not_depend_on_the_weight_of_restoration():
    grads = []
    for weight in (1.0, 500.0):
        what, nets = both_ends(restoration_weight=weight)
        what.terms(nets, what.prepare(images(), labels(), generator()))["loss"].backward()
        grads.append([net.parameters().__next__().grad for net in nets.values()])
    assert torch.equal(grads[0][0], grads[1][0]) and not torch.allclose(grads[0][1], grads[1][1])


def test_a_detector_judges_what_was_restored():
    pictures = boxed.pictures(4, side=64)
    clean, targets = pictures.batch(torch.arange(4))
    what, nets = both_ends(judge=Finder())
    batch = what.prepare(clean, targets, generator(5))
    decoded, _ = sent_through(what.codec, nets["preprocessor"](clean).clamp(0, 1), batch["quality"])
    task = sum(Finder().losses(Mend()(decoded), targets).values())
    assert what.terms(nets, batch)["recognition"].item() == pytest.approx(task.item(), rel=1e-5)


def test_without_a_postprocessor_nothing_is_said_of_it():
    assert "restoration_weight" not in objective().settings and "restoration" not in terms_of(objective(), Change())
