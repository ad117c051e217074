"""Two people who change the same thing do not lose each other's change."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.data.world import World


def test_a_change_from_an_old_state_is_refused_and_changes_nothing(world: World) -> None:
    path = f"/users/{world.person().id}"
    seen = world.client.get(path, headers=world.admin.headers).headers["etag"]
    first = world.client.patch(path, json={"role": "trainer"}, headers={**world.admin.headers, "If-Match": seen})
    assert first.status_code == 200
    late = world.client.patch(path, json={"disabled": True}, headers={**world.admin.headers, "If-Match": seen})
    assert (late.status_code, late.json()["error"]) == (412, "ChangedMeanwhile")
    now = world.client.get(path, headers=world.admin.headers)
    assert (now.json()["role"], now.json()["disabled"]) == ("trainer", False)
    assert now.headers["etag"] == first.headers["etag"] != seen


def test_of_two_changes_at_once_from_one_state_one_is_refused(world: World) -> None:
    path = f"/users/{world.person().id}"
    headers = {**world.admin.headers, "If-Match": world.client.get(path, headers=world.admin.headers).headers["etag"]}
    with ThreadPoolExecutor(2) as threads:
        answers = list(
            threads.map(lambda name: world.client.patch(path, json={"name": name}, headers=headers), ("Ann", "Bea"))
        )
    assert sorted(answer.status_code for answer in answers) == [200, 412]


def test_a_thing_that_changed_is_not_deleted_by_whoever_has_not_seen_it(world: World) -> None:
    path = f"/users/{world.person().id}"
    seen = world.client.get(path, headers=world.admin.headers).headers["etag"]
    world.client.patch(path, json={"name": "Ann"}, headers=world.admin.headers)
    assert world.client.delete(path, headers={**world.admin.headers, "If-Match": seen}).status_code == 412
    assert world.client.delete(path, headers={**world.admin.headers, "If-Match": f'{seen}, "*", *'}).status_code == 204


def test_without_the_header_the_last_change_wins(world: World) -> None:
    path = f"/users/{world.person().id}"
    for name in ("Ann", "Bea"):
        assert world.client.patch(path, json={"name": name}, headers=world.admin.headers).status_code == 200
    assert world.client.get(path, headers=world.admin.headers).json()["name"] == "Bea"


def test_days_of_retention_have_a_state_too(world: World, task: str) -> None:
    path, body = f"/retention/{task}", {"predictions_days": 30, "examples_days": None}
    made = world.client.put(path, json=body, headers=world.admin.headers)
    seen = world.client.get(path, headers=world.admin.headers).headers["etag"]
    assert made.headers["etag"] == seen
    world.client.put(path, json={**body, "predictions_days": 60}, headers=world.admin.headers)
    stale = {**world.admin.headers, "If-Match": seen}
    assert world.client.put(path, json=body, headers=stale).status_code == 412
    assert world.client.delete(path, headers=stale).status_code == 412
    assert world.client.get(path, headers=world.admin.headers).json()["predictions_days"] == 60
