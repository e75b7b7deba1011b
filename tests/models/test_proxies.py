import pytest
import torch
from refusal import refusal
from torch import nn
from torch.nn import functional as F

from ra_core.errors import WeightsError
from ra_core.models import proxy_learned
from ra_core.models.proxies import PROXIES, load_proxy_weights, make_proxy, proxy_stem, shipped_proxies
from ra_core.models.proxy_learned import GDN, FlowDensity, MaskedConv2d, bits, gaussian_likelihood, quantise

SMALL = {"Minnen2018": {"n": 4, "m": 6}, "Hyperprior": {"n": 4, "m": 6}, "BlockDCT": {"quality": 30}}
LEARNED = ("Minnen2018", "Hyperprior")


def small(name: str) -> nn.Module:
    torch.manual_seed(0)
    return make_proxy(name, **SMALL[name])


# GDN


@pytest.mark.parametrize("inverse", [False, True])
def test_gdn_is_its_formula(inverse):
    torch.manual_seed(0)
    layer = GDN(3, inverse)
    with torch.no_grad():
        layer.beta.uniform_(0.5, 1.5)
        layer.gamma.uniform_(0.1, 1)
    x = torch.randn(2, 3, 4, 5)
    beta, gamma = layer.beta.square(), layer.gamma.square()
    norm = torch.empty_like(x)
    for i in range(3):
        norm[:, i] = (beta[i] + sum(gamma[i, j] * x[:, j] ** 2 for j in range(3))).sqrt()
    assert torch.allclose(layer(x), x * norm if inverse else x / norm, atol=1e-6)


def test_gdn_keeps_beta_and_gamma_positive_and_lets_them_come_back():
    layer = GDN(2)
    with torch.no_grad():
        layer.beta.fill_(-1)
        layer.gamma.fill_(-1)
    x = torch.ones(1, 2, 2, 2)
    out = layer(x)
    assert out.isfinite().all() and torch.allclose(out, torch.tensor(1e3), rtol=1e-3)  # beta is 1e-6
    (-out).sum().backward()  # descent would make the norm smaller still
    assert torch.equal(layer.beta.grad, torch.zeros(2))
    layer(x).sum().backward()  # descent raises beta again
    assert (layer.beta.grad < 0).all()


def test_lower_bound_passes_only_gradients_that_lead_back():
    x = torch.tensor([-1.0, -1.0, 2.0, 2.0], requires_grad=True)
    out = proxy_learned.lower_bound(x, 0.5)
    (out * torch.tensor([1.0, -1.0, 1.0, -1.0])).sum().backward()
    assert out.tolist() == [0.5, 0.5, 2.0, 2.0] and x.grad.tolist() == [0.0, -1.0, 1.0, -1.0]


# Context


def test_the_masked_convolution_and_the_context_are_causal():
    torch.manual_seed(0)
    conv, x = MaskedConv2d(2, 3, 5, padding=2), torch.randn(1, 2, 7, 8)
    before = conv(x)
    for row, column in ((0, 0), (3, 4), (6, 7), (2, 0)):
        changed = x.clone()
        changed[0, :, row, column] += 10
        touched = (conv(changed) != before).any(1)[0].flatten()
        place = row * 8 + column
        assert not touched[: place + 1].any(), "an earlier prediction, or its own, looked ahead"
        assert touched[place + 1 :].any() or place == 55
    net, y = small("Minnen2018").eval(), torch.randn(1, 6, 4, 4)
    changed = y + 5 * F.one_hot(torch.tensor(9), 16).view(4, 4)
    for one, other in zip(*(net.moments(torch.ones(1, 12, 4, 4), latent) for latent in (y, changed)), strict=True):
        touched = (one != other).any(1)[0].flatten()
        assert not touched[:10].any() and touched[10:].any()
    before.square().sum().backward()
    assert (conv.weight.grad.flatten(2)[..., :12] != 0).all() and (conv.weight.grad.flatten(2)[..., 12:] == 0).all()


# Likelihoods


def test_gaussian_likelihood_is_the_difference_of_two_cdf_and_stays_exact_far_out():
    values = torch.tensor([-3.0, 0.0, 1.0, 4.0], dtype=torch.float64)
    normal = torch.distributions.Normal(torch.tensor(0.5, dtype=torch.float64), 2.0)
    expected = normal.cdf(values + 0.5) - normal.cdf(values - 0.5)
    mean = torch.tensor(0.5, dtype=torch.float64)
    assert torch.allclose(gaussian_likelihood(values, mean, torch.tensor(2.0)), expected, atol=1e-9)
    far = gaussian_likelihood(torch.tensor([5.5, -5.5]), torch.zeros(2), torch.ones(2))
    assert torch.allclose(far, torch.tensor([2.8665e-7] * 2), rtol=1e-3)  # float32, both tails
    assert gaussian_likelihood(torch.tensor(1e4), torch.tensor(0.0), torch.tensor(1.0)) == pytest.approx(1e-9)


