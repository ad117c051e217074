"""Hostile versions are refused before a byte of them runs. Code that ran would write a file, which no test finds."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import skops.io

from ai_api.errors import ModelRefused
from ai_api.registry import allowed_types
from ai_api.registry.allowed_types import check_types
from ai_api.registry.files import FOLDER, VersionFiles
from ai_api.registry.registry import Registry
from ai_api.registry.signatures import PublicKeys, Signature, SigningKey
from ai_api.registry.versions import Version
from ai_api.tasks import find_tasks
from tests.ai.conftest import open_registry
from tests.ai.support.logged import House, logged_version, small_house

State = dict[str, object]


def node(loader: str, name: str, content: object = None, **more: object) -> State:
    """A node of a skops file."""
    module, _, attribute = name.rpartition(".")
    state: State = {"__loader__": loader, "__class__": attribute, "__module__": module, "__id__": 1, **more}
    return state if content is None else {**state, "content": content}


def values(*items: object) -> State:
    return node("TupleNode", "builtins.tuple", list(items))


def text(value: str) -> State:
    return {**node("JsonNode", "builtins.str", json.dumps(value)), "is_json": True}


def file_of(state: State, protocol: int = 2, files: Mapping[str, bytes] | None = None) -> bytes:
    """A skops file with this schema."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("schema.json", json.dumps({**state, "protocol": protocol, "_skops_version": "0.16.0"}))
        for name, content in (files or {}).items():
            archive.writestr(name, content)
    return target.getvalue()


IMPORT_A_FILE = {"args": values(node("ObjectNode", "pathlib.PosixPath"), text("evil.py"))}
NOTHING = node("DictNode", "builtins.dict", {}, key_types=[])
HOSTILE_NODES: Mapping[str, State] = {
    "a reduce node that imports a file by our own function": node(
        "ConstructorFromReduceNode", "ai_api.tasks._imported", NOTHING, __reduce__=IMPORT_A_FILE
    ),
    "a function of our own": node("FunctionNode", "ai_api.tasks._imported"),
    "a function of the standard library": node("FunctionNode", "os.system"),
    "a ufunc, which skops trusts": node("FunctionNode", "numpy.add"),
    "a method of an allowed class": node(
        "MethodNode",
        "sklearn.pipeline.Pipeline",
        {"func": "fit", "obj": node("ObjectNode", "sklearn.pipeline.Pipeline")},
    ),
    "a partial": node(
        "PartialNode",
        "functools.partial",
        {
            "func": node("FunctionNode", "os.system"),
            "args": values(text("touch evil")),
            "kwds": NOTHING,
            "namespace": NOTHING,
        },
    ),
    "an operator": node("OperatorFuncNode", "operator.methodcaller", attrs=values(text("fit"))),
    "a class of our own that is not listed": node("ObjectNode", "ai_api.features.image.Network"),
    "a class beside a listed one": node("ObjectNode", "ai_api.features.clean.Cleaner"),
    "a module with a listed name as its start": node("ObjectNode", "ai_api.features.clean.Clean.evil"),
    "a class of a module that was trusted by its prefix": node("ObjectNode", "sklearn.ensemble._base.Parallel"),
    "a task's row": node("ObjectNode", "ai_api.tasks.housing.House"),
    "a class of a task file that was never imported": node("ObjectNode", "ai_api.tasks.evil.Evil"),
    "a type": node("TypeNode", "builtins.eval"),
    "a loss that is a process": node(
        "LossNode", "subprocess.Popen", NOTHING, __reduce__={"args": values(text("evil"))}
    ),
    "a forest of another library": node("QuantileForestNode", "quantile_forest._quantile_forest_fast.QuantileForest"),
    "a default dictionary with a factory": node("DefaultDictNode", "collections.defaultdict", {}),
    "a node that was read before": node("CachedNode", "sklearn.pipeline.Pipeline"),
    "a node without a loader": {"__class__": "system", "__module__": "os"},
    "a named tuple": node("TupleNode", "ai_api.task.Recipe", [text("evil")]),
    "a hostile node inside an allowed one": node(
        "ObjectNode",
        "sklearn.pipeline.Pipeline",
        node("DictNode", "builtins.dict", {"steps": node("FunctionNode", "os.system")}, key_types=[]),
    ),
}


@pytest.fixture
def nothing_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the file was given to skops")

    for name in ("load", "loads"):
        monkeypatch.setattr(skops.io, name, refuse)


