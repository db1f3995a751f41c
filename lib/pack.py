"""Write the file that ``uxc.packed`` describes: pack.py LIBRARY [WHERE IT WILL BE INSTALLED].

Run it with the interpreter that shall read the file, after each change of the sources; a module
that changed since is only slower to start. In the file is what ``PROGRAMS`` reach by their imports,
at the top or in functions.
"""

import ast
import marshal
import os
import sys
from pathlib import Path
from types import CodeType
from typing import TypeVar

PROGRAMS = ("uxc.ocicli.main",)
# Imported by names that are made at run time.
COMMANDS = "uxc.ocicli.commands."
LOADER = "uxc.packed"
# What a launcher reads at once: the code of the loader, and the index.
HEAD_BYTES = 1 << 15

_Documented = TypeVar("_Documented", ast.Module, ast.ClassDef, ast.FunctionDef)


def main() -> int:
    """Pack the library that is named; return the exit status."""
    library = Path(sys.argv[1]).resolve()
    installed = sys.argv[2] if len(sys.argv) > 2 else str(library)
    target = library / f"packed.{sys.implementation.cache_tag}"
    temporary = target.with_name(f"{target.name}.{os.getpid()}")
    temporary.write_bytes(pack(library, installed))
    temporary.replace(target)
    return 0


def pack(library: Path, installed: str) -> bytes:
    """Return the content of the file for the modules below ``library``."""
    paths = {_name(path, library): path for path in sorted(library.rglob("*.py"))}
    trees = _reached(paths)
    index = {}
    codes = []
    at = HEAD_BYTES
    for name in sorted(trees):
        path = paths[name]
        place = f"/{path.relative_to(library)}"
        # First: what changes from now on must differ from what is noted.
        status = path.stat()
        code = marshal.dumps(_code(path, installed + place))
        index[name] = (
            path.name == "__init__.py",
            place,
            status.st_mtime_ns,
            status.st_size,
            at,
            len(code),
            _needs(name, trees[name], paths),
        )
        codes.append(code)
        at += len(code)
    head = marshal.dumps((_code(paths[LOADER], f"{installed}/uxc/packed.py"), index, at))
    if len(head) > HEAD_BYTES:
        raise SystemExit(f"the head has {len(head)} bytes, launchers read {HEAD_BYTES}")
    return head.ljust(HEAD_BYTES, b"\0") + b"".join(codes)


def _reached(paths: dict[str, Path]) -> dict[str, ast.Module]:
    """Return the syntax trees of the programs' modules."""
    trees: dict[str, ast.Module] = {}
    pending = [name for name in paths if name in PROGRAMS or name.startswith(COMMANDS)]
    while pending:
        name = pending.pop()
        if name not in trees:
            trees[name] = ast.parse(paths[name].read_bytes())
            pending += [*_parents(name), *_imported(trees[name].body, paths, deep=True)]
    return trees


def _needs(name: str, tree: ast.Module, paths: dict[str, Path]) -> tuple[str, ...]:
    """Return what executing the module imports, packages before what is in them."""
    needs = _parents(name)
    for need in _imported(tree.body, paths, deep=False):
        needs += [*_parents(need), need]
    return tuple(dict.fromkeys(needs))


def _code(path: Path, shown: str) -> CodeType:
    tree = _Bare().visit(ast.parse(path.read_bytes()))
    return compile(tree, shown, "exec", dont_inherit=True)


class _Bare(ast.NodeTransformer):
    """Takes away what only people and type checkers read: docstrings and annotations.

    Unpacking and executing what is left takes a tenth less time. Nothing packed may look at them:
    dataclasses are what would, and modules that start often have none (docs/decisions/0002).
    """

    def visit_Module(self, node: ast.Module) -> ast.Module:
        return self._without_docstring(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        return self._without_docstring(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.returns = None
        return self._without_docstring(node)

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt:
        self.generic_visit(node)
        if node.value is None:
            return ast.copy_location(ast.Pass(), node)
        return ast.copy_location(ast.Assign([node.target], node.value), node)

    def _without_docstring(self, node: _Documented) -> _Documented:
        self.generic_visit(node)
        if ast.get_docstring(node, clean=False) is not None:
            node.body[0] = ast.copy_location(ast.Pass(), node.body[0])
        return node


def _name(path: Path, library: Path) -> str:
    return ".".join(path.relative_to(library).with_suffix("").parts).removesuffix(".__init__")


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts))]


def _imported(body: list[ast.stmt], paths: dict[str, Path], deep: bool) -> list[str]:
    """Return the modules of ours that ``body`` imports; ``deep``: in functions as well."""
    found = []
    for node in body:
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            full = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [name if name in paths else str(node.module) for name in full]
        elif deep and not _is_for_types(node):
            for inner in ast.walk(node):
                if isinstance(inner, ast.Import | ast.ImportFrom):
                    found += _imported([inner], paths, deep=False)
    return [name for name in found if name in paths]


def _is_for_types(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


if __name__ == "__main__":
    sys.exit(main())
