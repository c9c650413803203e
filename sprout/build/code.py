"""What our own code adds to a step's key: the functions it can reach, without their prose.

A module counts through its syntax tree, so a comment or a docstring changes nothing; every
`sprout` module that it imports counts as well, however deep.
"""

from __future__ import annotations

import ast
import hashlib
from pathlib import Path

from sprout.build.memo import Memo


def code_digest(module: str, memo: Memo) -> str:
    """Give the digest of `module` and of every `sprout` module that it imports, transitively."""
    seen: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        path = _path(name)
        if path is None:
            continue
        digest, *imports = memo.remember("code", path, _describe, least=1)
        seen[name] = digest
        waiting += imports
    lines = "".join(f"{name} {digest}\n" for name, digest in sorted(seen.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def _path(module: str) -> Path | None:
    """Give the file of a `sprout` module, or None when the name is no module of ours."""
    root = Path(__file__).parents[2]
    base = root.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def _describe(path: Path) -> list[str]:
    tree = ast.parse(path.read_bytes())
    imports: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            # `from sprout.kernel import apt` names a module; `… import load_flavor` does not.
            imports |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        _strip_docstring(node)
    digest = hashlib.sha256(ast.unparse(tree).encode()).hexdigest()
    return [digest, *sorted(name for name in imports if name.split(".")[0] == "sprout")]


def _strip_docstring(node: ast.AST) -> None:
    if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return
    first = node.body[0] if node.body else None
    if (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    ):
        node.body[0] = ast.Pass()
