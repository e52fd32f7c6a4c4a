"""``tquic completion``: scripts for shells, made from the parsers."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tquic.cli import parser as grammar

Kind = Literal["flag", "value", "file", "folder", "choice"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("shell", choices=tuple(SHELLS), help="the shell")
    parser.epilog = (
        "to load it:\n"
        "  bash  source <(tquic completion bash)\n"
        "  zsh   tquic completion zsh > ~/.zfunc/_tquic   (a folder of $fpath)\n"
        "  fish  tquic completion fish > ~/.config/fish/completions/tquic.fish"
    )


def run(options: argparse.Namespace) -> int:
    """Prints the script."""
    print(SHELLS[options.shell](list(commands())), end="")
    return 0


@dataclass(frozen=True)
class Option:
    """An option, or an argument if it has no names."""

    names: tuple[str, ...]
    kind: Kind
    choices: tuple[str, ...]
    metavar: str
    help: str


@dataclass(frozen=True)
class Command:
    """A command, or one of its roles: `("perf", "client")`."""

    path: tuple[str, ...]
    summary: str
    roles: tuple[str, ...]
    options: tuple[Option, ...]

    @property
    def arguments(self) -> list[Option]:
        """What has no name."""
        return [option for option in self.options if not option.names]

    @property
    def named(self) -> list[Option]:
        """What has."""
        return [option for option in self.options if option.names]


def commands() -> Iterator[Command]:
    """All there are; `tquic` itself first, with an empty path."""
    from tquic.cli import COMMANDS

    top, _ = grammar.make(COMMANDS)
    yield Command((), "", tuple(COMMANDS), _options(top))
    for name, parser in grammar.complete(COMMANDS).items():
        roles = parser.roles()
        yield Command((name,), COMMANDS[name], tuple(roles), _options(parser))
        for role, below in roles.items():
            yield Command((name, role), below.description or "", (), _options(below))


def _options(parser: grammar.Parser) -> tuple[Option, ...]:
    return tuple(_option(action, parser) for action in parser.actions())


def _option(action: argparse.Action, parser: grammar.Parser) -> Option:
    metavar = str(action.metavar or action.dest).replace("|", " or ")
    text = (action.help or "") % {**vars(action), "prog": parser.prog}
    choices = tuple(map(str, action.choices or ()))
    kind: Kind = "value"
    if action.nargs == 0:
        kind = "flag"
    elif choices:
        kind = "choice"
    elif "FILE" in metavar or (action.type is Path and "DIR" not in metavar):
        kind = "file"
    elif "DIR" in metavar:
        kind = "folder"
    return Option(tuple(action.option_strings), kind, choices, metavar, text)


def _quote(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def bash(found: list[Command]) -> str:
    """For bash 3.2 and newer."""
    steps, values, options, arguments = [], [], [], []
    for command in found:
        path = " ".join(command.path)
        for role in command.roles:
            steps.append(f"            '{path}:{role}') path='{(path + ' ' + role).strip()}' ;;")
        for option in command.named:
            if option.kind != "flag":
                names = "|".join(f"'{path}:{name}'" for name in option.names)
                values.append(f"        {names}) {_bash_reply(option)}; return ;;")
        words = " ".join(name for option in command.named for name in option.names)
        options.append(f"            '{path}') words='{words}' ;;")
        if command.roles:
            reply = f"_tquic_words '{' '.join(command.roles)}'"
        elif command.arguments:
            reply = _bash_reply(command.arguments[0])
        else:
            continue
        arguments.append(f"        '{path}') {reply} ;;")
    lines = "\n".join
    return f"""\
# bash completion for tquic, made by `tquic completion bash`.

_tquic_words() {{
    COMPREPLY=($(compgen -W "$1" -- "$cur"))
}}

_tquic_files() {{
    local IFS=$'\\n'
    compopt -o filenames 2>/dev/null
    COMPREPLY=($(compgen "$1" -- "$cur"))
}}

_tquic() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} path='' words='' i
    COMPREPLY=()
    # bash takes --option=value for three words.
    if [[ $cur == '=' ]]; then
        cur=''
    elif [[ $prev == '=' ]]; then
        prev=${{COMP_WORDS[COMP_CWORD-2]}}
    fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        case "$path:${{COMP_WORDS[i]}}" in
{lines(steps)}
        esac
    done
    case "$path:$prev" in
{lines(values)}
    esac
    if [[ $cur == -* ]]; then
        case "$path" in
{lines(options)}
        esac
        _tquic_words "$words"
        return
    fi
    case "$path" in
{lines(arguments)}
    esac
}}

