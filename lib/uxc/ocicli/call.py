"""One call of ``uxc-runtime``: what was typed, the places it means, and whom to tell.

The command line is that of runc, and of crun where it differs. Each command's module says which
options it has; nothing here knows them.
"""

import posix

from uxc.errors import InvalidError, UxcError, system_failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from uxc.paths import Paths

NAME = "uxc-runtime"

# Option → how it takes its value: a word, several of them, a number, or a flag that needs none.
WORD, WORDS, NUMBER, FLAG = "word", "words", "number", "flag"
# As the most operands of a command: any number, and no option is looked for behind the first.
REST = -1

_GLOBAL = {
    "root": WORD,
    "log": WORD,
    "log-format": WORD,
    "log-level": WORD,
    "debug": FLAG,
    "systemd-cgroup": FLAG,
    "cgroup-manager": WORD,
    "rootless": WORD,
    "criu": WORD,
    "version": FLAG,
    "help": FLAG,
}
_GLOBAL_SHORT = {"v": "version", "V": "version", "h": "help", "?": "help"}
_SHORT = {"h": "help", "?": "help"}
_ROOTLESS = ("auto", "true", "false")
_LEVELS = ("debug", "info", "warning", "error")
_MANAGERS = ("cgroupfs", "systemd", "disabled")
# As many digits as 2^64 has; int(3) reads thousands, and then gives up.
_LONGEST_NUMBER = 20
_SEE = f"{NAME} --help lists them"


def is_number(text: str) -> bool:
    """Tell whether ``text`` is a number from 0 up, as counts and sizes on a command line are."""
    return text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER


class UsageError(UxcError):
    """The command line is wrong; runc answers 1 to that, as to everything else."""

    kind = "invalid"


class Call:
    """The words of one command line, told apart, and the log that it asks for."""

    __slots__ = ("_log", "_paths", "globals", "lists", "operands", "options")

    def __init__(self) -> None:
        """Begin with nothing typed."""
        self.globals: dict[str, str] = {}
        self.options: dict[str, str] = {}
        # The values of options that may come several times.
        self.lists: dict[str, list[str]] = {}
        self.operands: list[str] = []
        self._log = -1
        self._paths: Paths | None = None

    def read_globals(self, words: "list[str]") -> "list[str]":
        """Read the options before the command, open the log; return what is left. UxcError."""
        rest = self._read(words, _GLOBAL, _GLOBAL_SHORT, self.globals, until_operand=True)
        given = self.globals
        if given.get("log-format", "text") not in ("text", "json"):
            raise InvalidError(
                f"unknown log format '{given['log-format']}'", "text and json are known"
            )
        if given.get("log-level", "info") not in _LEVELS:
            raise InvalidError(
                f"unknown log level '{given['log-level']}'", f"{', '.join(_LEVELS)} are known"
            )
        log = given.get("log", "").removeprefix("file:")
        if log:
            flags = posix.O_WRONLY | posix.O_APPEND | posix.O_CREAT | posix.O_CLOEXEC
            try:
                self._log = posix.open(log, flags, 0o644)
            except OSError as error:
                raise system_failure("open the log", error) from None
        if given.get("cgroup-manager", "cgroupfs") not in _MANAGERS:
            raise InvalidError(
                f"unknown cgroup manager '{given['cgroup-manager']}'",
                "cgroupfs, disabled and systemd (as cgroupfs) are known",
            )
        return rest

    def read_options(
        self,
        words: "list[str]",
        known: "dict[str, str]",
        short: "dict[str, str]",
        operands: "tuple[int, int]",
    ) -> None:
        """Read what follows the command, for one with these options and operands; UsageError."""
        least, most = operands
        known = {**known, "help": FLAG}
        short = {**_SHORT, **short}
        self.operands = self._read(words, known, short, self.options, until_operand=most == REST)
        count = len(self.operands)
        if "help" not in self.options and (count < least or (most != REST and count > most)):
            need = "a container id" if least else "one operand at most" if most else "no operand"
            if least > 1:
                need += " and a command"
            raise UsageError(f"expected {need}, got {count or 'none'}", f"{NAME} help explains it")

    def _read(
        self,
        words: "list[str]",
        known: "dict[str, str]",
        short: "dict[str, str]",
        into: "dict[str, str]",
        until_operand: bool,
    ) -> "list[str]":
        """Read options from ``words`` and return the operands."""
        operands: list[str] = []
        at = 0
        while at < len(words):
            word = words[at]
            at += 1
            if word == "--":
                return operands + words[at:]
            if len(word) < 2 or word[0] != "-":
                if until_operand:
                    return words[at - 1 :]
                operands.append(word)
                continue
            name, equals, value = word.lstrip("-").partition("=")
            name = short.get(name, name)
            if name not in known:
                name, value = self._letters(word, known, short, into)
                equals = value
            kind = known[name]
            if kind == FLAG:
                value = value if equals else "true"
                if value not in ("true", "false"):
                    raise UsageError(f"option --{name} is true or false, not '{value}'")
                if value == "true":
                    into[name] = value
                continue
            if not equals:
                # crun's form needs no value.
                if name == "rootless" and (at == len(words) or words[at] not in _ROOTLESS):
                    continue
                if at == len(words):
                    raise UsageError(f"option --{name} needs a value")
                value = words[at]
                at += 1
            if kind == NUMBER and not is_number(value):
                raise UsageError(f"option --{name} is a number, not '{value}'")
            if kind == WORDS:
                self.lists.setdefault(name, []).append(value)
            else:
                into[name] = value
        return operands

    def _letters(
        self, word: str, known: "dict[str, str]", short: "dict[str, str]", into: "dict[str, str]"
    ) -> "tuple[str, str]":
        """Read ``word`` as letters: flags, and one option last with its value, which may follow."""
        letters = word[1:]
        while letters and letters[0] != "-":
            name = short.get(letters[0], "")
            if not name:
                break
            letters = letters[1:]
            if known[name] != FLAG or not letters:
                return name, letters
            into[name] = "true"
        raise UsageError(f"unknown option '{word}'", _SEE)

    @property
    def paths(self) -> "Paths":
        """The fixed paths of this process; InvalidError when the environment sets them wrongly."""
        if self._paths is None:
            from uxc import paths

            try:
                self._paths = paths.from_environment()
            except ValueError as error:
                raise InvalidError(str(error)) from None
        return self._paths

    @property
    def root(self) -> str:
        """The directory that holds the state of containers."""
        root = self.globals.get("root") or self.paths.runtime_root
        return root if root[0] == "/" else f"{posix.getcwd()}/{root}"

    @property
    def id(self) -> str:
        """The container's id."""
        return self.operands[0]

    def print(self, text: str) -> None:
        """Write ``text`` to stdout; OSError."""
        from uxc import files

        files.write_all(1, text.encode("utf-8", "backslashreplace"))

    def debug(self, message: str) -> None:
        """Say something that only --debug asks for."""
        if "debug" in self.globals or self.globals.get("log-level") == "debug":
            self._say("debug", message)

    def warning(self, message: str) -> None:
        """Say that something was not done as asked for."""
        if self.globals.get("log-level") != "error":
            self._say("warning", message)

    def error(self, error: UxcError) -> None:
        """Say why the command failed."""
        self._say("error", error.message, error.hint)

    def _say(self, level: str, message: str, hint: str = "") -> None:
        # Not at the top: most commands have nothing to say.
        from uxc.ocicli import report

        as_json = self.globals.get("log-format") == "json"
        report.say(NAME, self._log, as_json, level, message, hint)
