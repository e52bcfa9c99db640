"""AWS: a tunnel lives 1 to 720 minutes, and once closed it stays closed; one is opened a second."""

from __future__ import annotations

import time

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from ministack.core.responses import request_scope

from local import iot_tunnels
from local.tests.iot_refusals import refused
from local.tests.mqtt_device import Device, allow_all, new_identity


@pytest.fixture
def tunnels(cloud):
    return cloud.client("iotsecuretunneling")


def opening(client, **request):
    """OpenTunnel, once it is its turn."""
    while True:
        try:
            return client.open_tunnel(**request)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ThrottlingException":
                raise
            time.sleep(0.2)


def for_thing(thing: str) -> dict:
    return {"destinationConfig": {"thingName": thing, "services": ["SSH"]}}


def test_a_tunnel_is_opened_and_closed_for_good(tunnels):
    opened = opening(tunnels, description="tonight", timeoutConfig={"maxLifetimeTimeoutMinutes": 60})
    which = {"tunnelId": opened["tunnelId"]}
    assert opened["sourceAccessToken"] != opened["destinationAccessToken"]
    tunnel = tunnels.describe_tunnel(**which)["tunnel"]
    assert (tunnel["status"], tunnel["description"]) == ("OPEN", "tonight")
    tunnels.close_tunnel(**which)
    assert tunnels.describe_tunnel(**which)["tunnel"]["status"] == "CLOSED"
    tunnels.close_tunnel(**which)
    with refused("ResourceNotFoundException"):
        tunnels.rotate_tunnel_access_token(**which, clientMode="ALL")
    tunnels.close_tunnel(**which, delete=True)
    with refused("ResourceNotFoundException"):
        tunnels.describe_tunnel(**which)


@pytest.mark.parametrize(("minutes", "accepted"), [(0, False), (1, True), (720, True), (721, False)])
def test_the_lifetime_has_limits(cloud, minutes, accepted):
    unchecked = boto3.client(
        "iotsecuretunneling", endpoint_url=cloud.endpoint, region_name=cloud.region,
        aws_access_key_id="test", aws_secret_access_key="test", config=Config(parameter_validation=False),
    )
    request = {"timeoutConfig": {"maxLifetimeTimeoutMinutes": minutes}}
    if accepted:
        opening(unchecked, **request)
    else:
        with refused("ValidationException"):
            opening(unchecked, **request)


def test_rotation_replaces_the_tokens_of_the_sides_it_names(tunnels):
    opened = opening(tunnels)
    rotated = tunnels.rotate_tunnel_access_token(tunnelId=opened["tunnelId"], clientMode="SOURCE")
    assert rotated["sourceAccessToken"] != opened["sourceAccessToken"]
    assert "destinationAccessToken" not in rotated


def test_one_is_opened_a_second(tunnels):
    opening(tunnels)
    with refused("ThrottlingException"):
        tunnels.open_tunnel()


def test_the_tunnels_of_a_thing_are_listed_newest_first_in_pages(tunnels, unique):
    thing = unique("light")
    opened = [opening(tunnels, **for_thing(thing))["tunnelId"] for _ in range(3)]
    opening(tunnels, **for_thing(unique("light")))
    first = tunnels.list_tunnels(thingName=thing, maxResults=2)
    second = tunnels.list_tunnels(thingName=thing, maxResults=2, nextToken=first["nextToken"])
    found = [one["tunnelId"] for one in first["tunnelSummaries"] + second["tunnelSummaries"]]
    assert found == opened[::-1]
    assert "nextToken" not in second


def test_the_device_is_told(cloud, tunnels, unique, tmp_path):
    thing, identity = unique("light"), new_identity(cloud, tmp_path)
    allow_all(cloud, unique("all"), identity.arn)
    with Device(cloud, thing, identity) as device:
        assert device.connect()
        assert device.subscribe(f"$aws/things/{thing}/tunnels/notify")
        opened = opening(tunnels, **for_thing(thing))
        _, message = device.receive()
        where = for_thing(thing)["destinationConfig"]
        which = {"tunnelId": opened["tunnelId"]}
        rotated = tunnels.rotate_tunnel_access_token(**which, clientMode="ALL", destinationConfig=where)
        _, again = device.receive()
        with refused("ValidationException"):
            tunnels.rotate_tunnel_access_token(**which, clientMode="SOURCE", destinationConfig=where)
    assert again["clientAccessToken"] == rotated["destinationAccessToken"]
    assert message["clientAccessToken"] == opened["destinationAccessToken"]
    assert (message["clientMode"], message["services"]) == ("destination", ["SSH"])


def test_tunnels_are_tagged(tunnels):
    arn = opening(tunnels, tags=[{"key": "reason", "value": "repair"}])["tunnelArn"]
    tunnels.tag_resource(resourceArn=arn, tags=[{"key": "who", "value": "anna"}])
    tunnels.untag_resource(resourceArn=arn, tagKeys=["reason"])
    assert tunnels.list_tags_for_resource(resourceArn=arn)["tags"] == [{"key": "who", "value": "anna"}]


def test_a_tunnel_that_outlived_its_time_is_closed():
    with request_scope("000000000000", "us-east-1"):
        opened = iot_tunnels._open({"timeoutConfig": {"maxLifetimeTimeoutMinutes": 1}})
        which = {"tunnelId": opened["tunnelId"]}
        iot_tunnels._TUNNELS[opened["tunnelId"]]["createdAt"] -= 61
        assert iot_tunnels._describe(which)["tunnel"]["status"] == "CLOSED"
        with pytest.raises(iot_tunnels.Refused):
            iot_tunnels._rotate({**which, "clientMode": "ALL"})
