"""The workflows call commands that the command line has, with options that it knows."""

import re
import shlex
from pathlib import Path

import pytest

from pixnet_sd.cli import build_parser

WORKFLOWS = Path(__file__).parents[2] / "workflows"
FILES = ("Snakefile", "main.nf", "slurm.sh")
FILLED_IN = re.compile(r"\$\{[^}]*\}|\{[^}]*\}|\$\w+")
LONGEST = 80


@pytest.mark.parametrize("name", FILES)
def test_its_commands_are_those_of_the_command_line(name: str) -> None:
    lines = (WORKFLOWS / name).read_text().splitlines()
    assert len(lines) <= LONGEST
    commands = [match[0] for line in lines if (match := re.search(r'pixnet-sd run [^\n]*?(?=(?<=\d)"?$)', line))]
    assert len(commands) == 1
    arguments = shlex.split(FILLED_IN.sub("x", commands[0]))[1:]
    asked = build_parser().parse_args(arguments)
    assert asked.model == "x"
    assert asked.nuclei and asked.expand_um == 5