@pytest.mark.usefixtures("nothing_is_loaded")
@pytest.mark.parametrize("name", HOSTILE_NODES)
def test_a_file_with_a_hostile_node_is_refused_by_its_schema(name: str, tmp_path: Path) -> None:
    write(tmp_path, file_of(HOSTILE_NODES[name]))
    with pytest.raises(ModelRefused, match="may not contain"):
        VersionFiles.read(tmp_path).load(some_version(), "cpu")


@pytest.mark.usefixtures("nothing_is_loaded")
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"cos\nsystem\n(S'touch evil'\ntR.", id="a pickle"),
        pytest.param(file_of(NOTHING).replace(b"schema.json", b"schemaXjson"), id="no schema"),
        pytest.param(file_of(node("FunctionNode", "builtins.print"), protocol=0), id="an older protocol"),
        pytest.param(file_of(NOTHING, protocol=3), id="a later protocol"),
    ],
)
def test_a_file_that_is_not_of_skops_is_refused(content: bytes, tmp_path: Path) -> None:
    write(tmp_path, content)
    with pytest.raises(ModelRefused, match=r"model\.skops"):
        VersionFiles.read(tmp_path).load(some_version(), "cpu")


@pytest.mark.usefixtures("nothing_is_loaded")
@pytest.mark.parametrize("schema", [b"[" * 200_000, b'{"a":' * 200_000, b"\xff", b"7", b"null", b"[]"])
def test_a_malformed_schema_is_refused(schema: bytes, tmp_path: Path) -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("schema.json", schema)
    write(tmp_path, target.getvalue())
    with pytest.raises(ModelRefused):
        VersionFiles.read(tmp_path).load(some_version(), "cpu")


def test_a_schema_that_is_too_large_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allowed_types, "LARGEST_SCHEMA", 10)
    with pytest.raises(ModelRefused, match="too large"):
        check_types(file_of(NOTHING))


def test_an_array_with_a_pickle_in_it_is_refused(tmp_path: Path) -> None:
    pickled = io.BytesIO()
    np.save(pickled, np.array([Mark(tmp_path / "evil")], dtype=object), allow_pickle=True)
    array = node("NdArrayNode", "numpy.ndarray", type="numpy", file="1.npy")
    write(tmp_path, file_of(array, files={"1.npy": pickled.getvalue()}))
    with pytest.raises(ModelRefused, match="cannot be loaded"):
        VersionFiles.read(tmp_path).load(some_version(), "cpu")
    assert not (tmp_path / "evil").exists()


def test_a_random_generator_may_not_name_a_function(tmp_path: Path) -> None:
    generator = skops.io.dumps(np.random.default_rng(0))
    schema = json.loads(zipfile.ZipFile(io.BytesIO(generator)).read("schema.json"))
    hostile = json.loads(json.dumps(schema).replace("PCG64", "seed"))
    write(tmp_path, file_of(hostile))
    with pytest.raises(ModelRefused, match="cannot be loaded"):
        VersionFiles.read(tmp_path).load(some_version(), "cpu")


def test_a_class_of_a_task_file_is_allowed_once_the_file_was_imported(tmp_path: Path) -> None:
    (tmp_path / "cellar.py").write_text(
        "from dataclasses import replace\n"
        "from sklearn.base import BaseEstimator\n"
        "from ai_api.tasks.housing import TASK as HOUSING\n"
        "class Own(BaseEstimator): pass\n"
        "class Plain: pass\n"
        "def function(): pass\n"
        "TASK = replace(HOUSING, name='cellar')\n"
    )
    with pytest.raises(ModelRefused):
        check_types(file_of(node("ObjectNode", "ai_api.tasks.cellar.Own")))
    find_tasks(folder=tmp_path)
    assert check_types(file_of(node("ObjectNode", "ai_api.tasks.cellar.Own"))) == ["ai_api.tasks.cellar.Own"]
    for loader, name in (
        ("ObjectNode", "Plain"),
        ("ObjectNode", "HOUSING"),
        ("FunctionNode", "function"),
        ("TypeNode", "Own"),
    ):
        with pytest.raises(ModelRefused):
            check_types(file_of(node(loader, f"ai_api.tasks.cellar.{name}")))


# Of a real registry: who signed what


@pytest.fixture(scope="module")
def house() -> House:
    return small_house()


def set_tag(registry: Registry, version: Version, name: str, value: str) -> Version:
    """The version after MLflow's own user has changed one of its tags."""
    with registry._connection.client() as client:
        client.set_model_version_tag(version.task, str(version.number), f"volant.{name}", value)
    return registry.version(version.task, version.number)