complete -F _tquic tquic
"""


def _bash_reply(option: Option) -> str:
    match option.kind:
        case "choice":
            return f"_tquic_words '{' '.join(option.choices)}'"
        case "file":
            return "_tquic_files -f"
        case "folder":
            return "_tquic_files -d"
        case _:
            # Nothing to offer.
            return ":"


def zsh(found: list[Command]) -> str:
    """As an autoloaded function."""
    functions = []
    for command in found:
        name = "_".join(("_tquic", *command.path))
        specs = [_zsh_option(option) for option in command.named]
        if command.roles:
            summaries = {each.path: each.summary for each in found}
            roles = " ".join(
                f"{role}\\:{_zsh_text(summaries[(*command.path, role)], spaces=True)}"
                for role in command.roles
            )
            specs += [_quote(f"1:command:(({roles}))"), "'*::argument:->rest'"]
            cases = "\n".join(f"        {role}) {name}_{role} ;;" for role in command.roles)
            end = f"    [[ $state == rest ]] || return\n    case $line[1] in\n{cases}\n    esac\n"
        else:
            specs += [
                _quote(f"*:{_zsh_text(each.metavar)}:{_zsh_action(each)}")
                for each in command.arguments
            ]
            end = ""
        lines = " \\\n        ".join(["_arguments -C", *specs])
        functions.append(
            f"{name}() {{\n    local state line\n    typeset -A opt_args\n    {lines}\n{end}}}\n"
        )
    body = "\n".join(functions)
    return f"""\
#compdef tquic
# zsh completion for tquic, made by `tquic completion zsh`.

{body}
if [[ $funcstack[1] == _tquic ]]; then
    _tquic "$@"
else
    compdef _tquic tquic
fi
"""


def _zsh_text(text: str, *, spaces: bool = False) -> str:
    for letter in "\\[]:()" + (" '\"|&;<>`$" if spaces else ""):
        text = text.replace(letter, "\\" + letter)
    return text


def _zsh_option(option: Option) -> str:
    value = "" if option.kind == "flag" else f":{_zsh_text(option.metavar)}:{_zsh_action(option)}"
    help_text = _zsh_text(option.help)
    # Any number of times: some may be repeated, and the command says so where not.
    return " ".join(_quote(f"*{name}[{help_text}]{value}") for name in option.names)


def _zsh_action(option: Option) -> str:
    match option.kind:
        case "choice":
            return f"({' '.join(option.choices)})"
        case "file":
            return "_files"
        case "folder":
            return "_files -/"
        case _:
            return " "


def fish(found: list[Command]) -> str:
    """For fish 3 and newer."""
    summaries = {each.path: each.summary for each in found}
    lines = [
        "# fish completion for tquic, made by `tquic completion fish`.",
        "complete -c tquic -f",
    ]
    for command in found:
        seen = [f"__fish_seen_subcommand_from {name}" for name in command.path]
        here = "; and ".join(seen)
        nothing_yet = " ".join(
            ["not __fish_seen_subcommand_from", *command.roles] if command.roles else []
        )
        condition = "; and ".join(filter(None, [here, nothing_yet]))
        start = f"complete -c tquic -n {_quote(condition)}" if condition else "complete -c tquic"
        for role in command.roles:
            summary = summaries[(*command.path, role)]
            lines.append(f"{start} -a {role} -d {_quote(summary)}")
        for option in command.named:
            flags = " ".join(
                f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
                for name in option.names
            )
            lines.append(f"{start} {flags}{_fish_value(option)} -d {_quote(option.help)}")
        for option in command.arguments:
            if option.kind in ("file", "folder"):
                lines.append(f"{start} -F")
            elif option.choices:
                lines.append(f"{start} -a {_quote(' '.join(option.choices))}")
    return "\n".join(lines) + "\n"


def _fish_value(option: Option) -> str:
    match option.kind:
        case "flag":
            return ""
        case "choice":
            return f" -x -a {_quote(' '.join(option.choices))}"
        case "file" | "folder":
            return " -r -F"
        case _:
            return " -x"


SHELLS: dict[str, Callable[[list[Command]], str]] = {"bash": bash, "zsh": zsh, "fish": fish}
