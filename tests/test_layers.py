"""Who may import whom: downward only, and siblings not at all."""

import ast
from pathlib import Path

import pytest

import kiro

SRC = Path(kiro.__file__).parent
FLOORS = [
    {"errors"},
    {"reading", "redaction"},
    {"conversation", "storage"},
    {"protocols", "upstream", "auth"},
    {"accounts"},
    {"relay", "home"},
    {"runtime"},
    {"server", "emulator"},
    {"cli"},
]
FLOOR_OF = {name: number for number, names in enumerate(FLOORS) for name in names}
MODULES = sorted(SRC.rglob("*.py"))


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "kiro":
            names = [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "kiro" else [node.module]
            yield from names
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "kiro")


def room_of(dotted):
    parts = dotted.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in FLOOR_OF else None


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SRC)))
def test_a_module_imports_only_from_its_own_room_or_from_floors_below(path):
    inside = path.relative_to(SRC).with_suffix("").parts
    room = inside[0]
    if room in ("__init__", "__main__"):
        return
    for imported in imports_of(path):
        other = room_of(imported)
        if other is None or other == room:
            continue
        assert FLOOR_OF[other] < FLOOR_OF[room], f"{room} imports {imported}"


def test_dialects_do_not_import_each_other():
    dialects = {folder.name for folder in (SRC / "protocols").iterdir() if (folder / "request.py").exists()}
    for path in MODULES:
        inside = path.relative_to(SRC).parts
        if inside[0] == "protocols" and inside[1] in dialects:
            for imported in imports_of(path):
                for other in dialects - {inside[1]}:
                    assert f"protocols.{other}" not in imported


def test_every_module_opens_with_its_idea():
    silent = [str(path.relative_to(SRC)) for path in MODULES if not ast.get_docstring(ast.parse(path.read_text()))]
    assert silent == []
