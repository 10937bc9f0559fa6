"""How a network is trained. Values only."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from pixnet_sd._errors import PixnetValueError
from pixnet_sd.nn.network.network import NetworkConfig
from pixnet_sd.nn.network.views import VIEWS
from pixnet_sd.nn.training.loss import RateLoss


def small_network() -> NetworkConfig:
    """Colour and texture, one hidden layer on each pixel: enough for a few hundred spots, and nothing to download."""
    return NetworkConfig(encoder="stain", levels=None, decoder="pixel", widths=(64,))


@dataclass(frozen=True)
class TrainConfig:
    """Everything about a training run but the data."""

    network: NetworkConfig = field(default_factory=small_network)
    """The network to train; `mpp` is the µm per pixel that images are resampled to."""
    rate: RateLoss = field(default_factory=RateLoss)
    """The loss of a network with `head="rate"`; one with `head="log"` is trained with the paper's loss."""
    encoder: str = "frozen"
    """What of the encoder is trained: nothing ("frozen": its features are computed once), "last:N" blocks, or "all"."""
    augment: bool = False
    """Turn, mirror, blur, recolour and shrink crops; an encoder is then run at every step, also a frozen one."""
    views: int = 1
    """In how many ways a slide is seen to lie while it is learnt from: 1 as it is, 4 turned as well, 8 mirrored too.
    Features take so many times as long. Only with the decoder "pixel" on a frozen encoder."""
    steps: int = 800
    """Batches to learn from, rounded up to whole passes over all shapes."""
    pixels: int = 64
    """Pixels of each shape that the decoder "pixel" looks at while it learns on features that stay the same: all where
    a shape has no more, else so many drawn evenly over its area."""
    crops: int = 64
    """Crops in a batch, all of one slide, so that correlations stay within a section; where pixels are drawn, shapes
    of at least `pixels` pixels, or as many more smaller ones."""
    lr: float = 1e-2
    """Peak learning rate (AdamW, warm-up, then cosine)."""
    encoder_lr: float = 1e-5
    """The same for what is trained of the encoder."""
    weight_decay: float = 1e-2
    """Of the decoder's matrices; biases, norms, loadings and the encoder have none."""
    dropout: float = 0.2
    """Share of hidden units that the decoder "pixel" leaves out in training."""
    feature_dropout: float = 0.5
    """Share of features that it leaves out in training: with few spots, what keeps it from learning them by heart."""
    warmup: float = 0.1
    """Share of the steps over which the learning rate rises."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    ema: float = 0.98
    """Decay of the running mean of the weights, which is what is kept."""
    patience: float = 0.3
    """Share of the whole training without a better validation score after which it stops; only with validation data."""
    members: int = 1
    """Networks to train, from different seeds; their mean predicts."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self) -> None:
        for name in ("steps", "pixels", "crops", "members"):
            if getattr(self, name) < 1:
                raise PixnetValueError(f"{name} must be at least 1; got {getattr(self, name)}.")
        self.check_views()
        shares = {name: getattr(self, name) for name in ("ema", "warmup", "dropout", "feature_dropout")}
        if not all(0 <= share < 1 for share in shares.values()) or self.lr <= 0 or self.encoder_lr <= 0:
            raise PixnetValueError(
                "Need 0 <= ema, warmup, dropout, feature_dropout < 1 and learning rates above 0; got "
                f"{shares}, lr={self.lr}, encoder_lr={self.encoder_lr}."
            )

    def check_views(self) -> None:
        if not 1 <= self.views <= len(VIEWS):
            raise PixnetValueError(f"views must be from 1 to {len(VIEWS)}; got {self.views}.")
        if self.views > 1 and not (self.cached and self.network.decoder == "pixel"):
            raise PixnetValueError(
                f'views={self.views} needs a frozen encoder, the decoder "pixel" and augment=False; got '
                f"encoder={self.encoder!r}, decoder={self.network.decoder!r}, augment={self.augment}. For others, "
                "augment=True turns crops at every step."
            )

    @property
    def cached(self) -> bool:
        """Whether features can be computed once."""
        return self.encoder == "frozen" and not self.augment

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "network": self.network.to_json()}