def assert_refused(registry: Registry, version: Version, match: str) -> None:
    """The version is neither loaded nor promoted, and no file of it is fetched when its signature fails."""
    assert not registry.is_signed(version)
    with pytest.raises(ModelRefused, match=match):
        registry.load(version)
    with pytest.raises(ModelRefused, match=match):
        registry.promote(version.task, version.number, registry.champion(version.task))
    assert registry.cached(version.task, version.digest) is None


def test_a_version_by_mlflows_own_user_with_its_right_digest_is_refused(registry: Registry, house: House) -> None:
    honest = logged_version(registry, "foreign", house)
    with registry._connection.client() as client:
        client.create_model_version(
            "foreign", f"runs:/{honest.run_id}/model", honest.run_id, tags={"volant.digest": honest.digest},
            await_creation_for=0,
        )  # fmt: skip
    assert_refused(registry, registry.version("foreign", honest.number + 1), "no valid signature")


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        ("digest", "0" * 64),
        ("digest", "../../../etc"),
        ("digest", ""),
        ("labels", '["a", "b"]'),
        ("row_version", "9"),
        ("recipe", "other"),
        ("metrics", '{"rmse": 0.1}'),
        ("signature", ""),
        ("signature", "{}"),
        ("signature", "[" * 100_000),
        ("signature", '{"kid": "../../key", "date": "", "by": "trainer", "value": "AAAA"}'),
    ],
)
def test_a_version_whose_tag_was_changed_after_signing_is_refused(
    registry: Registry, house: House, tag: str, value: str
) -> None:
    version = logged_version(registry, "tags", house)
    changed = set_tag(registry, version, tag, value[:5_000])
    assert not registry.is_signed(changed)
    with pytest.raises(ModelRefused, match="no valid signature"):
        registry.load(changed)


def test_a_signature_by_another_key_or_of_another_version_is_refused(registry: Registry, house: House) -> None:
    one, two = logged_version(registry, "copied", house), logged_version(registry, "copied", house)
    stranger = SigningKey("a key that MLflow's user has made").sign(two.statement, "trainer")
    assert one.signature is not None
    assert two.signature is not None
    for signature in (
        one.signature,
        stranger,
        replace(stranger, kid=two.signature.kid),
        replace(two.signature, by="admin:x"),
        replace(two.signature, date="2020-01-01T00:00:00+00:00"),
    ):
        changed = set_tag(registry, two, "signature", signature.text())
        assert_refused(registry, changed, "no valid signature")
    assert registry.is_signed(set_tag(registry, two, "signature", two.signature.text()))
    for other in (replace(one, task="other"), replace(one, run_id=two.run_id), replace(one, synthetic=True)):
        assert not registry.is_signed(other)


def test_files_that_were_changed_after_signing_are_refused(registry: Registry, house: House, tmp_path: Path) -> None:
    version = logged_version(registry, "overwritten", house)
    (tmp_path / "row.json").write_text("{}")
    with registry._connection.client() as client:
        client.log_artifact(version.run_id, str(tmp_path / "row.json"), FOLDER)
    with pytest.raises(ModelRefused, match="digest"):
        registry.load(version)
    assert registry.cached("overwritten", version.digest) is None


def test_a_file_that_is_added_after_signing_is_refused(registry: Registry, house: House, tmp_path: Path) -> None:
    version = logged_version(registry, "added", house)
    (tmp_path / "evil.py").write_text("open('evil', 'w')")
    with registry._connection.client() as client:
        client.log_artifact(version.run_id, str(tmp_path / "evil.py"), FOLDER)
    with pytest.raises(ModelRefused, match="digest"):
        registry.load(version)


