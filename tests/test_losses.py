import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from refusal import refusal
from torch import nn
from torch.nn import functional as F

from ra_core.channels import make_channel
from ra_core.data import cifar10, first_per_class
from ra_core.errors import ParameterError
from ra_core.losses import (
    ALIASES,
    MODES,
    find_mode,
    loss_terms,
    preprocessing_terms,
    soft_label_distance,
    straight_through,
)
from ra_core.models.processors import ResnetGenerator, SRResNet
from ra_core.judges.recognizer import load_recognizer
from ra_core.models.weights import load_weights
from ra_core.objectives import Restoration
from ra_core.training import fit

NAMES = ["plain", "ra", "ra_transformer", "ra_unsupervised"]
Gradients = dict[str, torch.Tensor]


class Raises(nn.Module):
    """A recognizer that must not be run."""

    def forward(self, images):
        raise AssertionError("the recognizer was run")


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
    processor = make_networks(MODES["plain"])["processor"]
    processed = processor(degraded)
    m = (processed - target).square().mean()
    log_p = recognizer(processed).log_softmax(1)
    if kind == "labels":
        c = -log_p[torch.arange(len(labels)), labels].mean()
    else:
        c = (log_p.exp() - recognizer(target).softmax(1).detach()).square().sum(1).mean()
    return processor, m, c


# --- the table of modes


def test_the_modes_are_those_of_the_table():
    rows = [(m.name, m.recognition, m.weight, m.transformer) for m in MODES.values()]
    assert rows == [
        ("plain", None, 0.0, False),
        ("ra", "labels", 1e-3, False),
        ("ra_transformer", "labels", 1e-2, True),
        ("ra_unsupervised", "soft_labels", 1e-2, False),
    ]


def test_names_of_the_paper_s_readme_and_code_are_known():
    assert find_mode("ra", 0.001) == MODES["ra"]  # --mode ra --l 0.001
    assert find_mode("ra", 0) == MODES["plain"]  # --mode ra --l 0
    assert find_mode("ra_transformer", 0.01) == MODES["ra_transformer"]  # in its README
    assert find_mode("ra_transform", 0.01) == MODES["ra_transformer"]  # in its code
    assert find_mode("ra_unsupervised") == MODES["ra_unsupervised"]
    assert set(ALIASES) == {"ra_transform"}


def test_lambda_can_be_chosen_and_says_nothing_in_plain():
    assert find_mode("ra", 0.5).weight == 0.5 and find_mode("ra_transform", 0.5).transformer
    assert find_mode("plain", 0.5) == MODES["plain"]
    assert find_mode("ra").weight == 1e-3  # the table is as it was


@pytest.mark.parametrize("name", ["sr", "", "RA", "ra_transformers"])
def test_an_unknown_mode_is_refused(name):
    message = refusal(ParameterError, find_mode, name)
    assert repr(name) in message and all(known in message for known in NAMES)


@pytest.mark.parametrize("weight", [-1e-3, math.nan, math.inf])
def test_an_impossible_lambda_is_refused(weight):
    message = refusal(ParameterError, find_mode, "ra", weight)
    assert str(weight) in message and "0 or more" in message


# --- the distance of soft labels


def test_soft_label_distance_of_a_known_pair():
    logits = torch.tensor([[2.0, 1.0], [1.0, 1.0]]).log()  # (2/3, 1/3) and (1/2, 1/2)
    clean = torch.tensor([[1.0, 1.0], [1.0, 3.0]]).log()  # (1/2, 1/2) and (1/4, 3/4)
    expected = (2 * (1 / 6) ** 2 + 2 * (1 / 4) ** 2) / 2
    assert soft_label_distance(logits, clean).item() == pytest.approx(expected, rel=1e-6)


def test_lambda_on_the_sum_equals_the_published_ten_on_the_mean_over_1000_classes():
    generator = torch.Generator().manual_seed(0)
    logits, clean = 3 * torch.randn(2, 20, 1000, generator=generator)
    published = 10 * F.mse_loss(logits.softmax(1), clean.softmax(1))
    ours = MODES["ra_unsupervised"].weight * soft_label_distance(logits, clean)
    assert ours.item() == pytest.approx(published.item(), rel=1e-5)


@settings(max_examples=50)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(2, 12), st.floats(0, 30))
def test_soft_label_distance_is_a_distance(seed, batch, classes, strength):
    generator = torch.Generator().manual_seed(seed)
    a, b = strength * torch.randn(2, batch, classes, generator=generator)
    distance = soft_label_distance(a, b)
    assert 0 <= distance <= 2
    assert torch.equal(distance, soft_label_distance(b, a)) and soft_label_distance(a, a) == 0
    assert torch.allclose(distance, soft_label_distance(a + 5, b), atol=1e-5)  # as softmax does not see the shift
    never = torch.full((batch, 3), -1e4)  # further classes that neither takes into account change nothing
    assert torch.allclose(distance, soft_label_distance(torch.cat([a, never], 1), torch.cat([b, never], 1)))


