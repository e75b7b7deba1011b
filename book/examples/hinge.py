"""A method: the recognition term stops where the right class leads by a margin."""

from torch.nn import functional as F

from ra_core.methods import METHODS, Method


def hinge(judge, seen, clean, labels):
    """Return the hinge loss of the judge's answers, (B,)."""
    return F.multi_margin_loss(judge(seen), labels, reduction="none")


hinge.needs_labels = True
METHODS.add("ra_hinge", Method("ra_hinge", ("processor",), "RA, hinge", "#E7298A", "P", hinge, weight=1e-3))
