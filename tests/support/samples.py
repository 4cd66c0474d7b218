"""The described samples of sign-in files: laid out on a disk, and what in them is secret."""

import json
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

CASES = Path(__file__).parents[1] / "cases" / "auth"
SAMPLES: list[dict[str, Any]] = json.loads((CASES / "index.json").read_text())["cases"]
_SHAPED = re.compile(r"ao[ar][\w+/=:.\-]{8,}|ksk_[\w\-]+|FAKE-[\w\-]*SECRET[\w\-]*|eyJ[\w\-.]{8,}")
_TELLING = re.compile(r"token$|secret$|apikey|password|cookie")


def lay_out(case: dict[str, Any], target: Path) -> Path:
    """The sample's main file at `target`, private, with the files that belong to it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    source = CASES / case["path"]
    if case.get("read_as") == "sqlite":
        with closing(sqlite3.connect(target)) as connection:
            connection.executescript(source.read_text())
    else:
        shutil.copyfile(source, target)
    for sibling in case.get("siblings", ()):
        shutil.copyfile(CASES / sibling, target.with_name(Path(sibling).name))
    for file in target.parent.iterdir():
        file.chmod(0o600)
    return target


def secrets_in(case: dict[str, Any]) -> set[str]:
    """Every secret of a sample and its siblings, by shape and by the name it stands under."""
    found: set[str] = set()
    for path in (case["path"], *case.get("siblings", ())):
        text = (CASES / path).read_bytes().replace(b"\0", b"").decode("utf-8", "replace")
        found |= set(_SHAPED.findall(text))
        if case["format"] in ("unsupported-lines", "refresh-token-line", "api-key-lines"):
            found |= {word for line in text.splitlines() for word in line.split("----") if len(word) >= 8}
        try:
            _walk(json.loads(text), "", found)
        except ValueError:
            continue
    return found


def _walk(value: Any, name: str, found: set[str]) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _walk(item, key.lower().replace("_", ""), found)
    elif isinstance(value, list):
        for item in value:
            _walk(item, name, found)
    elif isinstance(value, str) and len(value) >= 6 and _TELLING.search(name) and not value.startswith("http"):
        found.add(value)