def test_files_swapped_between_the_check_and_the_load_change_nothing(
    registry: Registry, house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = logged_version(registry, "swapped", house)
    honest = registry.load(version)
    folder = tmp_path / "versions" / "swapped" / version.digest / FOLDER

    def swap(content: bytes) -> list[str]:
        for path in folder.iterdir():
            if path.is_file():
                path.write_bytes(b"evil")
        return check_types(content)

    monkeypatch.setattr("ai_api.registry.files.check_types", swap)
    rows = [row for row, _ in honest.sample]
    assert registry.load(version).predict(rows) == honest.predict(rows)
    monkeypatch.undo()
    assert registry.load(version).predict(rows) == honest.predict(rows), "the swapped files are fetched again"


def test_a_cached_version_with_a_changed_description_is_refused(
    registry: Registry, house: House, tmp_path: Path
) -> None:
    version = logged_version(registry, "described", house)
    registry.load(version)
    path = tmp_path / "versions" / "described" / version.digest / "version.json"
    path.write_text(path.read_text().replace('"synthetic": false', '"synthetic": true'))
    cached = registry.cached("described", version.digest)
    assert cached is not None
    with pytest.raises(ModelRefused, match="no valid signature"):
        registry.load(cached)


@pytest.mark.parametrize("place", ["file", "folder", "outside"])
def test_a_link_among_the_files_is_refused(tmp_path: Path, place: str) -> None:
    folder, elsewhere = tmp_path / "model", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    (folder / "row.json").write_text("{}")
    (elsewhere / "model.skops").write_bytes(b"x")
    target = {"file": folder / "row.json", "folder": elsewhere, "outside": elsewhere / "model.skops"}[place]
    (folder / "model.skops").symlink_to(target)
    with pytest.raises(ModelRefused, match="link"):
        VersionFiles.read(folder)


@pytest.mark.parametrize("digest", ["../evil", "/etc/passwd", "a" * 63, "A" * 64, "", f"{'a' * 64}\n"])
def test_a_digest_is_no_path(registry: Registry, digest: str) -> None:
    with pytest.raises(ModelRefused):
        registry.cached("paths", digest)


def test_a_version_of_a_revoked_key_is_refused_until_it_is_signed_again(
    mlflow_url: str, secrets_dir: Path, tmp_path: Path, house: House
) -> None:
    registry = open_registry(mlflow_url, secrets_dir, tmp_path / "versions")
    version = logged_version(registry, "revoked", house)
    registry.load(version)
    keys = PublicKeys(tmp_path / "version_keys")
    assert version.signature is not None
    assert keys.revoke(version.signature.kid)
    assert not keys.revoke(version.signature.kid)
    assert not registry.is_signed(version)
    with pytest.raises(ModelRefused, match="no valid signature"):
        registry.load(version)
    other = SigningKey("the secret that replaces it")
    keys.publish([other])
    registry._signer = other
    signed = registry.sign(version, "command line", lambda _: None)
    assert registry.is_signed(registry.version("revoked", version.number))
    assert registry.load(signed).version.digest == version.digest


def test_a_version_of_an_earlier_release_is_signed_after_its_checks(
    registry: Registry, house: House, tmp_path: Path
) -> None:
    honest = logged_version(registry, "earlier", house)
    unsigned = set_tag(registry, honest, "signature", "")

    def fails(_: object) -> None:
        raise ModelRefused("Its predictions differ.")

    with pytest.raises(ModelRefused, match="differ"):
        registry.sign(unsigned, "command line", fails)
    assert not registry.is_signed(registry.version("earlier", honest.number))
    with pytest.raises(ModelRefused, match="digest"):
        registry.sign(replace(unsigned, digest="0" * 64), "command line", lambda _: None)
    registry.sign(unsigned, "command line", lambda _: None)
    assert registry.is_signed(registry.version("earlier", honest.number))


def test_public_keys_under_another_name_are_no_keys(tmp_path: Path) -> None:
    keys, mine, other = PublicKeys(tmp_path), SigningKey("mine"), SigningKey("other")
    keys.publish([mine, mine])
    assert keys.known() == [mine.public["kid"]]
    version = some_version()
    (tmp_path / f"{mine.public['kid']}.json").write_text(json.dumps(other.public))
    forged = replace(other.sign(version.statement, "trainer"), kid=mine.public["kid"])
    assert not keys.has_signed(forged, version.statement)
    (tmp_path / f"{mine.public['kid']}.json").write_text("no key")
    assert not keys.has_signed(mine.sign(version.statement, "trainer"), version.statement)


class Mark:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[Path]]:
        return Path.touch, (self.path,)


def write(folder: Path, pipeline: bytes) -> None:
    """A version's files around this pipeline."""
    (folder / "model.skops").write_bytes(pipeline)
    (folder / "row.json").write_text('{"columns": {}, "schema": {}}')
    (folder / "sample.json").write_text("[]")


def some_version() -> Version:
    moment = datetime(2026, 11, 1, tzinfo=UTC)
    return Version(
        task="house", number=1, run_id="run", recipe="forest", created_at=moment, aliases=(), metrics={}, labels=None,
        synthetic=False, row_version=1, data_hash="", digest="0" * 64, registered_at=moment,
        signature=Signature("", "", "", ""),
    )  # fmt: skip
