"""The committed files are those that the sources build, and the types are those of the API."""

from __future__ import annotations

import hashlib
import json
import pathlib
import re
import shutil
import subprocess

import pytest

from router import CONSOLE, Router

DIST = CONSOLE / "dist"
BUILD_S = 120


def source_digest() -> str:
    """Returns the SHA-256 of everything that the built files are made of (scripts/digest.mjs computes the same)."""
    names = ["index.html", "package-lock.json", "package.json", "tsconfig.json", "vite.config.ts"]
    paths = [CONSOLE / name for name in names]
    for folder in ("public", "src"):
        paths += [path for path in (CONSOLE / folder).rglob("*") if path.is_file()]
    digest = hashlib.sha256()
    for path in sorted(paths, key=lambda path: path.relative_to(CONSOLE).as_posix()):
        body = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(CONSOLE).as_posix()} {body}\n".encode())
    return digest.hexdigest()


def test_committed_files_are_those_of_the_sources() -> None:
    recorded = (DIST / "sources.sha256").read_text().strip()
    assert recorded == source_digest(), "console/dist is older than its sources: run `make console` and commit it"


def test_sources_build_the_committed_files(tmp_path: pathlib.Path) -> None:
    vite = CONSOLE / "node_modules/.bin/vite"
    if not (shutil.which("node") and vite.exists()):
        # The test above compares the sources without Node.
        pytest.skip("Node or console/node_modules is not there: `make console` installs the packages")
    subprocess.run([str(vite), "build", "--logLevel", "error", "--outDir", str(tmp_path)], cwd=CONSOLE, check=True, timeout=BUILD_S)
    built = {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    committed = {path.relative_to(DIST).as_posix(): path.read_bytes() for path in DIST.rglob("*") if path.is_file()}
    committed.pop("sources.sha256")
    assert sorted(built) == sorted(committed)
    assert [name for name in built if built[name] != committed[name]] == []


def test_page_has_no_inline_code_and_no_other_host() -> None:
    page = (DIST / "index.html").read_text()
    assert "<style" not in page and "style=" not in page
    assert re.findall(r"<script(?![^>]*\bsrc=)", page) == []
    for file in DIST.rglob("*"):
        if file.suffix in (".js", ".css", ".html"):
            addresses = set(re.findall(r"https?://[^\"'`)\s]+", file.read_text()))
            # Names of XML vocabularies: no browser requests them.
            assert {address for address in addresses if not address.startswith("http://www.w3.org/")} == set(), file


def test_types_are_those_of_the_api(router: Router) -> None:
    types = (CONSOLE / "src/api/schema.d.ts").read_text()
    recorded = re.search(r"SHA-256 ([0-9a-f]{64})", types)
    roots = re.search(r"const ROOTS = \[(.*?)\];", (CONSOLE / "scripts/types.mjs").read_text(), re.DOTALL)
    assert recorded and roots
    document = router.call("openapi.json")
    kept: dict[str, object] = {}
    wanted = re.findall(r'"(\w+)"', roots[1])
    while wanted:
        name = wanted.pop()
        if name not in kept:
            kept[name] = document["components"]["schemas"][name]
            wanted += re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(kept[name]))
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    found = hashlib.sha256(text.encode()).hexdigest()
    assert found == recorded[1], "console/src/api/schema.d.ts is older than the API: npm run types -- URL, then `make console`"
