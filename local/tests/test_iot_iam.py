"""AWS: each IoT action is authorised on the resources that the Service Authorization Reference names, and no others."""

from __future__ import annotations

from typing import Any

import pytest

from local.tests.iot_refusals import refused
from local.tests.mqtt_device import new_identity

PREFIX = "arn:aws:iot:us-east-1:000000000000"
CERTIFICATE = f"{PREFIX}:cert/{{certificate}}"
GROUP = f"{PREFIX}:thinggroup/{{group}}"

# Service, operation, request, and the resources that the action is checked on.
CALLS: list[tuple[str, str, dict[str, Any], list[str]]] = [
    ("iot", "CreateThing", {"thingName": "{thing}"}, ["thing/{thing}"]),
    (
        "iot", "CreateThing",
        {"thingName": "{new}", "billingGroupName": "{billing}"},
        ["thing/{new}", "billinggroup/{billing}"],
    ),
    ("iot", "AttachPolicy", {"policyName": "{policy}", "target": GROUP}, ["thinggroup/{group}"]),
    ("iot", "AttachPolicy", {"policyName": "{policy}", "target": CERTIFICATE}, ["cert/{certificate}"]),
    ("iot", "ListAttachedPolicies", {"target": GROUP}, ["*"]),
    ("iot", "GetPolicy", {"policyName": "{policy}"}, ["policy/{policy}"]),
    ("iot", "AttachThingPrincipal", {"thingName": "{thing}", "principal": CERTIFICATE}, ["cert/{certificate}"]),
    ("iot", "DetachThingPrincipal", {"thingName": "{thing}", "principal": CERTIFICATE}, ["cert/{certificate}"]),
    ("iot", "ListPrincipalThings", {"principal": CERTIFICATE}, ["cert/{certificate}"]),
    ("iot", "ListPrincipalThingsV2", {"principal": CERTIFICATE}, ["cert/{certificate}"]),
    ("iot", "ListThingPrincipals", {"thingName": "{thing}"}, ["thing/{thing}"]),
    ("iot", "ListThingPrincipalsV2", {"thingName": "{thing}"}, ["thing/{thing}"]),
    ("iot", "GetEffectivePolicies", {"principal": CERTIFICATE}, ["cert/{certificate}"]),
    ("iot", "DescribeCertificate", {"certificateId": "{certificate}"}, ["cert/{certificate}"]),
    ("iot", "UpdateCertificate", {"certificateId": "{certificate}", "newStatus": "ACTIVE"}, ["cert/{certificate}"]),
    ("iot", "ListCertificates", {}, ["*"]),
    (
        "iot", "AddThingToThingGroup",
        {"thingName": "{thing}", "thingGroupName": "{group}"},
        ["thing/{thing}", "thinggroup/{group}"],
    ),
    (
        "iot", "UpdateThingGroupsForThing",
        {"thingName": "{thing}", "thingGroupsToAdd": ["{group}"]},
        ["thing/{thing}", "thinggroup/{group}"],
    ),
    (
        "iot", "AddThingToBillingGroup",
        {"thingName": "{thing}", "billingGroupName": "{billing}"},
        ["thing/{thing}", "billinggroup/{billing}"],
    ),
    ("iot", "DescribeBillingGroup", {"billingGroupName": "{billing}"}, ["billinggroup/{billing}"]),
    ("iot", "CancelJobExecution", {"thingName": "{thing}", "jobId": "{job}"}, ["job/{job}", "thing/{thing}"]),
    (
        "iot", "CreateJob",
        {"jobId": "{new}", "targets": [f"{PREFIX}:thing/{{thing}}"], "document": "{{}}"},
        ["job/{new}", "thing/{thing}"],
    ),
    ("iot", "CancelJob", {"jobId": "{new}"}, ["job/{new}"]),
    ("iot", "DeleteJob", {"jobId": "{new}"}, ["job/{new}"]),
    ("iot", "ListJobExecutionsForThing", {"thingName": "{thing}"}, ["thing/{thing}"]),
    ("iot", "DescribeEndpoint", {"endpointType": "iot:Data-ATS"}, ["*"]),
    ("iot-data", "DeleteConnection", {"clientId": "{thing}"}, ["client/{thing}"]),
    ("iot-data", "ListNamedShadowsForThing", {"thingName": "{thing}"}, ["thing/{thing}"]),
    ("iot-data", "DeleteThingShadow", {"thingName": "{thing}", "shadowName": "a"}, ["thing/{thing}"]),
    ("iot-data", "GetRetainedMessage", {"topic": "a/{thing}"}, ["topic/a/{thing}"]),
    ("iot-data", "Publish", {"topic": "a/{thing}"}, ["topic/a/{thing}"]),
    ("iotsecuretunneling", "ListTunnels", {}, ["*"]),
    ("iotsecuretunneling", "CloseTunnel", {"tunnelId": "{tunnel}"}, ["tunnel/{tunnel}"]),
]


@pytest.fixture(scope="module")
def names(cloud, tmp_path_factory) -> dict[str, str]:
    """One resource of each kind, which every call of the table is about."""
    iot = cloud.client("iot")
    made = {kind: f"iam-{kind}" for kind in ("thing", "new", "billing", "group", "policy", "job")}
    made["certificate"] = new_identity(cloud, tmp_path_factory.mktemp("iam")).certificate_id
    made["tunnel"] = cloud.client("iotsecuretunneling").open_tunnel()["tunnelId"]
    arn = iot.create_thing(thingName=made["thing"])["thingArn"]
    iot.create_billing_group(billingGroupName=made["billing"])
    iot.create_thing_group(thingGroupName=made["group"])
    document = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iot:*", "Resource": "*"}]}'
    iot.create_policy(policyName=made["policy"], policyDocument=document)
    iot.create_job(jobId=made["job"], targets=[arn], document="{}")
    return made


@pytest.mark.parametrize(("service", "operation", "request_", "resources"), CALLS)
def test_an_action_is_allowed_on_its_resources_and_denied_without_any_of_them(
    cloud, unique, names, service, operation, request_, resources,
):
    request = _filled(request_, names)
    arns = [resource if resource == "*" else f"{PREFIX}:{resource.format(**names)}" for resource in resources]
    for missing in arns:
        others = [arn for arn in arns if arn != missing] or [f"{PREFIX}:thing/another"]
        with refused("ForbiddenException" if service == "iot-data" else "AccessDeniedException"):
            _call(cloud, unique, service, operation, request, others)
    try:
        _call(cloud, unique, service, operation, request, arns)
    except cloud.client(service).exceptions.ResourceNotFoundException:
        pass  # Authorised, and nothing there.


def _filled(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(member, names) for key, member in value.items()}
    if isinstance(value, list):
        return [_filled(member, names) for member in value]
    return value.format(**names)


def _call(cloud, unique, service: str, operation: str, request: dict, resources: list[str]) -> None:
    statement = {"Effect": "Allow", "Action": f"iot:{operation}", "Resource": resources}
    client = cloud.as_role(unique("role"), [statement])(service)
    method = next(name for name, api in client.meta.method_to_api_mapping.items() if api == operation)
    getattr(client, method)(**request)
