"""ETag and If-Match: two people who change the same thing do not overwrite each other's change."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.data.api import ApiClient


def test_a_change_with_an_outdated_etag_is_refused_and_changes_nothing(api: ApiClient) -> None:
    path = f"/users/{api.person().id}"
    seen = api.client.get(path, headers=api.admin.headers).headers["etag"]
    first = api.client.patch(path, json={"role": "trainer"}, headers={**api.admin.headers, "If-Match": seen})
    assert first.status_code == 200
    late = api.client.patch(path, json={"disabled": True}, headers={**api.admin.headers, "If-Match": seen})
    assert (late.status_code, late.json()["error"]) == (412, "ChangedMeanwhile")
    now = api.client.get(path, headers=api.admin.headers)
    assert (now.json()["role"], now.json()["disabled"]) == ("trainer", False)
    assert now.headers["etag"] == first.headers["etag"] != seen


def test_one_of_two_concurrent_changes_with_one_etag_is_refused(api: ApiClient) -> None:
    path = f"/users/{api.person().id}"
    headers = {**api.admin.headers, "If-Match": api.client.get(path, headers=api.admin.headers).headers["etag"]}
    with ThreadPoolExecutor(2) as threads:
        responses = list(
            threads.map(lambda name: api.client.patch(path, json={"name": name}, headers=headers), ("Ann", "Bea"))
        )
    assert sorted(response.status_code for response in responses) == [200, 412]


def test_a_deletion_with_an_outdated_etag_is_refused(api: ApiClient) -> None:
    path = f"/users/{api.person().id}"
    seen = api.client.get(path, headers=api.admin.headers).headers["etag"]
    api.client.patch(path, json={"name": "Ann"}, headers=api.admin.headers)
    assert api.client.delete(path, headers={**api.admin.headers, "If-Match": seen}).status_code == 412
    assert api.client.delete(path, headers={**api.admin.headers, "If-Match": f'{seen}, "*", *'}).status_code == 204


def test_without_the_header_the_last_change_wins(api: ApiClient) -> None:
    path = f"/users/{api.person().id}"
    for name in ("Ann", "Bea"):
        assert api.client.patch(path, json={"name": name}, headers=api.admin.headers).status_code == 200
    assert api.client.get(path, headers=api.admin.headers).json()["name"] == "Bea"


def test_retention_has_an_etag_too(api: ApiClient, task: str) -> None:
    path, body = f"/retention/{task}", {"predictions_days": 30, "examples_days": None}
    made = api.client.put(path, json=body, headers=api.admin.headers)
    seen = api.client.get(path, headers=api.admin.headers).headers["etag"]
    assert made.headers["etag"] == seen
    api.client.put(path, json={**body, "predictions_days": 60}, headers=api.admin.headers)
    stale = {**api.admin.headers, "If-Match": seen}
    assert api.client.put(path, json=body, headers=stale).status_code == 412
    assert api.client.delete(path, headers=stale).status_code == 412
    assert api.client.get(path, headers=api.admin.headers).json()["predictions_days"] == 60
