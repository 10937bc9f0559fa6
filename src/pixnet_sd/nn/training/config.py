"""How a network is trained."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from pixnet_sd._errors import PixnetValueError
from pixnet_sd.nn.network.config import NetworkConfig
from pixnet_sd.nn.network.decoder import DECODERS
from pixnet_sd.nn.network.views import VIEWS
from pixnet_sd.nn.training.loss import RateLoss

# Peak learning rates of decoders that need another than 0.01.
RATES = {"safb": 5e-4}


@dataclass(frozen=True)
class TrainConfig:
    """Hyperparameters of a training."""

    network: NetworkConfig = field(default_factory=NetworkConfig)
    """The network to train; `mpp` is the µm per pixel that images are resampled to."""
    rate: RateLoss = field(default_factory=RateLoss)
    """The loss of a network with `head="rate"`; one with `head="log"` is trained with the paper's loss."""
    encoder: str = "frozen"
    """Trained part of the encoder: "frozen" (none; its features are computed once), "last:N" blocks, or "all"."""
    augment: bool = False
    """Rotate, mirror, blur, recolor and shrink crops; the encoder then runs at every step, also a frozen one."""
    views: int | None = None
    """Number of dihedral views per slide: 1, 4 (rotations) or 8 (rotations and reflections). Features take so many
    times as long. Only with the decoder "pixel" on a frozen encoder; None is 4 there, see `used_views`."""
    steps: int = 800
    """Batches, rounded up to whole epochs."""
    pixels: int = 64
    """Pixels per shape on which the decoder "pixel" is trained when features are fixed: all of a shape that has no
    more, else a sample evenly over its area."""
    crops: int = 64
    """Crops in a batch, all of one slide, so that correlations stay within a section; when pixels are sampled, shapes
    of at least `pixels` pixels, or proportionally more smaller ones."""
    lr: float | None = None
    """Peak learning rate (AdamW, warm-up, then cosine); None for what suits the decoder, see `peak_lr`."""
    encoder_lr: float = 1e-5
    """The same for the trained part of the encoder."""
    weight_decay: float = 1e-2
    """Of the decoder's matrices; biases, norms, loadings and the encoder have none."""
    dropout: float = 0.2
    """Dropout of hidden units in the decoder "pixel"."""
    feature_dropout: float = 0.5
    """Dropout of its input features: the main regularizer with few spots."""
    warmup: float = 0.1
    """Share of the steps over which the learning rate rises."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    ema: float = 0.98
    """Decay of the exponential moving average of the weights, which becomes the model."""
    patience: float = 0.3
    """Early stopping: share of all epochs without a better validation score; only with validation data."""
    members: int = 1
    """Networks to train, from different seeds; their mean predicts."""
    seed: int = 0
    """Seed of initial weights, batches, dropout and augmentation."""

    def __post_init__(self) -> None:
        for name in ("steps", "pixels", "crops", "members"):
            if getattr(self, name) < 1:
                raise PixnetValueError(f"{name} must be at least 1; got {getattr(self, name)}.")
        if "features" in (self.network.decoder, self.network.head):
            raise PixnetValueError('Nothing of a network with decoder or head "features" can be trained; see tl.embed.')
        self.check_views()
        shares = {name: getattr(self, name) for name in ("ema", "warmup", "dropout", "feature_dropout")}
        if not all(0 <= share < 1 for share in shares.values()) or self.peak_lr <= 0 or self.encoder_lr <= 0:
            raise PixnetValueError(
                "Need 0 <= ema, warmup, dropout, feature_dropout < 1 and learning rates above 0; got "
                f"{shares}, lr={self.lr}, encoder_lr={self.encoder_lr}."
            )

    def check_views(self) -> None:
        if not 1 <= self.used_views <= len(VIEWS):
            raise PixnetValueError(f"views must be from 1 to {len(VIEWS)}; got {self.views}.")
        if self.used_views > 1 and not (self.cached and DECODERS[self.network.decoder].samples_pixels):
            raise PixnetValueError(
                f'views={self.views} needs a frozen encoder, the decoder "pixel" and augment=False; got '
                f"encoder={self.encoder!r}, decoder={self.network.decoder!r}, augment={self.augment}. For others, "
                "augment=True rotates crops at every step."
            )

    @property
    def peak_lr(self) -> float:
        """The learning rate `lr`, or what suits the decoder: that of single pixels bears more than the paper's."""
        return RATES.get(self.network.decoder, 1e-2) if self.lr is None else self.lr

    @property
    def used_views(self) -> int:
        """The number `views`; by default rotations where features depend on the direction and are computed once."""
        turned = self.cached and DECODERS[self.network.decoder].samples_pixels and self.network.encoder != "stain"
        return (4 if turned else 1) if self.views is None else self.views

    @property
    def cached(self) -> bool:
        """Whether features are computed once."""
        return self.encoder == "frozen" and not self.augment

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "network": self.network.to_json()}
