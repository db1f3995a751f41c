"""``uxc check``: read both files and every bundle, show all that is wrong; needs no manager."""

from uxc.cli.options import Arguments, Operand, Option, Syntax
from uxc.cli.session import Session
from uxc.config.load import Loaded, load
from uxc.config.problem import Problem, problem_in, title_of
from uxc.errors import EXIT_FAILURE, EXIT_OK, NotFoundError
from uxc.files import write_all
from uxc.oci.bundle import WrongBundleError, read

SYNTAX = Syntax(
    "check",
    "show everything that is wrong in the configuration and in the bundles",
    (Operand("NAME", "container to check; all of them without one", optional=True, repeated=True),),
    (Option("--pending -p", "", "also judge changes that nobody has committed"),),
    "Each problem is one line, with file and line number; what to do follows in brackets. The exit "
    "code is 1 when a container cannot run because of one, 0 when there are only warnings.",
)


def run(arguments: Arguments, session: Session) -> int:
    """Print every problem on stderr."""
    loaded = load(session.paths, pending=arguments.given("pending"))
    names = arguments.words("name")
    if names:
        found = _noted(loaded, names)
    else:
        found = [*loaded.problems]
        names = [title_of(section) for section in loaded.packages[0].of_type("container")]
    for name in dict.fromkeys(names):
        if name not in loaded.disabled:
            found += _bundle_problems(loaded, name)
    for problem in found:
        hint = f"  ({problem.hint})\n" if problem.hint else ""
        write_all(2, f"{problem}\n{hint}".encode(errors="surrogateescape"))
    return EXIT_FAILURE if any(problem.is_error for problem in found) else EXIT_OK


def _noted(loaded: Loaded, names: list[str]) -> list[Problem]:
    """Return what concerns the containers ``names``: damaged files first, each problem once."""
    found = [problem for problem in loaded.problems if not problem.kind]
    for name in names:
        if name in loaded.noted:
            found += loaded.noted[name]
        elif name not in loaded.disabled and not found:
            raise NotFoundError(
                f"{name}: no such container", f"no section of {loaded.packages[0].file} declares it"
            )
    return [*dict.fromkeys(found)]


def _bundle_problems(loaded: Loaded, name: str) -> list[Problem]:
    """Return what is wrong in the bundle of container ``name``; a wrong option has been told."""
    for section in loaded.packages[0].of_type("container"):
        bundle = section.text("bundle")
        if title_of(section) == name and bundle.startswith("/"):
            try:
                read(bundle)
            except WrongBundleError as error:
                return [problem_in(section, "bundle", line, error.hint) for line in error.problems]
    return []
