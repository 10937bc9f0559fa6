"""The real section that is in the package."""

from __future__ import annotations

from spatialdata import SpatialData

from pixnet_sd.datasets._her2st import make_real_section
from pixnet_sd.datasets._her2st_files import read_breast


def breast() -> SpatialData:
    """Load the bundled section of a HER2-positive breast cancer: H&E image, 98 spots of 100 µm, raw counts.

    3.0 x 2.0 mm of section C5 of :func:`her2st`, with invasive cancer, fat, stroma and lymphocytes. It is part of the
    package, so nothing is downloaded.

    Data: Andersson et al., Nature Communications 12, 6012 (2021), https://github.com/almaan/her2st, `CC BY 4.0
    <https://creativecommons.org/licenses/by/4.0/>`_; cropped, and the image compressed again.

    Returns
    -------
    Object with the image ``"he"`` (4352 x 2896 px, 0.69 µm per pixel), the circles ``"spots"`` and the table
    ``"spots_counts"`` (15,721 genes); coordinate systems in pixels (``"global"``) and in µm (``"micrometers"``).

    See Also
    --------
    her2st : Four whole sections of that patient; downloaded.
    toy : Synthetic sections of any size, with known truth.

    Examples
    --------
    >>> import pixnet_sd as ps
    >>> section = ps.datasets.breast()
    >>> section["spots_counts"].shape
    (98, 15721)
    """
    return make_real_section(read_breast())
