"""The package: strictly typed, a wheel that builds and works where it is installed, no file too long."""

from __future__ import annotations

import pathlib
import zipfile

from .servers import CLIENT, REPOSITORY, python


def test_types_are_strict() -> None:
    assert "Success" in python("-m", "mypy", "src", "generate_models.py", "examples", "tests", limit=300)


def test_wheel_builds_and_works_where_it_is_installed(tmp_path: pathlib.Path) -> None:
    pip = ("-m", "pip", "--disable-pip-version-check")
    python(*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), str(CLIENT))
    [wheel] = tmp_path.glob("order_router-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "order_router/py.typed" in names and "order_router/models/orders.py" in names
    target = tmp_path / "installed"
    python(*pip, "install", "--quiet", "--no-deps", "--no-index", "--target", str(target), str(wheel))
    program = tmp_path / "program.py"
    program.write_text("import order_router\nreport: order_router.ExecutionReport\nprint(order_router.__file__)\n")
    printed = python(str(program), environment={"PYTHONPATH": str(target)})
    assert printed.strip() == str(target / "order_router" / "__init__.py")
    strict = ("-m", "mypy", "--strict", "--cache-dir", str(REPOSITORY / ".tools/mypy-cache-installed"))
    typed = python(*strict, str(program), environment={"MYPYPATH": str(target)})
    assert "Success" in typed


def test_files_and_lines_keep_the_rules_of_the_project() -> None:
    files = [path for folder in ("src", "tests", "examples") for path in (CLIENT / folder).rglob("*.py")]
    files += [CLIENT / "generate_models.py", CLIENT / "README.md", REPOSITORY / "docs/clients.md"]
    for path in files:
        lines = path.read_text("utf-8").splitlines()
        assert len(lines) <= 500, f"{path} has {len(lines)} lines"
        too_long = [number for number, line in enumerate(lines, 1) if len(line) > 120]
        assert not too_long or path.suffix == ".md", f"{path} has lines above 120 characters: {too_long}"
