"""Completion scripts for bash, zsh and fish, generated from the commands; nothing is run at a TAB.

Each script walks the words typed so far down the tree of commands to a place (`/accounts/import`), and
offers what that place takes. The files in `completions/` are these scripts; a test keeps them current.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from kiro.errors import KiroError, UsageError

PROGRAMS: Final = ("kiro", "kiro-proxy")
FILES: Final = {"bash": "kiro.bash", "zsh": "_kiro", "fish": "kiro.fish"}
"""Shell and the name its script has in `completions/`."""


class Place(msgspec.Struct, frozen=True):
    """A command: `commands` below it, `options` it takes, `values` of its arguments; each with its help."""

    path: str
    commands: tuple[tuple[str, str], ...]
    options: tuple[tuple[str, str], ...]
    values: tuple[tuple[str, str], ...] = ()


def script(shell: str) -> str:
    """The completion script of a shell. Raises UsageError for a shell there is none for."""
    match shell:
        case "bash":
            return _bash(places())
        case "zsh":
            return _zsh(places())
        case "fish":
            return _fish(places())
        case _:
            raise UsageError(f"There is no completion for {shell!r}.", hint=f"There is one for {', '.join(FILES)}.")


def install() -> str:
    """Write the script of the person's shell where that shell looks for it; what was done, in words."""
    shell = Path(os.environ.get("SHELL", "")).name
    if shell not in FILES:
        raise UsageError(
            f"Your shell ({shell or 'SHELL is not set'}) is none of {', '.join(FILES)}.",
            hint="`kiro --show-completion SHELL` prints a script to install by hand.",
        )
    home = Path.home()
    data, settings = (Path(os.environ.get(name) or home / rest) for name, rest in _FOLDERS)
    folder = {
        "bash": data / "bash-completion" / "completions",
        "zsh": home / ".zfunc",
        "fish": settings / "fish" / "completions",
    }[shell]
    path = folder / ("kiro" if shell == "bash" else FILES[shell])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(script(shell), "utf-8")
    except OSError as error:
        raise KiroError(f"{path} cannot be written: {error.strerror}.") from error
    extra = "" if shell != "zsh" else "\nAdd this to ~/.zshrc, before compinit: fpath=(~/.zfunc $fpath)"
    return f"{path} is written; it works in the next shell.{extra}"


_FOLDERS: Final = (("XDG_DATA_HOME", ".local/share"), ("XDG_CONFIG_HOME", ".config"))


def places() -> list[Place]:
    """Every command with what can follow it."""
    from kiro.cli.table import COMMANDS, root

    command = root()
    helps = {name: row.help for name, row in COMMANDS.items()}
    top = Place("", tuple(helps.items()), _options(command))
    return [top, *(place for name in COMMANDS for place in _below(command.get_command(None, name), f"/{name}"))]


def _below(command: Any, path: str) -> Iterator[Place]:
    children: dict[str, Any] = getattr(command, "commands", {})
    told = tuple((name, child.get_short_help_str(100)) for name, child in children.items())
    yield Place(path, told, _options(command), _values(path))
    for name, child in children.items():
        yield from _below(child, f"{path}/{name}")


def _options(command: Any) -> tuple[tuple[str, str], ...]:
    options = [param for param in command.params if param.param_type_name == "option" and not param.hidden]
    told = [(word, option.help or "") for option in options for word in option.opts]
    return (*told, ("--help", "Show this help."))


def _values(path: str) -> tuple[tuple[str, str], ...]:
    if path in ("/config/get", "/config/set", "/config/unset"):
        from kiro.storage.setting_rows import SETTINGS

        return tuple((setting.key, setting.help) for setting in SETTINGS)
    if path == "/login/remote":
        from kiro.cli.login import WAYS

        return tuple(WAYS.items())
    return ()


def _words(place: Place) -> tuple[tuple[str, str], ...]:
    return (*place.commands, *place.values)


def _inner(tree: list[Place]) -> list[str]:
    return [place.path for place in tree if place.path]


def _bash(tree: list[Place]) -> str:
    cases = "\n".join(
        f'        "{place.path}") offered="{" ".join(word for word, _ in (*_words(place), *place.options))}" ;;'
        for place in tree
    )
    return f"""# Completion of kiro for bash. Generated: `kiro --show-completion bash`.

_kiro() {{
    local current="${{COMP_WORDS[COMP_CWORD]}}" place="" offered="" i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case "$place/${{COMP_WORDS[i]}}" in
            {"|".join(_inner(tree))})
                place="$place/${{COMP_WORDS[i]}}" ;;
        esac
    done
    case "$place" in
{cases}
    esac
    COMPREPLY=($(compgen -W "$offered" -- "$current"))
}}

complete -o default -F _kiro {" ".join(PROGRAMS)}
"""


def _zsh(tree: list[Place]) -> str:
    cases = "\n".join(
        f"    ('{place.path}')\n"
        f"        offered=({_zsh_words(_words(place))})\n"
        f"        options=({_zsh_words(place.options)}) ;;"
        for place in tree
    )
    return f"""#compdef {" ".join(PROGRAMS)}
# Completion of kiro for zsh. Generated: `kiro --show-completion zsh`.

local place="" word
local -a offered options
for word in ${{words[2,CURRENT-1]}}; do
    case "$place/$word" in
        ({"|".join(_inner(tree))})
            place="$place/$word" ;;
    esac
done
case "$place" in
{cases}
esac
if [[ "$PREFIX" == -* ]]; then
    _describe -o 'option' options
elif (( $#offered )); then
    _describe 'kiro' offered
else
    _files
fi
"""


def _zsh_words(words: tuple[tuple[str, str], ...]) -> str:
    return " ".join(_quoted(f"{word.replace(':', chr(92) + ':')}:{text}") for word, text in words)


def _fish(tree: list[Place]) -> str:
    lines: list[str] = []
    for place in tree:
        condition = f"complete -c kiro -n '__kiro_at \"{place.path}\"'"
        lines += [f"{condition} -f -a {word} -d {_quoted(text)}" for word, text in _words(place)]
        for word, text in place.options:
            switch = f"-l {word[2:]}" if word.startswith("--") else f"-s {word[1:]}"
            lines.append(f"{condition} {switch} -d {_quoted(text)}")
    return f"""# Completion of kiro for fish. Generated: `kiro --show-completion fish`.

function __kiro_at
    set -l place ""
    for word in (commandline -opc)[2..-1]
        switch "$place/$word"
            case {" ".join(_inner(tree))}
                set place "$place/$word"
        end
    end
    test "$place" = "$argv[1]"
end

{chr(10).join(lines)}
complete -c kiro-proxy -w kiro
"""


def _quoted(text: str) -> str:
    """Single quotes as zsh and fish both read them: a quote inside closes, is escaped, and opens again."""
    return "'" + text.replace("'", "'\\''") + "'"
