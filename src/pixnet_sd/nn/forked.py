"""Torch in a process that was forked from one that had used it. Torch only."""

from __future__ import annotations

import os

import torch

from pixnet_sd._log import logger

LOADED_IN = os.getpid()
"""The process that loaded this file; another one is a fork of it."""


def one_thread_after_fork() -> None:
    """In a forked process, compute with one thread: torch would wait forever for the others, which it lacks."""
    if os.getpid() != LOADED_IN and (threads := torch.get_num_threads()) > 1:
        logger.warning(
            "this process was forked from one that had loaded torch, whose %d threads a fork does not have: computing "
            "with one. Processes started by 'spawn' or 'forkserver' use all",
            threads,
        )
        torch.set_num_threads(1)
