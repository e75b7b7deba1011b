import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from ra_core.losses import preprocessing_terms, soft_label_distance, straight_through
from ra_core.methods import METHODS

# --- the distance of soft labels


def test_soft_label_distance_of_a_known_pair():
    logits = torch.tensor([[2.0, 1.0], [1.0, 1.0]]).log()  # (2/3, 1/3) and (1/2, 1/2)
    clean = torch.tensor([[1.0, 1.0], [1.0, 3.0]]).log()  # (1/2, 1/2) and (1/4, 3/4)
    expected = [2 * (1 / 6) ** 2, 2 * (1 / 4) ** 2]  # one a picture
    assert soft_label_distance(logits, clean).tolist() == pytest.approx(expected, rel=1e-6)


def test_lambda_on_the_sum_equals_the_published_ten_on_the_mean_over_1000_classes():
    generator = torch.Generator().manual_seed(0)
    logits, clean = 3 * torch.randn(2, 20, 1000, generator=generator)
    published = 10 * F.mse_loss(logits.softmax(1), clean.softmax(1))
    ours = METHODS["ra_unsupervised"].weight * soft_label_distance(logits, clean).mean()
    assert ours.item() == pytest.approx(published.item(), rel=1e-5)


@settings(max_examples=50)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(2, 12), st.floats(0, 30))
def test_soft_label_distance_is_a_distance(seed, batch, classes, strength):
    generator = torch.Generator().manual_seed(seed)
    a, b = strength * torch.randn(2, batch, classes, generator=generator)
    distance = soft_label_distance(a, b)
    assert distance.shape == (batch,) and (distance >= 0).all() and (distance <= 2 + 1e-6).all()
    assert torch.equal(distance, soft_label_distance(b, a)) and not soft_label_distance(a, a).any()
    assert torch.allclose(distance, soft_label_distance(a + 5, b), atol=1e-5)  # as softmax does not see the shift
    never = torch.full((batch, 3), -1e4)  # further classes that neither takes into account change nothing
    assert torch.allclose(distance, soft_label_distance(torch.cat([a, never], 1), torch.cat([b, never], 1)))


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
