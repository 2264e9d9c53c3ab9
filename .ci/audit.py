"""`make audit`: what krakpot depends on, looked through.

Offline: every dependency's licence, of Rust and of Python, is one of those allowed here. Advisories of known holes need
the network and a tool for each: cargo-deny or cargo-audit, and pip-audit. What is not installed is said to be left out.
Exit code 1 if anything was found.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

ALLOWED = {
    "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0",
    "ISC", "MIT", "MIT-CMU", "PSF-2.0", "Unicode-3.0", "Unlicense", "Zlib",
}  # fmt: skip
"""Licences that ask for no more than their own text beside a binary."""
OLD_NAMES = {
    "MIT License": "MIT",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "Apache License 2.0": "Apache-2.0",
    "BSD": "BSD-3-Clause",
    "Python Software Foundation License": "PSF-2.0",
}
"""What packages that do not yet speak SPDX call them."""
OPTIONAL = ("altair", "matplotlib", "numba", "python-socks", "vl-convert-python")
"""Python packages of krakpot's extras; looked at where they are installed."""


def allowed(expression: str) -> bool:  # noqa: C901  # one small rule for each level of the grammar
    """Whether an SPDX expression can be met by allowed licences. ``ValueError`` if it is none."""
    # Cargo's old form has a slash for "or".
    words = re.findall(r"\(|\)|[A-Za-z0-9.+-]+", expression.replace("/", " OR "))

    def term() -> bool:
        word = words.pop(0)
        if word == "(":
            found = either()
            if not words or words.pop(0) != ")":
                raise ValueError(expression)
            return found
        if word in {")", "AND", "OR", "WITH"}:
            raise ValueError(expression)
        if words[:1] == ["WITH"]:
            word = " ".join((word, words.pop(0), words.pop(0)))
        return word in ALLOWED

    def both() -> bool:
        found = term()
        while words[:1] == ["AND"]:
            words.pop(0)
            found = term() and found
        return found

    def either() -> bool:
        found = both()
        while words[:1] == ["OR"]:
            words.pop(0)
            found = both() or found
        return found

    try:
        result = either()
    except IndexError:
        raise ValueError(expression) from None
    if words:
        raise ValueError(expression)
    return result


def rust() -> dict[str, str]:
    """Licence of every package that the lock file names, by name and version; as cargo knows them, without network."""
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--all-features"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603  # fixed words
    return {f"{p['name']} {p['version']}": p["license"] or "" for p in json.loads(done.stdout)["packages"]}


def _licence(package: Distribution) -> str:
    """What a package says of its licence, as SPDX where it can be told."""
    meta = package.metadata
    found = meta.get("License-Expression")
    if found:
        return str(found)
    told = [line.rpartition(" :: ")[2] for line in meta.get_all("Classifier") or [] if line.startswith("License ::")]
    # Its text may be the whole licence: one line of it names it.
    told += [str(meta.get("License") or "").splitlines()[0]] if meta.get("License") else []
    names = [OLD_NAMES.get(name, name) for name in told if name != "OSI Approved"]
    return names[0] if names else ""


def python() -> dict[str, str]:
    """Licence of every installed package that krakpot needs, its extras' included."""
    found: dict[str, str] = {}
    wanted = ["krakpot", *OPTIONAL]
    while wanted:
        name = wanted.pop()
        try:
            package = distribution(name)
        except PackageNotFoundError:
            continue
        key = f"{package.metadata['Name']} {package.version}"
        if key in found:
            continue
        found[key] = _licence(package)
        # What only an extra asks for is none of ours, unless it is named above.
        for line in package.requires or []:
            if "extra ==" not in line:
                wanted += re.findall(r"^[A-Za-z0-9._-]+", line)
    return found


def _left_out(what: str, why: str) -> None:
    sys.stdout.write(f"advisories, {what}: left out; {why}\n")


def _rust_advisories() -> bool:
    """Ask the tools that are here; whether all were content."""
    good = True
    for tool, command in (
        ("cargo-deny", ["cargo", "deny", "check", "advisories"]),
        ("cargo-audit", ["cargo", "audit"]),
    ):
        if shutil.which(tool) is None:
            _left_out("Rust", f"{tool} is not installed (cargo install {tool})")
        else:
            good &= subprocess.run(command, check=False).returncode == 0  # noqa: S603  # fixed words
    return good


def _python_advisories() -> bool:
    """Ask pip-audit; whether it knows of no hole.

    It skips what its index does not tell of, and is content: how many it could look up has to be said.
    """
    tool = shutil.which("pip-audit", path=str(Path(sys.executable).parent)) or shutil.which("pip-audit")
    if tool is None:
        _left_out("Python", "pip-audit is not installed (pip install pip-audit)")
        return True
    folder = str(Path(distribution("click").locate_file("")))
    command = [tool, "--path", folder, "--format", "json", "--progress-spinner", "off"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # fixed words
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except ValueError:
        _left_out("Python", f"pip-audit: {(done.stderr.strip().splitlines() or ['no answer'])[-1]}")
        return True
    known = [package for package in packages if "vulns" in package]
    sys.stdout.write(f"advisories, Python: {len(known)} of {len(packages)} packages could be looked up\n")
    holes = [f"{p['name']} {p['version']}: {hole['id']}" for p in known for hole in p["vulns"]]
    for hole in holes:
        sys.stdout.write(f"wrong: Python: {hole}\n")
    return not holes


def main() -> int:
    """Look; the exit code."""
    wrong = []
    for what, packages in (("Rust", rust()), ("Python", python())):
        for name, licence in sorted(packages.items()):
            try:
                fine = allowed(licence)
            except ValueError:
                fine = False
            if not fine:
                wrong.append(f"{what}: {name}: licence {licence or 'not told'!r}")
        sys.stdout.write(f"licences, {what}: {len(packages)} packages\n")
    for line in wrong:
        sys.stdout.write(f"wrong: {line}\n")
    good = [_rust_advisories(), _python_advisories()]
    return 0 if all(good) and not wrong else 1


if __name__ == "__main__":
    sys.exit(main())
