import copy

import pytest
import tiny
import torch
from posterised import generator, images, labels
from torch import nn
from torch.nn import functional as F
from trouble import Raises

from ra_core.channels import Noise, make_channel
from ra_core.data import cifar10, first_per_class
from ra_core.judges import load_recognizer
from ra_core.methods import METHODS, find_method, restoring
from ra_core.models.processors import ResnetGenerator, SRResNet
from ra_core.models.weights import load_weights
from ra_core.objectives import Restoration
from ra_core.training import fit

NAMES = ["plain", "ra", "ra_transformer", "ra_unsupervised"]
Gradients = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def recognizer():
    return load_recognizer("resnet20")


@pytest.fixture(scope="module")
def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return degraded pictures, their targets and labels."""
    images, labels = cifar10.load("shipped", "test").batch(torch.arange(6))
    return make_channel("sr")(images), images, labels


def make_networks(mode) -> dict[str, nn.Module]:
    torch.manual_seed(0)
    networks: dict[str, nn.Module] = {"processor": SRResNet(4, width=8, blocks=1)}
    if mode.transformer:
        networks["transformer"] = ResnetGenerator(1, width=4, blocks=1)
    return networks


def gradients(net: nn.Module) -> Gradients:
    return {key: None if p.grad is None else p.grad.clone() for key, p in net.named_parameters()}


def loss_terms(mode, networks, judge, degraded, target, labels) -> dict[str, torch.Tensor]:
    batch = {"degraded": degraded, "target": target, "labels": labels}
    return Restoration(mode, make_channel("sr"), judge).terms(networks, batch)


def after_backward(mode, recognizer, batch, labels="theirs") -> tuple[dict, dict[str, Gradients]]:
    """Return the terms of a batch, and each network's gradients after `loss` went backward."""
    degraded, target, known = batch
    networks = make_networks(mode)
    terms = loss_terms(mode, networks, recognizer, degraded, target, known if labels == "theirs" else labels)
    terms["loss"].backward()
    return terms, {key: gradients(net) for key, net in networks.items()}


def of_term(net: nn.Module, term: torch.Tensor) -> Gradients:
    """Return the gradient of one term alone, by torch's own differentiation."""
    found = torch.autograd.grad(term, list(net.parameters()), retain_graph=True)
    return dict(zip(dict(net.named_parameters()), found, strict=True))


def assert_close(found: Gradients, expected: Gradients) -> None:
    """Compare whole gradients, as single small entries are full of rounding."""
    a, b = (torch.cat([g[key].flatten() for key in expected]) for g in (found, expected))
    assert (a - b).norm() < 1e-4 * b.norm(), ((a - b).norm() / b.norm()).item()


def processor_terms(recognizer, batch, kind: str) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """Return a fresh processor with m and c written out from the published equations."""
    degraded, target, labels = batch
    processor = make_networks(METHODS["plain"])["processor"]
    processed = processor(degraded)
    m = (processed - target).square().mean()
    log_p = recognizer(processed).log_softmax(1)
    if kind == "labels":
        c = -log_p[torch.arange(len(labels)), labels].mean()
    else:
        c = (log_p.exp() - recognizer(target).softmax(1).detach()).square().sum(1).mean()
    return processor, m, c


# --- terms


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_is_the_weighted_sum_of_its_terms(recognizer, batch, name):
    mode = METHODS[name]
    terms, _ = after_backward(mode, recognizer, batch)
    assert all(term.shape == () and term.dtype == torch.float32 for term in terms.values())
    if name == "plain":
        assert set(terms) == {"loss", "distortion"} and terms["loss"] == terms["distortion"]
    else:
        assert set(terms) == {"loss", "distortion", "recognition"} and terms["recognition"] > 0
        assert torch.equal(terms["loss"], terms["distortion"] + mode.weight * terms["recognition"])


# --- which gradient reaches which network


def test_plain_is_the_gradient_of_the_distortion(batch):
    degraded, target, _ = batch
    processor = make_networks(METHODS["plain"])["processor"]
    expected = of_term(processor, (processor(degraded) - target).square().mean())
    _, found = after_backward(METHODS["plain"], None, batch)
    assert_close(found["processor"], expected)


@pytest.mark.parametrize("recognizer", [None, Raises()], ids=["none", "raises"])
def test_plain_never_runs_the_recognizer(batch, recognizer):
    for mode in (METHODS["plain"], find_method("ra", 0)):
        terms, _ = after_backward(mode, recognizer, batch, labels=None)
        assert terms["loss"] > 0


@pytest.mark.parametrize(("name", "kind"), [("ra", "labels"), ("ra_unsupervised", "soft_labels")])
@pytest.mark.parametrize("weight", [None, 0.05, 2.0])
def test_the_processor_gets_both_gradients(recognizer, batch, name, kind, weight):
    mode = find_method(name, weight)
    terms, found = after_backward(mode, recognizer, batch)
    processor, m, c = processor_terms(recognizer, batch, kind)
    assert terms["distortion"].item() == pytest.approx(m.item(), rel=1e-5)
    assert terms["recognition"].item() == pytest.approx(c.item(), rel=1e-4)
    of_m, of_c = of_term(processor, m), of_term(processor, c)
    both = {key: of_m[key] + mode.weight * of_c[key] for key in of_m}
    assert_close(found["processor"], both)
    share = sum(g.square().sum() for g in of_c.values()) / sum(g.square().sum() for g in of_m.values())
    assert mode.weight * share**0.5 > 1e-3  # so large that its absence would have been seen


def test_with_a_transformer_the_processor_gets_the_gradient_of_plain_exactly(recognizer, batch):
    _, plain = after_backward(METHODS["plain"], None, batch)
    for weight in (None, 100.0):
        _, found = after_backward(find_method("ra_transformer", weight), recognizer, batch)
        assert all(torch.equal(found["processor"][key], plain["processor"][key]) for key in plain["processor"])


