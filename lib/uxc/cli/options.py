"""The words of a command line, told apart by a table: argparse takes 10 ms to import.

Options may stand anywhere, as ``--signal 9``, ``--signal=9``, ``-s 9`` or ``-s9``; ``--`` ends
them. A wrong word is a ``UsageError`` that says what is right.
"""

from uxc.errors import InvalidError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


# No word of a command line can hold it (execve(2)).
_BETWEEN_WORDS = "\0"


class UsageError(InvalidError):
    """The command line itself is wrong; the program ends with exit code 2."""


class Option:
    """One option: its names (the long one first), the word for its value, and a line of help."""

    __slots__ = ("help", "metavar", "names")

    def __init__(self, names: str, metavar: str, help: str) -> None:
        """``names`` is like ``--signal -s``; ``metavar`` is empty for a flag."""
        self.names = names.split()
        self.metavar = metavar
        self.help = help

    @property
    def key(self) -> str:
        """The name under which ``Arguments`` has it."""
        return self.names[0].lstrip("-").replace("-", "_")


class Operand:
    """One word that is no option, by its place; ``optional`` ones come last.

    A ``repeated`` one, at the very end, takes all words that are left.
    """

    __slots__ = ("help", "name", "optional", "repeated")

    def __init__(
        self, name: str, help: str, optional: bool = False, repeated: bool = False
    ) -> None:
        """``name`` is as the usage line shows it, in capitals."""
        self.name = name
        self.help = help
        self.optional = optional
        self.repeated = repeated

    @property
    def usage(self) -> str:
        """The operand in a usage line."""
        name = self.name + "…" if self.repeated else self.name
        return f"[{name}]" if self.optional else name

    @property
    def key(self) -> str:
        """The name under which ``Arguments`` has it."""
        return self.name.lower()


class Arguments:
    """What was given on the command line."""

    __slots__ = ("_values",)

    def __init__(self, values: "dict[str, str]") -> None:
        """Keep ``values``; a flag that was given has the value ``""``."""
        self._values = values

    def given(self, key: str) -> bool:
        """Whether the option or operand ``key`` was there."""
        return key in self._values

    def text(self, key: str, default: str = "") -> str:
        """Return the value of ``key``, or ``default``."""
        return self._values.get(key, default)

    def words(self, key: str) -> "list[str]":
        """Return all words of the repeated operand ``key``."""
        return self._values[key].split(_BETWEEN_WORDS) if key in self._values else []


HELP = Option("--help -h", "", "show this text")


class Syntax:
    """What one command takes."""

    __slots__ = ("command", "description", "operands", "options", "summary")

    def __init__(
        self,
        command: str,
        summary: str,
        operands: "tuple[Operand, ...]" = (),
        options: "tuple[Option, ...]" = (),
        description: str = "",
    ) -> None:
        """``summary`` is one line for the list of commands; ``description`` says more."""
        self.command = command
        self.summary = summary
        self.operands = operands
        self.options = (*options, HELP)
        self.description = description

    def usage(self) -> str:
        """Return the usage line."""
        words = [self.command]
        words += (entry.usage for entry in self.operands)
        if len(self.options) > 1:
            words.append("[OPTION…]")
        return "uxc " + " ".join(words)

    def help_text(self) -> str:
        """Return what ``uxc COMMAND --help`` prints."""
        lines = [f"usage: {self.usage()}", "", self.summary]
        if self.description:
            lines += ["", self.description]
        rows = [(entry.name, entry.help) for entry in self.operands]
        rows += ((_spelling(entry), entry.help) for entry in self.options)
        width = max(len(left) for left, _ in rows)
        lines += ["", *(f"  {left.ljust(width)}  {right}" for left, right in rows)]
        return "\n".join(lines) + "\n"

    def parse(self, words: "list[str]") -> Arguments:
        """Tell ``words`` (after the command) apart; raise UsageError when they do not fit."""
        values: dict[str, str] = {}
        plain: list[str] = []
        at = 0
        while at < len(words):
            word = words[at]
            at += 1
            if word == "--":
                plain += words[at:]
                break
            if not word.startswith("-") or word == "-":
                plain.append(word)
                continue
            option, value = self._option(word)
            if option.metavar and value is None:
                if at == len(words):
                    self._wrong(f"option '{word}' needs a value: {option.metavar}")
                value = words[at]
                at += 1
            if option.key in values:
                self._wrong(f"option '{option.names[0]}' is given twice")
            values[option.key] = value or ""
        if "help" not in values:
            self._place(plain, values)
        return Arguments(values)

    def _option(self, word: str) -> "tuple[Option, str | None]":
        name, value = word, None
        if word.startswith("--"):
            name, equals, text = word.partition("=")
            value = text if equals else None
        elif len(word) > 2:
            name, value = word[:2], word[2:]
        for option in self.options:
            if name in option.names:
                if value is not None and not option.metavar:
                    self._wrong(f"option '{name}' takes no value")
                return option, value
        known = [known for option in self.options for known in option.names]
        self._wrong(f"unknown option '{name}'{_suggestion(name, known)}")

    def _place(self, plain: "list[str]", values: "dict[str, str]") -> None:
        last = len(self.operands) - 1
        if last >= 0 and self.operands[last].repeated and len(plain) > last:
            plain = [*plain[:last], _BETWEEN_WORDS.join(plain[last:])]
        for entry, word in zip(self.operands, plain, strict=False):
            if entry.key in values:
                self._wrong(f"{entry.name} is given twice")
            values[entry.key] = word
        for entry in self.operands[len(plain) :]:
            if not entry.optional:
                self._wrong(f"{entry.name} is missing")
        if len(plain) > len(self.operands):
            self._wrong(f"too many words: '{plain[len(self.operands)]}'")

    def _wrong(self, message: str) -> "NoReturn":
        raise UsageError(f"{self.command}: {message}", f"usage: {self.usage()}")


def _spelling(option: Option) -> str:
    text = ", ".join(reversed(option.names))
    return f"{text} {option.metavar}" if option.metavar else text


def _suggestion(word: str, known: "list[str]") -> str:
    # Only on the way out with an error, so the cost of the import does not matter.
    import difflib

    close = difflib.get_close_matches(word, known, 1)
    return f" (did you mean '{close[0]}'?)" if close else ""


def suggest(word: str, known: "list[str]") -> str:
    """Return `` (did you mean '…'?)`` for a mistyped ``word``, or nothing."""
    return _suggestion(word, known)
