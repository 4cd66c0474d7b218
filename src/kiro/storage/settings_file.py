"""Changes to config.toml that leave comments, order and unknown keys as they are."""

from pathlib import Path
from typing import TYPE_CHECKING

from kiro.errors import UsageError
from kiro.storage.files import write_private
from kiro.storage.setting_kinds import Value
from kiro.storage.settings import broken_file, known

if TYPE_CHECKING:
    from tomlkit import TOMLDocument


def set_value(path: Path, key: str, value: Value) -> None:
    """Write one setting, already checked (`settings.parse_text`). `None` removes it. The file is replaced as a whole."""
    if value is None:
        unset_value(path, key)
        return
    import tomlkit

    section, _, name = known(key).key.partition(".")
    document = _read(path)
    if section not in document:
        document[section] = tomlkit.table()
    document[section][name] = list(value) if isinstance(value, tuple) else value
    _write(path, document)


def unset_value(path: Path, key: str) -> bool:
    """Remove one setting, so that the default rules again. False when it was not there."""
    section, _, name = known(key).key.partition(".")
    document = _read(path)
    table = document.get(section)
    if not isinstance(table, dict) or name not in table:
        return False
    del table[name]
    if not table:
        del document[section]
    _write(path, document)
    return True


def _read(path: Path) -> "TOMLDocument":
    import tomlkit
    from tomlkit.exceptions import ParseError

    try:
        return tomlkit.parse(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        return tomlkit.document()
    except ParseError as error:
        raise broken_file(path, error) from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}.") from error


def _write(path: Path, document: "TOMLDocument") -> None:
    """A linked config.toml (dot files kept in a repository) is followed: it holds no secrets."""
    import tomlkit

    write_private(path.resolve() if path.is_symlink() else path, tomlkit.dumps(document).encode())
