"""Pathology foundation models: architecture, files, scale, license, and how to get access. Values only.

Constructor arguments follow each model's card on the hub, as used by TRIDENT (github.com/mahmoodlab/TRIDENT,
trident/patch_encoder_models/load.py) and LazySlide (github.com/rendeirolab/lazyslide-models); Hibou's follow its own
code (github.com/HistAI/hibou, hibou/models/__init__.py). Revisions and sha256 are those that raw2features
(github.com/CraigMyles/raw2features, registry.yaml) verified in July 2026.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log2

from pixnet_sd._errors import PixnetValueError

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALVES = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
BIOPTIMUS = ((0.707223, 0.578729, 0.703617), (0.211883, 0.230117, 0.177517))
HIBOU = ((0.7068, 0.5755, 0.722), (0.195, 0.2316, 0.1816))
NON_COMMERCIAL = "CC-BY-NC-ND-4.0"
SAFETENSORS, PICKLE = "model.safetensors", "pytorch_model.bin"
# Pyramid levels of a ViT, which takes one of its layers for each.
LEVELS = (4, 8, 16, 32)
# How much an image's µm per pixel may differ from those that a model was trained at before it matters.
SCALE_TOLERANCE = 0.15
GATES = {
    "none": "free at {url}",
    "terms": "accept the terms at {url} while logged in, then set HF_TOKEN",
    "request": "request access at {url}, which its owner grants, then set HF_TOKEN",
}


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
    init_values: float | None = 1e-5
    """Initial layer scale; its presence matters more than its value. None without."""
    window_px: int = 224
    """Side of its input window."""
    antialias: bool = True
    """Whether its authors smooth position embeddings that are resampled to fewer tokens."""
    scales: tuple[float, ...] = (0.5,)
    """Micrometres per pixel it was trained at."""
    scale_by: str = "card"
    """Where the scale is stated: "card" (or paper) in micrometres, "magnification" only, or "convention"."""
    gate: str = "request"
    """"none", "terms" (accepted at once) or "request" (granted by hand)."""
    commercial: bool = False
    """Whether license and card allow commercial use."""
    normalization: tuple[tuple[float, ...], tuple[float, ...]] = IMAGENET
    """Mean and standard deviation of red, green and blue."""
    file: str = SAFETENSORS
    """File with the weights."""
    size_mb: int = 0
    """Size of that file, about."""
    revision: str = "main"
    """Pinned commit of the repository."""
    sha256: str | None = None
    """Checksum of the file."""
    choose: str = ""
    """When to choose it."""

    @property
    def mean(self) -> tuple[float, ...]:
        return self.normalization[0]

    @property
    def std(self) -> tuple[float, ...]:
        return self.normalization[1]

    @property
    def mpp(self) -> float:
        """The scale to use: that nearest to 0.5 µm per pixel."""
        return min(self.scales, key=lambda scale: abs(scale - 0.5))

    @property
    def gated(self) -> bool:
        return self.gate != "none"

    @property
    def url(self) -> str:
        return f"https://huggingface.co/{self.hub}"

    @property
    def access(self) -> str:
        """How to get the weights, in words."""
        return GATES[self.gate].format(url=self.url)

    def fits_scale(self, mpp: float) -> bool:
        """Return whether images of this µm per pixel look as in its training, give or take 15 %."""
        return any(abs(mpp / scale - 1) <= SCALE_TOLERANCE for scale in self.scales)

    def summary(self) -> dict[str, object]:
        """Return one row of `encoders()`."""
        return {key: getattr(self, key) for key in COLUMNS}


COLUMNS = ("name", "choose", "mpp", "scale_by", "patch_px", "window_px", "dim", "depth", "size_mb", "license",
           "commercial", "gate", "access", "file", "revision", "sha256")  # fmt: skip

# Virchow's MLP: int(1280 * 5.3375) = 6832. SwiGLU by DINOv2's rule: 2 * ((int(4 dim * 2 / 3) + 7) // 8 * 8).
# CONCH v1.5 gets 512 px at 20x scaled to 448 px from its authors, 0.5 * 512 / 448 = 0.571 um/px.
# GigaPath's file is Apache-2.0, but its card rules out any deployed use.
ROWS = (
    Foundation(
        "hibou-b", "histai/hibou-b", "Apache-2.0", 768, 12, 12, 4096, 14,
        swiglu=True, registers=4, no_embed_class=True, normalization=HIBOU,
        scale_by="convention", gate="terms", commercial=True, size_mb=343,
        revision="7fdc8cce365ebfd9e7e60ee6ee9a8d4d59388f3c",
        sha256="2121db3cac83bc9abf13a458a37b0740e2ce725609ff8d4b8e6b6c56c30c3ab6",
        choose="first: small, permissive, needs a login",
    ),
    Foundation(
        "midnight", "kaiko-ai/midnight", "MIT", 1536, 40, 24, 8192, 14,
        swiglu=True, normalization=HALVES, antialias=False,
        scales=(0.25, 0.5, 1.0, 2.0), gate="none", commercial=True, size_mb=4546,
        revision="adc6b15679c981cce6f9b018bbad09d16eeeda9f",
        sha256="52c14f20386ca17c2af8a7bf32c31c352668a8fbf6aefc88d86be6eaa0c72ca1",
        choose="without an account; needs a GPU",
    ),
    Foundation(
        "h-optimus-0", "bioptimus/H-optimus-0", "Apache-2.0", 1536, 40, 24, 8192, 14,
        swiglu=True, registers=4, no_embed_class=True, normalization=BIOPTIMUS,
        gate="terms", commercial=True, file=PICKLE, size_mb=4539,
        revision="b145cc1e6c6b30d3251aa8b1f844e6974188a743",
        sha256="bf47b8467403079798661601b6ab06533be789da48d3f8b510aaefe2fbc55cd3",
        choose="best permissive; needs a GPU",
    ),
    Foundation(
        "h0-mini", "bioptimus/H0-mini", NON_COMMERCIAL, 768, 12, 12, 4096, 14,
        swiglu=True, registers=4, no_embed_class=True, normalization=BIOPTIMUS, size_mb=343,
        revision="5b5cc0505d19ae558270045eb0df8c34df4d9609",
        sha256="5e4de45a6527a8160f7c21fe3105c987757efe30ce581e1f2cf5809476069ade",
        choose="academic: best small one",
    ),
    Foundation(
        "phikon-v2", "owkin/phikon-v2", "Owkin non-commercial", 1024, 24, 16, 4096, 16,
        gate="none", antialias=False, size_mb=1213,
        revision="2ae989a9c40cffaa27f0a6cb29cc94d1d6f9a5fd",
        sha256="261ae680fa699b3b951597fd57aa19c02ef735805acb104b93af69b36d928569",
        choose="academic: without an account",
    ),
    Foundation(
        "uni", "MahmoodLab/UNI", NON_COMMERCIAL, 1024, 24, 16, 4096, 16,
        scale_by="magnification", file=PICKLE, size_mb=1213,
        revision="b55a5ec6cade1a39edfe6534189a9b8ca7a022f0",
        sha256="56ef09b44a25dc5c7eedc55551b3d47bcd17659a7a33837cf9abc9ec4e2ffb40",
    ),
    Foundation(
        "uni2-h", "MahmoodLab/UNI2-h", NON_COMMERCIAL, 1536, 24, 24, 8192, 14,
        swiglu=True, registers=8, no_embed_class=True, scale_by="convention", file=PICKLE, size_mb=2725,
        revision="d517a8dd47902dd7c308b3c36f63bce47e7b9a43",
        sha256="6e077eda234bebc595868d918d3458d9dd32a050199b0ff04443b2f46a0a3b1e",
    ),
    Foundation(
        "virchow", "paige-ai/Virchow", "Apache-2.0", 1280, 32, 16, 6832, 14,
        swiglu=True, commercial=True, size_mb=2525,
        revision="19eebc84ae33e79f1b2d866e6ff90ae50e522f9a",
        sha256="3416891b37a2349a2d9ce7ecf00b64a6277011b41351436c1ceb0abb80805408",
    ),
    Foundation(
        "virchow2", "paige-ai/Virchow2", NON_COMMERCIAL, 1280, 32, 16, 6832, 14,
        swiglu=True, registers=4, scales=(0.25, 0.5, 1.0, 2.0), size_mb=2525,
        revision="3158645804b69e3f3bc4439d4116edddf0840a72",
        sha256="8d6cea947eb2418c3b0dff48cfb9b238e47744ab0dfca21b2b0637b140769b4b",
    ),
    Foundation(
        "h-optimus-1", "bioptimus/H-optimus-1", NON_COMMERCIAL, 1536, 40, 24, 8192, 14,
        swiglu=True, registers=4, no_embed_class=True, normalization=BIOPTIMUS, size_mb=4539,
        revision="3592cb220dec7a150c5d7813fb56e68bd57473b9",
        sha256="c4f1e5b457ddf00679626053b0bf2899be6a19c3a04ad191c87ad1cdfd1abfe1",
    ),
    Foundation(
        "prov-gigapath", "prov-gigapath/prov-gigapath", "Apache-2.0, no deployed use", 1536, 40, 24, 8192, 16,
        swiglu=True, gate="terms", file=PICKLE, size_mb=4540,
        revision="eba85dd46097c3eedfcc2a3a9a930baecb6bcc19",
        sha256="877947214318afa9e011754b74bbc3894a1f480a253afc7bc8045b8321dedd63",
    ),
    Foundation(
        "conch-v1.5", "MahmoodLab/TITAN", NON_COMMERCIAL, 1024, 24, 16, 4096, 16,
        window_px=448, init_values=1.0, scales=(0.571,), scale_by="magnification",
        file="conch_v1_5_pytorch_model.bin", size_mb=1216,
        revision="dac6773d9961cfc75503440676ff157a2c6e8d2e",
        sha256="09daf1912a016512e084636f9c76eee7c42f5c1f09b0461bb76082a3e0fecfa5",
    ),
    Foundation(
        "hibou-l", "histai/hibou-L", "Apache-2.0", 1024, 24, 16, 5472, 14,
        swiglu=True, registers=4, no_embed_class=True, normalization=HIBOU,
        scale_by="convention", gate="terms", commercial=True, size_mb=1215,
        revision="31a3b9fee16554c8552cb643d311733bce8faf7c",
        sha256="a63d1699448143ceccf2b7e1c4bf35b995c51f86ef8a6efb471af2eee210b79c",
    ),
    Foundation(
        "kaiko-b8", "1aurent/vit_base_patch8_224.kaiko_ai_towards_large_pathology_fms", "Kaiko non-commercial",
        768, 12, 12, 3072, 8, init_values=None, normalization=HALVES, scale_by="convention", gate="none", size_mb=343,
    ),
    Foundation(
        "lunit-s8", "1aurent/vit_small_patch8_224.lunit_dino", "Lunit non-commercial", 384, 12, 6, 1536, 8,
        init_values=None, scales=(0.25, 0.5), gate="none", size_mb=87,
        revision="c23bc01cfbe022bc1f2a8a9306125a07818e4eb4",
        sha256="0b7e0236ce430064b31485bbb6f85e661dc5eca0cde709e8f04d59f1c2b23e0b",
    ),
    Foundation(
        "lunit-s16", "1aurent/vit_small_patch16_224.lunit_dino", "Lunit non-commercial", 384, 12, 6, 1536, 16,
        init_values=None, scales=(0.25, 0.5), gate="none", normalization=HALVES, size_mb=87,
        revision="9ed09909d93f9d39a092d8e49717ae48f9b44e6f",
        sha256="a19eb37d6cf038a7e8a34c7e9ec50698d02759b2f49dd799492f6ce7e4cb5937",
    ),
)  # fmt: skip
FOUNDATION = {row.name: row for row in ROWS}

ALIASES = {
    "uni": ("uni-v1",),
    "uni2-h": ("uni2", "uni-v2", "uni2h"),
    "virchow": ("virchow-v1", "virchow1"),
    "virchow2": ("virchow-v2",),
    "h-optimus-0": ("hoptimus0", "h-optimus0"),
    "h-optimus-1": ("hoptimus1", "h-optimus1"),
    "prov-gigapath": ("gigapath",),
    "phikon-v2": ("phikonv2",),
    "conch-v1.5": ("conch-v15", "conchv1.5", "conchv1-5", "conch-v1-5", "conch1-5"),
    "midnight": ("midnight12k", "midnight-12k", "kaiko-midnight"),
    "kaiko-b8": ("kaiko-vitb8",),
    "lunit-s8": ("lunit-vits8", "lunit-dino-s8", "lunit-dino8"),
    "lunit-s16": ("lunit-vits16", "lunit-dino-s16", "lunit-dino"),
}
"""Names in LazySlide, TRIDENT and raw2features; case, and whether words are joined by _ or -, do not matter."""

KNOWN = {name: name for name in FOUNDATION} | {other: name for name, others in ALIASES.items() for other in others}


def viewed_px(row: Foundation, window_px: int) -> int:
    """Return the side at which a ViT sees a window: its own pixels, or 14/16 of them for tokens of 14 px.

    A window of 256 px that is seen at 224 px has tokens of exactly 16 px, a power of two.
    """
    stride = token_stride(row)
    if window_px % LEVELS[-1] or (window_px % row.patch_px and window_px * row.patch_px % stride):
        raise PixnetValueError(
            f"`window_px` of {row.name!r} must be a multiple of {LEVELS[-1]}, its coarsest stride; got {window_px}. "
            f"It was trained on {row.window_px}."
        )
    return window_px if window_px % row.patch_px == 0 else window_px * row.patch_px // stride


def viewed_mpp(row: Foundation, mpp: float, window_px: int | None) -> float:
    """Return the µm per pixel at which a ViT sees images of `mpp`."""
    window_px = window_px or row.window_px
    return mpp * window_px / viewed_px(row, window_px)


def token_stride(row: Foundation) -> int:
    """Return the power of two nearest to the side of a token: every later step stays exact."""
    return 2 ** round(log2(row.patch_px))


def canonical_name(name: str) -> str:
    """Return the name in `encoders()` of a foundation model that other tools call `name`; others unchanged."""
    return KNOWN.get(name.lower().replace("_", "-"), name)


def find_foundation(name: str) -> Foundation:
    """Return the row of a foundation model by any of its names."""
    row = FOUNDATION.get(canonical_name(name))
    if row is None:
        raise PixnetValueError(f"No foundation model {name!r}; there are {sorted(FOUNDATION)}.")
    return row