def test_flow_likelihoods_of_the_integers_sum_to_one_for_each_channel():
    torch.manual_seed(0)
    density = FlowDensity(5)
    assert sum(p.numel() for p in density.parameters()) == 55
    with torch.no_grad():
        for parameter in density.parameters():
            parameter += torch.randn_like(parameter) * 0.5
    values = torch.arange(-400.0, 401.0).view(1, 1, -1, 1).expand(1, 5, -1, 1)
    share = density.likelihood(values)
    assert torch.allclose(share.sum((0, 2, 3)), torch.ones(5), atol=1e-4) and (share > 0).all()
    logits = density.logits(values)
    assert (logits.diff(dim=2) > 0).all()  # a cdf rises
    expected = torch.sigmoid(density.logits(values + 0.5)) - torch.sigmoid(density.logits(values - 0.5))
    assert torch.allclose(share, expected, atol=1e-6)


def test_quantise_adds_noise_of_one_bin_or_rounds_and_lets_the_gradient_through():
    values = torch.linspace(-3, 3, 4001, requires_grad=True)
    noisy, rounded = quantise(values, True), quantise(values, False)
    noise = (noisy - values).detach()
    assert noise.abs().max() <= 0.5 and abs(noise.mean()) < 0.02
    assert noise.std() == pytest.approx(12**-0.5, 0.05)
    assert torch.equal(rounded, values.round())
    for out in (noisy, rounded):
        assert torch.equal(torch.autograd.grad(out.sum(), values)[0], torch.ones(4001))


# All proxies


@pytest.mark.parametrize("name", PROXIES)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("size", [(1, 1), (7, 70), (64, 64)])
def test_the_answer_has_the_pictures_size_whatever_it_is(name, training, size):
    proxy, images = small(name).train(training), torch.rand(2, 3, *size)
    answer = proxy(images)
    assert set(answer) == {"pictures", "raw", "bits_y", "bits_z", "bits"}
    assert answer["pictures"].shape == answer["raw"].shape == images.shape
    assert torch.equal(answer["pictures"], answer["raw"].clamp(0, 1))
    for key in ("bits_y", "bits_z", "bits"):
        assert answer[key].shape == (2,) and answer[key].isfinite().all() and (answer[key] >= 0).all(), key
    assert torch.equal(answer["bits"], answer["bits_y"] + answer["bits_z"])


# Learned proxies


@pytest.mark.parametrize("name", LEARNED)
def test_bits_are_those_of_the_models_own_likelihoods(name):
    proxy, images = small(name).eval(), torch.rand(2, 3, 64, 128)
    with torch.no_grad():
        latent = proxy.encoder(images)
        z, y = proxy.hyper_encoder(latent).round(), latent.round()
        mean, scale = proxy.moments(proxy.hyper_decoder(z), y)
        answer = proxy(images)
    assert y.shape == (2, 6, 4, 8) and z.shape == (2, 4, 1, 2) and (scale >= 0.11).all()
    assert torch.allclose(answer["bits_y"], bits(gaussian_likelihood(y, mean, scale)))
    assert torch.allclose(answer["bits_z"], bits(proxy.z_density.likelihood(z)))
    assert torch.allclose(answer["raw"], proxy.decoder(y), atol=1e-6)
    noisy = [proxy.train()(images)["raw"] for _ in range(2)]  # in training
    assert not torch.equal(*noisy) and not torch.equal(noisy[0], answer["raw"])
    proxy.eval()
    part = images[..., :50, :70]
    padded = F.pad(part, (0, 58, 0, 14), mode="replicate")  # the border is repeated, and paid for
    with torch.no_grad():
        one, other = proxy(part), proxy(padded)
    assert torch.equal(one["bits"], other["bits"]) and torch.allclose(one["raw"], other["raw"][..., :50, :70])


def test_weights_that_do_not_ship_are_refused_with_a_list_of_those_that_do(tmp_path):
    said = refusal(WeightsError, load_proxy_weights, "hyperprior-3")
    assert shipped_proxies() and all(stem in said for stem in (*shipped_proxies(), "hyperprior-3"))
    assert shipped_proxies("Minnen2018") == []
    (tmp_path / "hyperprior-3.json").write_text('{"name": "Hyperprior", "n": 3}')
    assert "m, weight" in refusal(WeightsError, load_proxy_weights, "hyperprior-3", tmp_path)
    assert [proxy_stem("Hyperprior", w) for w in (512.0, 0.25)] == ["hyperprior-512", "hyperprior-0.25"]
