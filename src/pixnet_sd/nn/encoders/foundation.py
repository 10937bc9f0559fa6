"""Pathology foundation models: architecture, windows, license, and where to request access. timm.

Constructor arguments follow each model's card on the hub, as used by TRIDENT (github.com/mahmoodlab/TRIDENT,
trident/patch_encoder_models/load.py) and LazySlide (github.com/rendeirolab/lazyslide-models); Hibou's follow its own
code (github.com/HistAI/hibou, hibou/models/__init__.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from timm.layers import Mlp, SwiGLUPacked
from timm.models.vision_transformer import VisionTransformer
from torch import nn

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
BIOPTIMUS = ((0.707223, 0.578729, 0.703617), (0.211883, 0.230117, 0.177517))
HIBOU = ((0.7068, 0.5755, 0.722), (0.195, 0.2316, 0.1816))
NON_COMMERCIAL = "CC-BY-NC-ND-4.0"


@dataclass(frozen=True)
class Foundation:
    """One foundation model: a plain ViT and the facts around it."""

    name: str
    """Name in `encoders()`."""
    hub: str
    """Repository on the Hugging Face hub."""
    license: str
    """License of the weights."""
    dim: int
    """Width of a token."""
    depth: int
    """Number of blocks."""
    heads: int
    """Attention heads."""
    hidden: int
    """Outputs of each block's first MLP layer; with SwiGLU, gate and value together."""
    patch_px: int
    """Side of a token."""
    swiglu: bool = False
    """SwiGLU in the MLPs, else GELU."""
    registers: int = 0
    """Register tokens."""
    no_embed_class: bool = False
    """Position embeddings for patches only, not for class and register tokens."""
    init_values: float = 1e-5
    """Initial layer scale; its presence matters more than its value."""
    window_px: int = 224
    """Side of its input window."""
    mpp: float = 0.5
    """Micrometres per pixel it was trained at."""
    gated: bool = True
    """Whether access must be requested."""
    normalization: tuple[tuple[float, ...], tuple[float, ...]] = IMAGENET
    """Mean and standard deviation of red, green and blue."""

    @property
    def mean(self) -> tuple[float, ...]:
        return self.normalization[0]

    @property
    def std(self) -> tuple[float, ...]:
        return self.normalization[1]

    @property
    def url(self) -> str:
        return f"https://huggingface.co/{self.hub}"

    @property
    def access(self) -> str:
        """How to get the weights, in words."""
        return f"request it at {self.url}, then set HF_TOKEN" if self.gated else f"free at {self.url}"

    def summary(self) -> dict[str, object]:
        """Return one row of `encoders()`."""
        columns = ("name", "mpp", "patch_px", "window_px", "dim", "depth", "license", "gated", "access")
        return {key: getattr(self, key) for key in columns}

    def create(self, *, depth: int, dim: int) -> VisionTransformer:
        """Create the ViT with random weights; another depth or width keeps every other trait."""
        hidden = 8 * round(self.hidden * dim / self.dim / 8)
        return VisionTransformer(
            img_size=self.window_px,
            patch_size=self.patch_px,
            embed_dim=dim,
            depth=depth,
            num_heads=max(1, self.heads * dim // self.dim),
            mlp_ratio=(hidden + 0.5) / dim,  # timm truncates dim * mlp_ratio
            mlp_layer=cast("type[nn.Module]", SwiGLUPacked) if self.swiglu else Mlp,
            act_layer=nn.SiLU if self.swiglu else nn.GELU,
            init_values=self.init_values,
            reg_tokens=self.registers,
            no_embed_class=self.no_embed_class,
            num_classes=0,
        )


# Virchow2's MLP: int(1280 * 5.3375) = 6832. SwiGLU by DINOv2's rule: 2 * ((int(4 dim * 2 / 3) + 7) // 8 * 8).
# CONCH v1.5 gets 512 px at 0.5 um/px scaled to 448 px from its authors; a window here is 448 px, not scaled.
ROWS = (
    Foundation("uni", "MahmoodLab/UNI", NON_COMMERCIAL, 1024, 24, 16, 4096, 16),
    Foundation(
        "uni2-h", "MahmoodLab/UNI2-h", NON_COMMERCIAL, 1536, 24, 24, 8192, 14,
        swiglu=True, registers=8, no_embed_class=True,
    ),
    Foundation("virchow2", "paige-ai/Virchow2", NON_COMMERCIAL, 1280, 32, 16, 6832, 14, swiglu=True, registers=4),
    Foundation(
        "h-optimus-0", "bioptimus/H-optimus-0", "Apache-2.0", 1536, 40, 24, 8192, 14,
        swiglu=True, registers=4, no_embed_class=True, normalization=BIOPTIMUS,
    ),
    Foundation(
        "h-optimus-1", "bioptimus/H-optimus-1", NON_COMMERCIAL, 1536, 40, 24, 8192, 14,
        swiglu=True, registers=4, no_embed_class=True, normalization=BIOPTIMUS,
    ),
    Foundation("prov-gigapath", "prov-gigapath/prov-gigapath", "Apache-2.0", 1536, 40, 24, 8192, 16, swiglu=True),
    Foundation("phikon-v2", "owkin/phikon-v2", "Owkin non-commercial", 1024, 24, 16, 4096, 16, gated=False),
    Foundation(
        "conch-v1.5", "MahmoodLab/conchv1_5", NON_COMMERCIAL, 1024, 24, 16, 4096, 16, window_px=448, init_values=1.0
    ),
    Foundation(
        "h0-mini", "bioptimus/H0-mini", NON_COMMERCIAL, 768, 12, 12, 4096, 14,
        swiglu=True, registers=4, no_embed_class=True, normalization=BIOPTIMUS,
    ),
    Foundation(
        "hibou-b", "histai/hibou-b", "Apache-2.0", 768, 12, 12, 4096, 14,
        swiglu=True, registers=4, no_embed_class=True, normalization=HIBOU,
    ),
    Foundation(
        "hibou-l", "histai/hibou-L", "Apache-2.0", 1024, 24, 16, 5472, 14,
        swiglu=True, registers=4, no_embed_class=True, normalization=HIBOU,
    ),
)  # fmt: skip
FOUNDATION = {row.name: row for row in ROWS}
