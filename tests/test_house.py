"""The house: arrows of imports point one way, rooms are small, modules fit in the head."""

import ast

from helpers.cache import ROOT

PACKAGE = ROOT / "helpers"
# From the ground up: a module imports from its own floor's room or from floors below it.
FLOORS = [
    ("device", "cache", "metrics", "plots", "progress"),
    ("datasets",),
    ("models",),
    ("readout",),
    ("training",),
    ("experiments",),
    ("analyses",),
    ("encoding",),
    ("notebook", "explore"),
    ("report",),
    ("__main__",),
]
FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}
TABLES = {"objects.py"}  # solids as data, as long as they are many
MODULES = sorted(PACKAGE.rglob("*.py"))


def imported(path):
    """Dotted names below `helpers` that a module imports anywhere, as tuples of parts."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "helpers":
            parts = tuple(node.module.split(".")[1:])
            for alias in node.names:
                there = PACKAGE.joinpath(*parts, alias.name)
                is_module = there.is_dir() or there.with_suffix(".py").exists()
                yield (*parts, alias.name) if is_module else parts


def name_of(path):
    return tuple(part for part in path.relative_to(PACKAGE).with_suffix("").parts if part != "__init__")


def test_arrows_point_down():
    up = [
        f"{'.'.join(here)} -> {'.'.join(there)}"
        for here in map(name_of, MODULES)
        if here
        for there in imported(next(p for p in MODULES if name_of(p) == here))
        if there and there[0] != here[0] and FLOOR[there[0]] >= FLOOR[here[0]] > 0
    ]
    assert not up


def test_no_circle():
    """Modules that import each other when they are loaded, or later inside a function."""
    arrows = {name_of(path): {there for there in imported(path) if there} - {name_of(path)} for path in MODULES}
    done = set()
    while ready := [module for module in arrows if module not in done and arrows[module] & set(arrows) <= done]:
        done |= set(ready)
    circle = [module for module in set(arrows) - done if module not in {(room,) for room in FLOOR}]
    assert not circle, f"modules in a circle, or above one: {circle}"


def test_rooms_are_small():
    names = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert len(names) <= 17 and names - {"__init__"} == {
        room for room in FLOOR if (PACKAGE / room).exists() or (PACKAGE / f"{room}.py").exists()
    }
    for room in (path.parent for path in PACKAGE.rglob("__init__.py") if path.parent != PACKAGE):
        assert len([path for path in room.glob("*.py") if path.stem != "__init__"]) <= 7, room


def test_modules_and_functions_fit_in_the_head():
    long = [
        str(path)
        for path in MODULES
        if path.name not in TABLES and len(path.read_text(encoding="utf-8").splitlines()) > 260
    ]
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno > 60 and path.name not in TABLES:
                long.append(f"{path}:{node.name}")
    assert not [name for name in long if not name.endswith(LISTS)]


LISTS = ("__main__.py:parser",)  # functions that read as a list
