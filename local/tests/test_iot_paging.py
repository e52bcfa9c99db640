"""AWS: lists come in pages; certificates newest first."""

from __future__ import annotations

import pytest

from local.tests.iot_refusals import refused
from local.tests.mqtt_device import allow_all, new_identity

MORE_THAN_A_PAGE = 27


@pytest.fixture
def iot(cloud):
    return cloud.client("iot")


def pages(call, items, limit="maxResults", token="nextToken", answer="nextToken", size=2, **request):
    """Every page's items, following the tokens."""
    found, following = [], {}
    while True:
        reply = call(**request, **following, **{limit: size})
        found.append(reply[items])
        if not reply.get(answer):
            return found
        following = {token: reply[answer]}


def test_the_lists_of_a_thing_and_its_principal_are_paged(cloud, iot, unique, tmp_path):
    thing = unique("light")
    iot.create_thing(thingName=thing)
    identities = [new_identity(cloud, tmp_path) for _ in range(3)]
    groups = [unique("group") for _ in range(3)]
    for identity in identities:
        iot.attach_thing_principal(thingName=thing, principal=identity.arn)
    for group in groups:
        iot.create_thing_group(thingGroupName=group)
        iot.add_thing_to_thing_group(thingGroupName=group, thingName=thing)
    principals = pages(iot.list_thing_principals, "principals", thingName=thing)
    assert [len(page) for page in principals] == [2, 1]
    assert {one for page in principals for one in page} == {identity.arn for identity in identities}
    kinds = pages(iot.list_thing_principals_v2, "thingPrincipalObjects", thingName=thing)
    assert [len(page) for page in kinds] == [2, 1]
    memberships = pages(iot.list_thing_groups_for_thing, "thingGroups", thingName=thing)
    assert [len(page) for page in memberships] == [2, 1]


def test_the_things_of_a_principal_and_of_a_group_are_paged(cloud, iot, unique, tmp_path):
    principal, group, billing = new_identity(cloud, tmp_path).arn, unique("group"), unique("billing")
    iot.create_thing_group(thingGroupName=group)
    iot.create_billing_group(billingGroupName=billing)
    for _ in range(3):
        thing = unique("light")
        iot.create_thing(thingName=thing, billingGroupName=billing)
        iot.attach_thing_principal(thingName=thing, principal=principal)
        iot.add_thing_to_thing_group(thingGroupName=group, thingName=thing)
    lists = [
        pages(iot.list_principal_things, "things", principal=principal),
        pages(iot.list_things_in_thing_group, "things", thingGroupName=group),
        pages(iot.list_things_in_billing_group, "things", billingGroupName=billing),
    ]
    assert all([len(page) for page in found] == [2, 1] and found == lists[0] for found in lists)


def test_a_list_without_a_limit_is_paged_too(iot, unique):
    group = unique("group")
    iot.create_thing_group(thingGroupName=group)
    for _ in range(MORE_THAN_A_PAGE):
        thing = unique("light")
        iot.create_thing(thingName=thing)
        iot.add_thing_to_thing_group(thingGroupName=group, thingName=thing)
    first = iot.list_things_in_thing_group(thingGroupName=group)
    assert len(first["things"]) < MORE_THAN_A_PAGE
    rest = iot.list_things_in_thing_group(thingGroupName=group, nextToken=first["nextToken"])
    assert len(first["things"] + rest["things"]) == MORE_THAN_A_PAGE
    assert len([thing for page in pages(iot.list_things, "things", size=20) for thing in page]) >= MORE_THAN_A_PAGE


def test_a_list_can_be_emptied_while_it_is_read(iot, unique):
    thing = unique("light")
    iot.create_thing(thingName=thing)
    for _ in range(5):
        group = unique("group")
        iot.create_thing_group(thingGroupName=group)
        iot.add_thing_to_thing_group(thingGroupName=group, thingName=thing)
    following = {}
    while True:
        reply = iot.list_thing_groups_for_thing(thingName=thing, maxResults=2, **following)
        for group in reply["thingGroups"]:
            iot.remove_thing_from_thing_group(thingGroupName=group["groupName"], thingName=thing)
        if "nextToken" not in reply:
            break
        following = {"nextToken": reply["nextToken"]}
    assert iot.list_thing_groups_for_thing(thingName=thing)["thingGroups"] == []


def test_certificates_come_newest_first(cloud, iot, tmp_path):
    made = [new_identity(cloud, tmp_path).certificate_id for _ in range(3)]
    found = pages(iot.list_certificates, "certificates", "pageSize", "marker", "nextMarker")
    newest_first = [one["certificateId"] for page in found for one in page]
    assert newest_first[:3] == made[::-1]
    found = pages(iot.list_certificates, "certificates", "pageSize", "marker", "nextMarker", ascendingOrder=True)
    assert [one["certificateId"] for page in found for one in page] == newest_first[::-1]


def test_attached_policies_are_paged(cloud, iot, unique, tmp_path):
    target = new_identity(cloud, tmp_path).arn
    for _ in range(3):
        allow_all(cloud, unique("all"), target)
    found = pages(iot.list_attached_policies, "policies", "pageSize", "marker", "nextMarker", target=target)
    assert [len(page) for page in found] == [2, 1]


def test_executions_of_a_thing_are_paged_and_cancelled(iot, unique):
    thing = unique("light")
    arn = iot.create_thing(thingName=thing)["thingArn"]
    jobs = [unique("job") for _ in range(3)]
    for job in jobs:
        iot.create_job(jobId=job, targets=[arn], document="{}")
    found = pages(iot.list_job_executions_for_thing, "executionSummaries", thingName=thing)
    assert [len(page) for page in found] == [2, 1]
    assert {one["jobId"] for page in found for one in page} == set(jobs)
    iot.cancel_job_execution(jobId=jobs[0], thingName=thing)
    queued = iot.list_job_executions_for_thing(thingName=thing, status="QUEUED")["executionSummaries"]
    assert {one["jobId"] for one in queued} == set(jobs[1:])


def test_a_limit_or_token_out_of_range_is_refused(iot):
    with refused("InvalidRequestException"):
        iot.list_things(maxResults=251)
    with refused("InvalidRequestException"):
        iot.list_things(nextToken="nonsense")