def test_soft_label_distances_of_the_pictures_are_what_the_mean_is_of():
    logits, clean = 2 * torch.randn(2, 7, 10, generator=torch.Generator().manual_seed(0))
    each = soft_label_distance(logits, clean, reduction="none")
    assert each.shape == (7,) and torch.equal(each.mean(), soft_label_distance(logits, clean))
    alone = [soft_label_distance(logits[i : i + 1], clean[i : i + 1]) for i in range(7)]
    assert torch.allclose(each, torch.stack(alone))


# --- value from one, gradient from the other


def test_straight_through_is_exactly_the_value():
    value = torch.tensor([1 / 3, 1e-8, 0.1, 1e8])
    proxy = torch.tensor([1e8, 1.0, 0.3, 1e-8], requires_grad=True)
    assert not torch.equal(proxy + (value - proxy).detach(), value)  # which a sum would not be
    assert torch.equal(straight_through(value, proxy), value)


def test_straight_through_has_the_gradient_of_the_proxy():
    source = torch.tensor([0.2, 0.5, -1.0], requires_grad=True)
    value = torch.tensor([3.0, -2.0, 0.7], requires_grad=True)
    (straight_through(value, source**3) ** 2).sum().backward()
    assert torch.allclose(source.grad, 2 * value.detach() * 3 * source.detach() ** 2)  # at the value, through the proxy
    assert value.grad is None


def test_straight_through_keeps_kind_and_values():
    value, proxy = torch.arange(3), torch.rand(3, requires_grad=True)
    out = straight_through(value, proxy)
    assert out.dtype == torch.float32 and out.tolist() == [0, 1, 2]
    out.detach().zero_()
    assert value.tolist() == [0, 1, 2]
    assert straight_through(torch.tensor(4.0), proxy).tolist() == [4, 4, 4]


# --- terms of a preprocessor


def preprocessed() -> dict[str, torch.Tensor]:
    """Return two pictures of 4 x 8 pixels and what was made of them."""
    images = torch.zeros(2, 3, 4, 8)
    images[1] = 0.5
    return {
        "sent": (images + 0.1).requires_grad_(), "images": images,
        "bits": torch.tensor([64.0, 160.0], requires_grad=True), "task": torch.tensor([1.5, 0.5], requires_grad=True),
    }  # fmt: skip


def test_terms_of_a_preprocessor_as_one_writes_them_down():
    found = preprocessing_terms(**preprocessed(), weight=2.0)
    assert set(found) == {"loss", "bpp", "distortion", "recognition"}
    assert found["bpp"].item() == pytest.approx((64 / 32 + 160 / 32) / 2)
    assert found["distortion"].item() == pytest.approx(0.01) and found["recognition"].item() == 1
    assert found["loss"].item() == pytest.approx(3.5 + 0.5 * 0.01 + 2.0 * 1.0)


def test_each_picture_may_have_its_own_lambda_and_a_detector_one_loss():
    given = preprocessed()
    own = preprocessing_terms(**given, weight=torch.tensor([4.0, 1.0]))
    assert own["loss"].item() == pytest.approx(3.505 + (4 * 1.5 + 0.5) / 2) and own["recognition"].item() == 1
    one = preprocessing_terms(**given | {"task": torch.tensor(3.0)}, weight=torch.tensor(4.0), mse_weight=10)
    assert one["loss"].item() == pytest.approx(3.5 + 0.1 + 12) and one["recognition"].item() == 3


def test_gradients_of_the_terms_of_a_preprocessor():
    given = preprocessed()
    preprocessing_terms(**given, weight=torch.tensor([4.0, 1.0]))["loss"].backward()
    assert torch.allclose(given["bits"].grad, torch.full((2,), 1 / (2 * 32)))
    assert torch.allclose(given["task"].grad, torch.tensor([2.0, 0.5]))
    assert torch.allclose(given["sent"].grad, torch.full((2, 3, 4, 8), 0.1 / 192))  # 0.5 of 2 d / n


# --- terms


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_is_the_weighted_sum_of_its_terms(recognizer, batch, name):
    mode = MODES[name]
    terms, _ = after_backward(mode, recognizer, batch)
    assert all(term.shape == () and term.dtype == torch.float32 for term in terms.values())
    if name == "plain":
        assert set(terms) == {"loss", "distortion"} and terms["loss"] == terms["distortion"]
    else:
        assert set(terms) == {"loss", "distortion", "recognition"} and terms["recognition"] > 0
        assert torch.equal(terms["loss"], terms["distortion"] + mode.weight * terms["recognition"])


# --- which gradient reaches which network


@pytest.mark.parametrize("name", NAMES)
def test_lambda_only_scales_the_recognition_term(recognizer, batch, name):
    weak, strong = (after_backward(find_mode(name, weight), recognizer, batch)[0] for weight in (0.25, 4))
    assert {k: v for k, v in weak.items() if k != "loss"} == {k: v for k, v in strong.items() if k != "loss"}


def test_plain_is_the_gradient_of_the_distortion(batch):
    degraded, target, _ = batch
    processor = make_networks(MODES["plain"])["processor"]
    expected = of_term(processor, (processor(degraded) - target).square().mean())
    _, found = after_backward(MODES["plain"], None, batch)
    assert_close(found["processor"], expected)


