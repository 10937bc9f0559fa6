"""How long the searches for bad inputs go on: short in every run of the suite, long by `nox -s fuzz`."""

import os

from hypothesis import HealthCheck, Phase, settings

COMMON: dict = {"deadline": None, "suppress_health_check": list(HealthCheck)}

settings.register_profile("quick", max_examples=20, derandomize=True, stateful_step_count=6, **COMMON)
settings.register_profile("long", max_examples=1000, derandomize=False, stateful_step_count=20, **COMMON)

PROFILE = settings.get_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
"""A decorator for every search in this folder."""


def times(share: float) -> settings:
    """The profile with more examples where they are cheap, or fewer where they are dear."""
    return settings(PROFILE, max_examples=max(1, round(share * PROFILE.max_examples)))


UNSHRUNK = [phase for phase in Phase if phase not in (Phase.shrink, Phase.explain)]
"""For searches whose single steps take seconds: steps that fail are told as they are, not after hours."""
