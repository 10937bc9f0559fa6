"""PixNet as its paper says, as far as that is known: a pyramid, SAFB blocks, a map of logarithms, its loss and rates.

"From Spots to Pixels", arXiv 2503.01347; trained by this package, on the encoder that all rows share.
"""

from __future__ import annotations

from benchmarks.accuracy.dense import of_spots, trained
from benchmarks.accuracy.protocol import Fold, Prediction, Study

import pixnet_sd as ps

FINE = 0.7
"""µm per pixel, where the pictures have them."""
STEPS = 300
"""About 35 of the paper's 200 epochs: all of them would take some hours for each fold on one core."""


def paper(study: Study, fold: Fold, seed: int) -> Prediction:
    network = ps.NetworkConfig(
        decoder="safb", head="log", levels=(0, 1, 2, 3), context_um=(), mpp=min(study.source.mpp, FINE)
    )
    config = ps.TrainConfig(network=network, steps=STEPS, lr=5e-4, weight_decay=1e-4, seed=seed)
    return of_spots(study, fold, *trained(study, fold, config))
