"""AWS: audit findings are listed by check, task, resource and time, the latest first."""

from __future__ import annotations

import pytest

from local.tests.controls import control
from local.tests.iot_refusals import refused

EXPIRING = "DEVICE_CERTIFICATE_EXPIRING_CHECK"


@pytest.fixture
def plant(cloud):
    control(cloud, "DELETE", "audit-findings")

    def make(certificate: str, **more) -> dict:
        resource = {"resourceType": "DEVICE_CERTIFICATE", "resourceIdentifier": {"deviceCertificateId": certificate}}
        status, finding = control(cloud, "POST", "audit-findings", {
            "checkName": EXPIRING, "nonCompliantResource": resource, **more})
        assert status == 200, finding
        return finding

    return make


@pytest.mark.parametrize(("asked", "found"), [
    ({}, ["3", "2", "1"]),
    ({"checkName": EXPIRING}, ["2", "1"]),
    ({"taskId": "t1"}, ["1"]),
    ({"resourceIdentifier": {"deviceCertificateId": "b" * 64}}, ["2"]),
    ({"startTime": 1500, "endTime": 2500}, ["2"]),
    ({"listSuppressedFindings": True}, ["4", "3", "2", "1"]),
])
def test_findings_are_listed(cloud, plant, asked, found):
    plant("a" * 64, findingId="1", taskId="t1", findingTime=1000)
    plant("b" * 64, findingId="2", findingTime=2000)
    plant("c" * 64, findingId="3", findingTime=3000, checkName="REVOKED_DEVICE_CERTIFICATE_STILL_ACTIVE_CHECK")
    plant("d" * 64, findingId="4", findingTime=4000, isSuppressed=True, checkName="OTHER")
    listed = cloud.client("iot").list_audit_findings(**asked)["findings"]
    assert [finding["findingId"] for finding in listed] == found


def test_findings_come_in_pages(cloud, plant):
    for number in range(5):
        plant("a" * 64, findingId=str(number), findingTime=number)
    pages = cloud.client("iot").get_paginator("list_audit_findings").paginate(PaginationConfig={"PageSize": 2})
    assert [[finding["findingId"] for finding in page["findings"]] for page in pages] == [["4", "3"], ["2", "1"], ["0"]]


def test_one_finding_is_described(cloud, plant):
    planted = plant("a" * 64, reasonForNonComplianceCode="CERTIFICATE_APPROACHING_EXPIRATION", severity="HIGH")
    shown = cloud.client("iot").describe_audit_finding(findingId=planted["findingId"])["finding"]
    assert (shown["reasonForNonComplianceCode"], shown["severity"]) == ("CERTIFICATE_APPROACHING_EXPIRATION", "HIGH")
    with refused("ResourceNotFoundException"):
        cloud.client("iot").describe_audit_finding(findingId="none")


def test_a_task_and_a_time_exclude_each_other(cloud, plant):
    with refused("InvalidRequestException"):
        cloud.client("iot").list_audit_findings(taskId="t1", startTime=1, endTime=2)


def test_listing_needs_the_permission(cloud, plant, unique):
    allowed = cloud.as_role(unique("auditor"), [{"Effect": "Allow", "Action": "iot:ListAuditFindings", "Resource": "*"}])
    assert allowed("iot").list_audit_findings()["findings"] == []
    stranger = cloud.as_role(unique("stranger"), [{"Effect": "Allow", "Action": "iot:ListThings", "Resource": "*"}])
    with refused("AccessDeniedException"):
        stranger("iot").list_audit_findings()


@pytest.mark.parametrize("finding", [{}, {"checkName": EXPIRING}, {"nonCompliantResource": {}}])
def test_half_a_finding_is_not_planted(cloud, finding):
    assert control(cloud, "POST", "audit-findings", finding)[0] == 400