@pytest.mark.parametrize("recognizer", [None, Raises()], ids=["none", "raises"])
def test_plain_never_runs_the_recognizer(batch, recognizer):
    for mode in (MODES["plain"], find_mode("ra", 0)):
        terms, _ = after_backward(mode, recognizer, batch, labels=None)
        assert terms["loss"] > 0


def test_the_other_modes_do_run_the_recognizer(batch):
    for name in NAMES[1:]:
        with pytest.raises(AssertionError, match="recognizer was run"):
            after_backward(MODES[name], Raises(), batch)


@pytest.mark.parametrize(("name", "kind"), [("ra", "labels"), ("ra_unsupervised", "soft_labels")])
@pytest.mark.parametrize("weight", [None, 0.05, 2.0])
def test_the_processor_gets_both_gradients(recognizer, batch, name, kind, weight):
    mode = find_mode(name, weight)
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
    _, plain = after_backward(MODES["plain"], None, batch)
    for weight in (None, 100.0):
        _, found = after_backward(find_mode("ra_transformer", weight), recognizer, batch)
        assert all(torch.equal(found["processor"][key], plain["processor"][key]) for key in plain["processor"])


@pytest.mark.parametrize("weight", [None, 3.0])
def test_the_transformer_gets_the_gradient_of_recognition_only(recognizer, batch, weight):
    mode = find_mode("ra_transformer", weight)
    degraded, _, labels = batch
    networks = make_networks(mode)
    stopped = networks["processor"](degraded).detach()
    c = F.cross_entropy(recognizer(networks["transformer"](stopped)), labels)
    of_c = of_term(networks["transformer"], c)
    terms, found = after_backward(mode, recognizer, batch)
    assert terms["recognition"].item() == pytest.approx(c.item(), rel=1e-5)
    assert_close(found["transformer"], {key: mode.weight * g for key, g in of_c.items()})


def test_unsupervised_needs_no_labels(recognizer, batch):
    with_labels = after_backward(MODES["ra_unsupervised"], recognizer, batch)
    without = after_backward(MODES["ra_unsupervised"], recognizer, batch, labels=None)
    assert with_labels[0] == without[0]
    processor = without[1]["processor"]
    assert all(torch.equal(grad, with_labels[1]["processor"][key]) for key, grad in processor.items())


@pytest.mark.parametrize("name", ["ra", "ra_transformer"])
def test_the_supervised_modes_follow_their_labels(recognizer, batch, name):
    degraded, target, labels = batch
    right, _ = after_backward(MODES[name], recognizer, batch)
    wrong, _ = after_backward(MODES[name], recognizer, (degraded, target, (labels + 1) % 10))
    assert right["distortion"] == wrong["distortion"] and right["recognition"] != wrong["recognition"]


def test_the_target_side_of_unsupervised_carries_no_graph(recognizer, batch):
    degraded, target, _ = batch
    mode, networks = find_mode("ra_unsupervised", 5.0), make_networks(MODES["ra_unsupervised"])
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
    mode = MODES[name]
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


def test_training_plain_never_runs_the_recognizer(tmp_path, pictures):
    train(tmp_path, "plain", Raises(), pictures)


@pytest.mark.parametrize("name", ["plain", "ra_unsupervised"])
def test_training_without_labels_never_touches_them(tmp_path, recognizer, pictures, name):
    first = train(tmp_path / "with", name, recognizer, pictures)["processor"]
    second = train(tmp_path / "without", name, recognizer, WithoutLabels(pictures))["processor"]
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_the_processor_of_ra_transformer_is_that_of_plain(tmp_path, recognizer, pictures):
    plain = train(tmp_path, "plain", None, pictures)
    both = train(tmp_path, "ra_transformer", recognizer, pictures)
    fresh = make_networks(MODES["ra_transformer"])
    files = [tmp_path / name / "processor.safetensors" for name in ("plain", "ra_transformer")]
    assert files[0].read_bytes() == files[1].read_bytes()  # weights and BatchNorm's buffers, to the bit
    trained = load_weights(make_networks(MODES["plain"])["processor"], files[1])
    for key, value in plain["processor"].state_dict().items():
        assert torch.equal(value, both["processor"].state_dict()[key])
        assert torch.equal(value, trained.state_dict()[key])
    for key, net in both.items():  # and both were trained
        pairs = zip(fresh[key].parameters(), net.parameters(), strict=True)
        assert all(not torch.equal(before, after) for before, after in pairs)
    assert (tmp_path / "ra_transformer" / "transformer.safetensors").exists()
    assert not (tmp_path / "plain" / "transformer.safetensors").exists()


def test_the_other_modes_train_another_processor(tmp_path, recognizer, pictures):
    trained = {name: train(tmp_path, name, recognizer, pictures)["processor"] for name in NAMES}
    flat = {name: torch.cat([p.flatten() for p in net.parameters()]) for name, net in trained.items()}
    assert not torch.equal(flat["plain"], flat["ra"]) and not torch.equal(flat["ra"], flat["ra_unsupervised"])
