"""The command line of runc, and of crun where it differs: what is typed → what is meant."""

from uxc.errors import UxcError

# Option → how it takes its value: a word, a number, or a flag that needs none.
WORD, NUMBER, FLAG = "word", "number", "flag"

GLOBAL = {
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
_CREATE = {
    "bundle": WORD,
    "config": WORD,
    "console-socket": WORD,
    "pidfd-socket": WORD,
    "pid-file": WORD,
    "no-pivot": FLAG,
    "no-new-keyring": FLAG,
    "preserve-fds": NUMBER,
    "help": FLAG,
}
# Command → (its options, how many operands at least, at most).
COMMANDS = {
    "create": (_CREATE, 1, 1),
    "run": ({**_CREATE, "detach": FLAG, "keep": FLAG, "no-subreaper": FLAG}, 1, 1),
    "start": ({"help": FLAG}, 1, 1),
    "state": ({"help": FLAG}, 1, 1),
    "kill": ({"all": FLAG, "help": FLAG}, 1, 2),
    "delete": ({"force": FLAG, "help": FLAG}, 1, 1),
    "list": ({"quiet": FLAG, "format": WORD, "help": FLAG}, 0, 0),
}
_SHORT_GLOBAL = {"v": "version", "h": "help"}
_SHORT = {
    "b": "bundle",
    "d": "detach",
    "a": "all",
    "q": "quiet",
    "h": "help",
}
_ROOTLESS = ("auto", "true", "false")


class UsageError(UxcError):
    """The command line is wrong; runc answers 1 to that, as to everything else."""

    kind = "invalid"


class CommandLine:
    """What was typed: global options, the command, its options, its operands."""

    __slots__ = ("command", "globals", "operands", "options")

    def __init__(self, words: "list[str]") -> None:
        """Parse ``words``; UsageError."""
        self.globals: dict[str, str] = {}
        self.options: dict[str, str] = {}
        self.operands: list[str] = []
        self.command = ""
        rest = self._read(words, GLOBAL, _SHORT_GLOBAL, self.globals, until_operand=True)
        if "version" in self.globals or "help" in self.globals:
            return
        if not rest:
            raise UsageError("no command is given", "uxc-runtime --help lists them")
        self.command = rest[0]
        if self.command == "help":
            self.globals["help"] = "true"
            return
        if self.command not in COMMANDS:
            raise UsageError(f"unknown command '{self.command}'", "uxc-runtime --help lists them")
        known, least, most = COMMANDS[self.command]
        # -f is --force to delete, --format to list, and crun's --config to create and run.
        meaning_of_f = next(name for name in ("force", "format", "config", "help") if name in known)
        short = {**_SHORT, "f": meaning_of_f}
        self.operands = self._read(rest[1:], known, short, self.options, until_operand=False)
        if "help" in self.options:
            return
        if not least <= len(self.operands) <= most:
            need = "no operand" if most == 0 else "a container id"
            raise UsageError(f"{self.command} takes {need}, not {len(self.operands)} operands")

    def _read(
        self,
        words: "list[str]",
        known: "dict[str, str]",
        short: "dict[str, str]",
        into: "dict[str, str]",
        until_operand: bool,
    ) -> "list[str]":
        """Read options from ``words`` and return the operands (with all behind the first one)."""
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
                raise UsageError(f"unknown option '{word}'", "uxc-runtime --help lists them")
            kind = known[name]
            if kind == FLAG:
                value = value if equals else "true"
                if value not in ("true", "false"):
                    raise UsageError(f"option --{name} is true or false, not '{value}'")
                if value == "true":
                    into[name] = value
                continue
            if not equals:
                if name == "rootless" and words[at : at + 1] not in [[word] for word in _ROOTLESS]:
                    continue
                if at == len(words):
                    raise UsageError(f"option --{name} needs a value")
                value = words[at]
                at += 1
            if kind == NUMBER and not (value.isascii() and value.isdigit()):
                raise UsageError(f"option --{name} is a number, not '{value}'")
            into[name] = value
        return operands
