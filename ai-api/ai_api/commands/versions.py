"""Signatures of versions: sign what earlier releases made, list the public keys, revoke one."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

from ai_api.errors import AIError, UnknownVersion
from ai_api.settings import Settings

from . import Command
from .display import table
from .wiring import admins_key, all_tasks, find_task, open_registry, trainers_key

if TYPE_CHECKING:
    from ai_api.registry.registry import Registry
    from ai_api.registry.versions import Version

BY = "command line"


def versions(settings: Settings, parsed: Namespace) -> int:
    """Runs `sign`, `keys` or `revoke`."""
    status: int = parsed.run(settings, parsed)
    return status


def sign(settings: Settings, parsed: Namespace) -> int:
    """Lists every champion and every version that served before it, and signs those that pass the checks."""
    from ai_api.serving.model_check import check_model

    registry = open_registry(settings, signs=True)
    tasks = {parsed.task: find_task(settings, parsed.task)} if parsed.task else all_tasks(settings)
    unsigned = [version for name in tasks for version in served(registry, name) if not registry.is_signed(version)]
    if not unsigned:
        print("Nothing to sign: every version that serves or served has a valid signature.")
        return 0
    rows = [(v.task, v.number, v.recipe, f"{v.created_at:%Y-%m-%d %H:%M}", v.run_id) for v in unsigned]
    print(table(("task", "version", "recipe", "trained at (UTC)", "run"), rows))
    if not parsed.yes and not confirmed(f"Sign these {len(unsigned)} versions? Only if your trainers made them [y/N] "):
        print("Nothing was signed.")
        return 1
    failures = 0
    for version in unsigned:
        try:
            registry.sign(version, BY, partial(check_model, tasks[version.task]))
            if registry.champion(version.task) == version.number:
                registry.record_champion(version.task, version.number)
            print(f"Version {version.number} of {version.task} is signed.")
        except AIError as error:
            failures += 1
            print(f"Version {version.number} of {version.task} is not signed: {error}", file=sys.stderr)
    return 1 if failures else 0


def served(registry: Registry, task: str) -> Iterator[Version]:
    """The champion of a task, and each version that an earlier one replaced, by the tags of the versions."""
    number, seen = registry.champion(task), set[int]()
    while number is not None and number not in seen:
        seen.add(number)
        try:
            yield registry.version(task, number)
        except UnknownVersion:
            return
        number = registry.replaced_by(task, number)


def confirmed(question: str) -> bool:
    """Whether a person types y; nobody can where there is no terminal."""
    return sys.stdin.isatty() and input(question).strip().lower() in ("y", "yes")


def keys(settings: Settings, _: Namespace) -> int:
    """Lists the public keys, and which of them sign now."""
    from ai_api.registry.signatures import PublicKeys

    signing = signing_keys(settings)
    rows = [
        (kid, signing.get(kid, "nothing any more; verifies")) for kid in PublicKeys(settings.version_keys_dir).known()
    ]
    print(table(("key", "signs"), rows))
    return 0


def revoke(settings: Settings, parsed: Namespace) -> int:
    """Removes a public key."""
    from ai_api.registry.signatures import PublicKeys

    if parsed.key in signing_keys(settings):
        print(
            f"{parsed.key} signs now: first replace its secret and start again, which makes a new key.", file=sys.stderr
        )
        return 1
    if not PublicKeys(settings.version_keys_dir).revoke(parsed.key):
        print("There is no such key. `ai-api versions keys` lists them.", file=sys.stderr)
        return 1
    print(f"{parsed.key} is revoked: versions that it signed stop serving within seconds.")
    return 0


def signing_keys(settings: Settings) -> Mapping[str, str]:
    """What each key signs whose secret is at hand, by its id."""
    from ai_api.errors import ConfigurationError

    found = {}
    for read, what in ((trainers_key, "versions of trainers"), (admins_key, "versions that an admin promotes")):
        try:
            found[read(settings).public["kid"]] = what
        except ConfigurationError:
            continue
    return found


def _arguments(parser: ArgumentParser) -> None:
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    signing = verbs.add_parser("sign", help="sign what serves and served", description=sign.__doc__)
    signing.add_argument("--task", help="only this task (default: all)")
    signing.add_argument("--yes", action="store_true", help="sign without asking")
    signing.set_defaults(run=sign)
    verbs.add_parser("keys", help="list the public keys", description=keys.__doc__).set_defaults(run=keys)
    revoking = verbs.add_parser(
        "revoke",
        help="revoke a public key",
        description="Removes a public key. Versions that it signed do not serve any more, until they are signed again.",
    )
    revoking.add_argument("key", help="id of the key, as `ai-api versions keys` lists it")
    revoking.set_defaults(run=revoke)


COMMANDS = (
    Command(
        "versions",
        "sign versions, and manage the keys that verify signatures",
        "Signs versions of earlier releases, lists the public keys, and revokes one.",
        versions,
        _arguments,
    ),
)
