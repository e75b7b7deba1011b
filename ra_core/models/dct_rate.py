"""What quantised blocks of a transform codec cost: a smooth count in the way of its entropy coder.

Coefficients are in units of their quantiser's step and not rounded, so that a gradient says what a change would
save before a coefficient tips over. The functions have no slope at zero: what is zero cannot get cheaper.
"""

import numpy as np
import torch
from scipy.optimize import nnls

# Of a plane: coefficients that are not zero, those after runs, sizes; first coefficients, their sizes.
FEATURES = 5


def soft_count(values: torch.Tensor, threshold: float) -> torch.Tensor:
    """Return 0 for small values, 1 for large ones, and one half at `threshold`."""
    fourth = (values / threshold).square().square()
    return fourth / (1 + fourth)


def soft_size(values: torch.Tensor) -> torch.Tensor:
    """Return what grows as the bits of a value's magnitude: log2 of the root of 1 + 0.3 value squared."""
    return 0.5 * torch.log2(1 + 0.3 * values.square())


class _Runs(torch.autograd.Function):
    """How many zeros stand before each coefficient: run_k = (run_(k-1) + 1) * (1 - count_(k-1)), a loop both ways."""

    @staticmethod
    def forward(ctx, counts):
        zero, runs = 1 - counts, torch.zeros_like(counts)
        for k in range(1, len(counts)):
            torch.addcmul(zero[k - 1], runs[k - 1], zero[k - 1], out=runs[k])
        ctx.save_for_backward(zero, runs)
        return runs

    @staticmethod
    def backward(ctx, gradient):
        zero, runs = ctx.saved_tensors
        carried, answer = gradient[-1].clone(), torch.zeros_like(gradient)
        for k in range(len(gradient) - 1, 0, -1):
            torch.addcmul(carried, carried, runs[k - 1], out=answer[k - 1])
            carried = torch.addcmul(gradient[k - 1], carried, zero[k - 1])
        return answer.neg_()


soft_runs = _Runs.apply  # along the first axis, since the last that is not zero


def rate_features(coefficients: torch.Tensor, first: torch.Tensor, threshold: float, runs: bool) -> torch.Tensor:
    """Return what a rate is a weighted sum of, for each picture and plane: (B, C, FEATURES).

    `coefficients` (K, B, C, N) are in zigzag order, K a block of N; `first` (B, C, N) is coded in place of the first
    of each block. With `runs` a coefficient after zeros costs more, by the logarithm of their number, as in a
    run-length code; otherwise that feature is zero.
    """
    count, size = soft_count(coefficients[1:], threshold), soft_size(coefficients[1:])
    counted, sizes = count.sum((0, 3)), size.sum((0, 3))
    far = (count * torch.log2(1 + soft_runs(count))).sum((0, 3)) if runs else torch.zeros_like(counted)
    firsts = soft_count(first, threshold).sum(2), soft_size(first).sum(2)
    return torch.stack([counted, far, sizes, *firsts], dim=2)


def fit_weights(features: torch.Tensor, bits: torch.Tensor) -> torch.Tensor:
    """Return weights (K,), none below zero, with which features (P, K) come nearest to the bits (P,) of P real files.

    Least squares of the relative error. No weight is negative, so that what adds coefficients never seems to save bits.
    """
    rows = (features / bits[:, None]).double().numpy()
    return torch.from_numpy(nnls(rows, np.ones(len(rows)))[0]).float()
