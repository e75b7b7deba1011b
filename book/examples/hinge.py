"""A method: the recognition term stops where the right class leads by a margin."""

# TODO-CORE: what a recognition function is given, as ra_core.methods has it.
from torch.nn import functional as F

from ra_core.methods import METHODS, Method


def margin(judge, seen, clean, labels):
    """Return the hinge loss of the judge's answers, (B,)."""
    return F.multi_margin_loss(judge(seen), labels, reduction="none")


METHODS.add("ra_hinge", Method("ra_hinge", ("processor",), "RA, hinge", "#882200", "P", margin, weight=1e-3))
