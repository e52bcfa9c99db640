"""Write the outputs of a deployed stack as the local cloud writes its own, for the same tests.

    python .ci/stack_outputs.py STACK FILE

The calls are made as whoever runs this; who that is must be allowed by the
stack's CallerPolicy, KeyReaderPolicy and TunnelPolicy.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import boto3


def main(stack_name: str, file: Path) -> None:
    """Ask CloudFormation, and add the caller's own credentials."""
    session = boto3.Session()
    credentials = session.get_credentials()
    if credentials is None:
        sys.exit("No AWS credentials were found.")
    frozen = credentials.get_frozen_credentials()
    stack = session.client("cloudformation").describe_stacks(StackName=stack_name)["Stacks"][0]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    file.parent.mkdir(parents=True, exist_ok=True)
    # The file holds credentials: nobody else may read it, from its first byte on.
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as opened:
        json.dump(
            {
                "aws_endpoint": None,
                "api_url": outputs["ApiUrl"],
                "region": session.region_name,
                "account": stack["StackId"].split(":")[4],
                "access_key_id": frozen.access_key,
                "secret_access_key": frozen.secret_key,
                "session_token": frozen.token,
                "mqtt_host": outputs["DataEndpoint"],
                "mqtt_port": 8883,
                "mqtt_ca": None,
                "stack": outputs,
            },
            opened,
            indent=2,
        )


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
