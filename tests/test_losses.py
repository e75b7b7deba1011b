import pytest
import torch

from ra_core.losses import preprocessing_terms, straight_through

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
