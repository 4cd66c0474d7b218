"""The README tells everything there is: commands, settings, dependencies."""

import re
import tomllib
from pathlib import Path

import pytest

from kiro.cli.completions import places
from kiro.storage.setting_rows import SETTINGS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
LEAVES = [place for place in places() if place.path and not place.commands]


@pytest.mark.parametrize("place", LEAVES, ids=lambda place: place.path)
def test_every_command_is_in_the_readme_with_its_options(place):
    command = f"kiro{place.path.replace('/', ' ')}"
    rows = [line for line in README.splitlines() if line.startswith((f"| `{command} ", f"| `{command}`"))]
    assert len(rows) == 1
    for option, _ in place.options:
        assert option in rows[0] or option in ("--help", "--json", "-y") or len(option) == 2


def row(setting):
    default = setting.shown(setting.default)
    value = f"`{default}`" + (f" {setting.unit}" if setting.unit else "") if default else ""
    return f"| `{setting.key}` | {value} | {setting.help}{'' if setting.hot else ' *Restart.*'} |"


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.key)
def test_every_setting_is_in_the_readme_as_it_is(setting):
    assert row(setting) in README


def test_no_setting_is_in_the_readme_that_is_none():
    section = README.partition("## Settings")[2].partition("\n## ")[0]
    told = re.findall(r"^\| `([a-z]+\.[a-z_]+)` \|", section, re.MULTILINE)
    assert told == [setting.key for setting in SETTINGS]


@pytest.mark.parametrize("requirement", PROJECT["dependencies"])
def test_every_dependency_is_in_the_readme_with_a_reason(requirement):
    name = re.match(r"[\w.-]+", requirement).group()
    assert re.search(rf"^\| `{re.escape(name)}` \| \w", README, re.MULTILINE)


PROMISES = (
    "python3 -m venv .venv && .venv/bin/pip install -q . && .venv/bin/kiro demo",
    "python3 -m venv .venv && .venv/bin/pip install -q -U pip && .venv/bin/pip install -q -e . --group dev && .venv/bin/pytest",
    "not affiliated with Amazon, AWS or Kiro",
    "No telemetry",
)


@pytest.mark.parametrize("text", PROMISES)
def test_what_the_readme_has_to_say(text):
    assert text in README
