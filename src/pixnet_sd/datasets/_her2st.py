"""The HER2+ breast cancer sections as SpatialData."""

from __future__ import annotations

import numpy as np
import pandas as pd
from spatialdata import SpatialData

from pixnet_sd._sdata import build
from pixnet_sd._settings import logger
from pixnet_sd.datasets._her2st_files import SPOT_DIAMETER_UM, MeasuredSection, read_section


def her2st(section: str = "C2") -> SpatialData:
    """Load a HER2-positive breast cancer section: H&E image, 100 µm spots, raw counts.

    Four serial sections of one patient, C2 to C5, measured with the first Spatial Transcriptomics arrays (Andersson et
    al., Nature Communications 12, 6012, 2021; CC BY 4.0). Files are downloaded once, to the folder in the environment
    variable ``PIXNET_SD_DATA_DIR`` or to the user's cache, and their checksums are verified.

    Parameters
    ----------
    section
        ``"C2"``, ``"C3"``, ``"C4"`` or ``"C5"``.

    Returns
    -------
    Object with the image ``"he"``, the circles ``"spots"`` and the table ``"spots_counts"``; coordinate systems in
    pixels (``"global"``) and in µm (``"micrometers"``).

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> sdata = ps.datasets.her2st("C2")  # doctest: +SKIP
    """
    found = read_section(section)
    logger.info(
        "her2st %s: %d spots; %d under tissue have no counts",
        section,
        len(found.spot_ids),
        found.spots_without_counts,
    )
    return make_real_section(found)


def make_real_section(found: MeasuredSection) -> SpatialData:
    """Make the object of a section from its arrays; all elements are in pixels of its image."""
    systems = build.make_transformations({"global": np.eye(3), "micrometers": np.diag([found.mpp, found.mpp, 1.0])})
    spots = pd.Index(found.spot_ids.astype(object))
    genes = pd.DataFrame(index=pd.Index(found.genes.astype(object)))
    elements = {
        "he": build.make_image(found.image(), ["r", "g", "b"], systems, chunks=(3, 1024, 1024), pyramid=True),
        "spots": build.make_circles(found.centers_xy_px, SPOT_DIAMETER_UM / 2 / found.mpp, spots, systems),
        "spots_counts": build.make_table(found.counts, genes, "spots", spots, spatial=found.centers_xy_px * found.mpp),
    }
    return build.make_section(elements, {}, {"he": found.mpp})
