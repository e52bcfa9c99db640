"""Whose policies decide what an MQTT connection may do.

AWS IoT Core Developer Guide, "Attach a policy to a thing group", "Thing policy
variables", "X.509 Certificate AWS IoT Core policy variables" and "Associating
an AWS IoT thing to an MQTT client connection":

* The policies of a connection are those of its certificate and, while its
  client id is the name of a thing its certificate is attached to, those of the
  thing's groups and of every group above them. A Deny wins; without an Allow
  the packet is refused.
* A connection belongs to the thing named by its client id if the certificate
  is attached to it, and to the thing the certificate is attached to
  exclusively whatever the client id. Only then do the thing's policy variables
  have values.

The emulator looks at the certificate's own policies alone and knows four
variables. Memberships and attachments are read on every packet here, so that a
change shows at once, where AWS takes up to some minutes.
"""

from __future__ import annotations

import re
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID
from ministack.core.iam_evaluator import EvalContext, evaluate
from ministack.core.responses import request_scope
from ministack.services import iot

from local.iot_policies import default_document, policies_in_force
from local.iot_principals import exclusive_thing, is_attached

_VARIABLE = re.compile(r"\$\{(iot:[A-Za-z0-9.]+(?:\[[^\]]+\])?)\}")

_NAME_PARTS = {
    "distinguishednamequalifier": NameOID.DN_QUALIFIER,
    "country": NameOID.COUNTRY_NAME,
    "organization": NameOID.ORGANIZATION_NAME,
    "organizationalunit": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "state": NameOID.STATE_OR_PROVINCE_NAME,
    "commonname": NameOID.COMMON_NAME,
    "serialnumber": NameOID.SERIAL_NUMBER,
    "title": NameOID.TITLE,
    "surname": NameOID.SURNAME,
    "givenname": NameOID.GIVEN_NAME,
    "initials": NameOID.INITIALS,
    "pseudonym": NameOID.PSEUDONYM,
    "generationqualifier": NameOID.GENERATION_QUALIFIER,
}


def install() -> None:
    iot._POLICY_VARIABLE_RE = _VARIABLE
    iot._mqtt_policy_context = policy_variables
    iot._mqtt_policy_allows = allows


def policy_variables(account_id: str, region: str, certificate_id: str, client_id: str) -> dict[str, str]:
    """The policy variables of a connection, keyed in lower case as the evaluator looks them up."""
    with request_scope(account_id, region):
        certificate = iot._certificates.get(certificate_id) or {}
        thing = _thing_of_connection(certificate, client_id)
    variables = {
        "iot:clientid": client_id,
        "iot:certificateid": certificate_id,
        "iot:connection.thing.isattached": str(thing is not None).lower(),
    }
    if thing is not None:
        variables["iot:connection.thing.thingname"] = thing["thingName"]
        if thing.get("thingTypeName"):
            variables["iot:connection.thing.thingtypename"] = thing["thingTypeName"]
        for name, value in (thing.get("attributes") or {}).items():
            variables[f"iot:connection.thing.attributes[{name.lower()}]"] = value
    if certificate.get("certificatePem"):
        variables |= _certificate_variables(certificate["certificatePem"])
    return variables


def allows(
    account_id: str,
    region: str,
    certificate_id: str,
    context: dict[str, str],
    action: str,
    resource: str,
    provisioning_template: str | None = None,
) -> bool:
    """Whether the policies in force for the connection allow `action` on `resource`."""
    if provisioning_template is not None:
        documents = [iot._provisioning_claim_policy(provisioning_template)]
    else:
        with request_scope(account_id, region):
            documents = _documents(certificate_id, context["iot:clientid"])
    request = EvalContext(
        principal_arn=f"arn:aws:iot:{region}:{account_id}:cert/{certificate_id}",
        principal_type="Certificate",
        principal_account=account_id,
        action=action,
        resource_arn=f"arn:aws:iot:{region}:{account_id}:{resource}",
        region=region,
        service_context=context,
    )
    variables = tuple(sorted(_substitutable(context).items()))
    statements = [iot._parsed_iot_policy(document, variables) for document in documents]
    return evaluate(request, statements).decision == "Allow"


def _documents(certificate_id: str, client_id: str) -> list[str]:
    certificate = iot._certificates.get(certificate_id)
    if certificate is None:
        return []
    thing_name = client_id if is_attached(certificate, client_id) else None
    return [default_document(policy) for policy in policies_in_force(certificate["certificateArn"], thing_name)]


def _thing_of_connection(certificate: dict[str, Any], client_id: str) -> dict[str, Any] | None:
    if is_attached(certificate, client_id):
        return iot._things.get(client_id)
    name = exclusive_thing(certificate)
    return iot._things.get(name) if name else None


def _substitutable(context: dict[str, str]) -> dict[str, str]:
    """The variables that may stand in a Resource.

    The evaluator cannot escape a wildcard, so a client that calls itself `*`
    would be given every topic; a variable with a wildcard in its value is left
    unresolved instead, and matches nothing.
    """
    return {name: value for name, value in context.items() if not re.search(r"[*?]", value)}


def _certificate_variables(pem: str) -> dict[str, str]:
    certificate = x509.load_pem_x509_certificate(pem.encode())
    variables = {}
    for role, name in (("subject", certificate.subject), ("issuer", certificate.issuer)):
        for part, oid in _NAME_PARTS.items():
            values = [str(attribute.value) for attribute in name.get_attributes_for_oid(oid)]
            for index, value in enumerate(values):
                variables[f"iot:certificate.{role}.{part}.{index}"] = value
            if values:
                variables[f"iot:certificate.{role}.{part}"] = values[0]
    return variables
