"""Measure the structure of the package: sizes, names, docstrings, comments, repetitions.

python docs/_scripts/structure.py            print all figures
python docs/_scripts/structure.py --check    fail where a figure that is a rule is out of its bounds
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "src" / "pixnet_sd"
FILES = sorted(PACKAGE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text()) for path in FILES}
PUBLIC = ("tl", "pp", "pl", "io")
HEADS, DECODERS = {"Head", "RateHead", "LogHead"}, {"Decoder", "SafbDecoder", "PixelDecoder", "Readout"}
KINDS = HEADS | DECODERS | {"Encoder", "Cnn", "Vit", "Windowed", "StainEncoder"}
NO_VERBS = set(
    re.findall(
        r"\S+",
        """
        the this that these those a an all any each every one two some few many most more no none not nothing what
        which who whose where when whether how why as at by for from in into of on over to under with without
        if else only also here its it their they there his numbers values rows columns names genes shapes pixels tiles
        image images n k d s x y µm is are was has whole other another both several positions places weights means
        """,
    )
)
"""Words that docstrings begin with and that are no verbs."""
RULES = {
    "modules at the root": (0, 9),
    "files in the largest folder": (0, 16),
    "files under 30 lines": (0, 0),
    "class names used twice": (0, 0),
    "function names in two modules": (0, 20),
    "one-word function names, %": (0, 15),
    "docstrings that begin with a verb, %": (60, 100),
    "lines with a comment, %": (2, 100),
    "Any in public signatures": (0, 0),
    "isinstance on heads, decoders, encoders": (0, 2),
}


def definitions(kind: type[ast.stmt]) -> Iterator[tuple[Path, ast.stmt]]:
    """Definitions at module level."""
    for path, tree in TREES.items():
        yield from ((path, node) for node in tree.body if isinstance(node, kind))


def short_files() -> list[str]:
    """Files under 30 lines, the heads of folders and commands aside."""
    asked = [path for path in FILES if path.stem not in ("__init__", "__main__") and path.parent.name != "cli"]
    return [str(path.relative_to(PACKAGE)) for path in asked if len(path.read_text().splitlines()) < 30]


def largest_folder() -> int:
    counts: dict[Path, int] = defaultdict(int)
    for path in FILES:
        counts[path.parent] += 1
    return max(counts.values())


def repeated(kind: type[ast.stmt]) -> list[str]:
    """Names that are defined in more than one module; the commands' own three are alike by design."""
    places: dict[str, set[Path]] = defaultdict(set)
    for path, node in definitions(kind):
        places[node.name].add(path)  # type: ignore[attr-defined]
    alike = {"add_arguments", "run"}
    return sorted(name for name, paths in places.items() if len(paths) > 1 and name not in alike)


def one_word_share() -> float:
    names = [node.name for _, node in definitions(ast.FunctionDef)]  # type: ignore[attr-defined]
    return 100 * sum("_" not in name.strip("_") for name in names) / len(names)


def verb_share() -> float:
    """Of all docstrings of functions and methods."""
    docs = [
        doc
        for tree in TREES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and (doc := ast.get_docstring(node))
    ]
    return 100 * sum(map(begins_with_verb, docs)) / len(docs)


def begins_with_verb(doc: str) -> bool:
    """A capital word that is no article, pronoun, preposition or noun of the field, and no third person."""
    first = re.match(r"[A-Z][a-z]+\b", doc)
    return first is not None and first[0].lower() not in NO_VERBS and not re.search(r"(?<!s)s$", first[0])


def comment_share() -> float:
    lines = comments = 0
    for path in FILES:
        text = path.read_text()
        lines += sum(bool(line.strip()) for line in text.splitlines())
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        comments += sum(token.type == tokenize.COMMENT and "noqa" not in token.string for token in tokens)
    return 100 * comments / lines


def public_any() -> list[str]:
    """Public functions whose signature says `Any`."""
    found = []
    for path, node in definitions(ast.FunctionDef):
        assert isinstance(node, ast.FunctionDef)
        folder, stem = path.parent.name, path.stem.removeprefix("_")
        if path.parent.parent == PACKAGE and folder in PUBLIC and node.name == stem:
            arguments = [*node.args.args, *node.args.kwonlyargs]
            annotations = [one for one in (*(a.annotation for a in arguments), node.returns) if one is not None]
            if any(re.search(r"\bAny\b", ast.unparse(one)) for one in annotations):
                found.append(f"{folder}.{stem}")
    return found


def kind_checks() -> int:
    """Calls of `isinstance` with a kind of head, decoder or encoder, outside the file that defines it."""
    count = 0
    for tree in TREES.values():
        own = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "isinstance":
                named = {name.id for name in ast.walk(node.args[1]) if isinstance(name, ast.Name)}
                count += bool(named & (KINDS - own))
    return count


def figures() -> dict[str, tuple[float, str]]:
    """Each figure with what it counts."""
    classes, functions = repeated(ast.ClassDef), repeated(ast.FunctionDef)
    short, anys = short_files(), public_any()
    lines = sum(len(path.read_text().splitlines()) for path in FILES)
    return {
        "lines of code": (lines, ""),
        "modules at the root": (sum(path.parent == PACKAGE for path in FILES), ""),
        "files in the largest folder": (largest_folder(), ""),
        "files under 30 lines": (len(short), " ".join(short)),
        "class names used twice": (len(classes), " ".join(classes)),
        "function names in two modules": (len(functions), " ".join(functions)),
        "one-word function names, %": (one_word_share(), ""),
        "docstrings that begin with a verb, %": (verb_share(), ""),
        "lines with a comment, %": (comment_share(), ""),
        "Any in public signatures": (len(anys), " ".join(anys)),
        "isinstance on heads, decoders, encoders": (kind_checks(), ""),
    }


def main(check: bool) -> int:
    broken = 0
    for name, (value, which) in figures().items():
        low, high = RULES.get(name, (0, float("inf")))
        bad = not low <= value <= high
        broken += bad
        print(f"{name:42} {value:8.1f}  {'OUT OF BOUNDS ' if bad else ''}{which}")
    return int(check and broken > 0)


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv))