@pytest.mark.parametrize("weight", [None, 3.0])
def test_the_transformer_gets_the_gradient_of_recognition_only(recognizer, batch, weight):
    mode = find_method("ra_transformer", weight)
    degraded, _, labels = batch
    networks = make_networks(mode)
    stopped = networks["processor"](degraded).detach()
    c = F.cross_entropy(recognizer(networks["transformer"](stopped)), labels)
    of_c = of_term(networks["transformer"], c)
    terms, found = after_backward(mode, recognizer, batch)
    assert terms["recognition"].item() == pytest.approx(c.item(), rel=1e-5)
    assert_close(found["transformer"], {key: mode.weight * g for key, g in of_c.items()})


def test_unsupervised_needs_no_labels(recognizer, batch):
    with_labels = after_backward(METHODS["ra_unsupervised"], recognizer, batch)
    without = after_backward(METHODS["ra_unsupervised"], recognizer, batch, labels=None)
    assert with_labels[0] == without[0]
    processor = without[1]["processor"]
    assert all(torch.equal(grad, with_labels[1]["processor"][key]) for key, grad in processor.items())


def test_the_target_side_of_unsupervised_carries_no_graph(recognizer, batch):
    degraded, target, _ = batch
    mode, networks = find_method("ra_unsupervised", 5.0), make_networks(METHODS["ra_unsupervised"])
    target = target.clone().requires_grad_()
    terms = loss_terms(mode, networks, recognizer, degraded, target, None)
    terms["recognition"].backward(retain_graph=True)
    assert target.grad is None
    terms["loss"].backward()
    processed = networks["processor"](degraded).detach()
    expected = 2 * (target - processed).detach() / target.numel()  # of the distortion alone
    assert torch.allclose(target.grad, expected, rtol=1e-4, atol=1e-9)


# --- through the training loop


class WithoutLabels:
    """A training set whose labels nobody may look at."""

    name = "without labels"

    def __init__(self, pictures):
        self.pictures = pictures

    def __len__(self):
        return len(self.pictures)

    def training_batch(self, indices, generator):
        return self.pictures.training_batch(indices, generator)[0], None

    def digests(self):
        return self.pictures.digests()


def train(folder, name: str, recognizer, pictures) -> dict[str, nn.Module]:
    mode = METHODS[name]
    networks = make_networks(mode)
    fit(
        networks, Restoration(mode, make_channel("sr"), recognizer), pictures,
        folder=folder / name, steps=3, batch=8, lr=1e-3, device="cpu",
    )  # fmt: skip
    return networks


@pytest.fixture(scope="module")
def pictures():
    return first_per_class(cifar10.load("shipped", "train"), 2)


@pytest.mark.parametrize("name", NAMES[1:])
def test_training_never_changes_the_recognizer(tmp_path, recognizer, pictures, name):
    frozen = copy.deepcopy(recognizer)
    parent = nn.ModuleDict({"recognizer": frozen})
    parent.train()
    assert any(key.endswith("running_mean") for key in frozen.state_dict())
    train(tmp_path, name, frozen, pictures)
    for (key, value), before in zip(frozen.state_dict().items(), recognizer.state_dict().values(), strict=True):
        assert torch.equal(value, before), key
    assert all(p.grad is None and not p.requires_grad for p in frozen.parameters())
    assert not any(module.training for module in frozen.modules())


@pytest.mark.parametrize("name", ["plain", "ra_unsupervised"])
def test_training_without_labels_never_touches_them(tmp_path, recognizer, pictures, name):
    judge = Raises() if name == "plain" else recognizer
    first = train(tmp_path / "with", name, judge, pictures)["processor"]
    second = train(tmp_path / "without", name, judge, WithoutLabels(pictures))["processor"]
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_the_processor_of_ra_transformer_is_that_of_plain(tmp_path, recognizer, pictures):
    plain = train(tmp_path, "plain", None, pictures)
    both = train(tmp_path, "ra_transformer", recognizer, pictures)
    fresh = make_networks(METHODS["ra_transformer"])
    files = [tmp_path / name / "processor.safetensors" for name in ("plain", "ra_transformer")]
    assert files[0].read_bytes() == files[1].read_bytes()  # weights and BatchNorm's buffers, to the bit
    trained = load_weights(make_networks(METHODS["plain"])["processor"], files[1])
    for key, value in plain["processor"].state_dict().items():
        assert torch.equal(value, both["processor"].state_dict()[key])
        assert torch.equal(value, trained.state_dict()[key])
    for key, net in both.items():  # and both were trained
        pairs = zip(fresh[key].parameters(), net.parameters(), strict=True)
        assert all(not torch.equal(before, after) for before, after in pairs)
    assert (tmp_path / "ra_transformer" / "transformer.safetensors").exists()
    assert not (tmp_path / "plain" / "transformer.safetensors").exists()


@pytest.mark.parametrize("name", restoring())
def test_restoration_is_the_terms_of_its_mode(name):
    what = Restoration(find_method(name), Noise(0.1), tiny.source())
    batch = what.prepare(images(), labels(), generator(2))
    assert torch.equal(batch["degraded"], Noise(0.1)(images(), generator(2)))
    assert torch.equal(batch["target"], images())
    assert (batch["labels"] is not None) == METHODS[name].needs_labels
    terms = what.terms(tiny.networks(name), batch)
    assert ("recognition" in terms) == (name != "plain") and terms["loss"] > 0
    assert what.settings["channel"] == "Noise(sigma=0.1)" and Restoration(what.method, what.channel).frozen == []
    assert what.settings["recognizer"] == (None if name == "plain" else "tiny")
