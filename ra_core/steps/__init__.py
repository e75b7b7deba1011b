"""What notebooks call: train, evaluate, measure rates and costs, merge tables."""

from ra_core.steps.boundaries import boundary_tables
from ra_core.steps.common import load_judges, pictures_of, set_threads
from ra_core.steps.costs import header_rows, measure_costs, merge_costs
from ra_core.steps.panels import ENDS, equal_accuracy, pair_at, panel_of, through_every_chain
from ra_core.steps.proxy_agreement import agreement, agreements
from ra_core.steps.rates import evaluate_codec, merge_rates
from ra_core.steps.restoration import evaluate_task, merge_tables
from ra_core.steps.trainings import train, trained
from ra_core.steps.transfer import transfer_tables

__all__ = [
    "ENDS", "agreement", "agreements", "boundary_tables", "equal_accuracy", "evaluate_codec", "evaluate_task",
    "header_rows", "load_judges", "measure_costs", "merge_costs", "merge_rates", "merge_tables", "pair_at", "panel_of",
    "pictures_of", "set_threads", "through_every_chain", "train", "trained", "transfer_tables",
]  # fmt: skip
