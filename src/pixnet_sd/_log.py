"""The package's logger: results are announced on it, once each, as scanpy users expect."""

import logging

logger = logging.getLogger("pixnet_sd")

if not logger.handlers:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
