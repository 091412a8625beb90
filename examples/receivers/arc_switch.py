#!/usr/bin/env python3
"""Switches Route 53 ARC routing controls: the failed region off, the target on, in one request.

    webhook_receiver ... --exec 'python3 arc_switch.py arc.json'

arc.json names the five endpoints of the cluster and the routing control of each region:

    {"endpoints": {"us-west-2": "https://...", ...}, "routing_controls": {"us-east-1": "arn:...", ...}}

Only the data plane is used: the control plane (route53-recovery-control-config) lives in one region, perhaps in the one
that is down. Every endpoint is tried, those outside of the failed region first, until RETRY_FOR seconds (300) are over.
A safety rule that forbids the change is obeyed: then a person has to decide. Needs boto3, and VANTAGES as in
regionwatch_check.py.
"""
import json
import os
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from regionwatch_check import Final, switch

FINAL = {"ConflictException", "AccessDeniedException", "ValidationException", "ResourceNotFoundException"}
CONFIG = Config(connect_timeout=2, read_timeout=3, retries={"total_max_attempts": 1})


def attempt(region, url, wanted):
    """Sets the states and reads them back, by one endpoint."""
    client = boto3.client("route53-recovery-cluster", region_name=region, endpoint_url=url, config=CONFIG)
    entries = [{"RoutingControlArn": arn, "RoutingControlState": state} for arn, state in wanted.items()]
    client.update_routing_control_states(UpdateRoutingControlStateEntries=entries)
    found = {arn: client.get_routing_control_state(RoutingControlArn=arn)["RoutingControlState"] for arn in wanted}
    if found != wanted:
        raise OSError(f"the endpoint still reports {found}")


def main():
    failed, target = os.environ["PEER_REGION"], os.environ["FAILOVER_TARGET"]
    with open(sys.argv[1], encoding="utf-8") as file:
        config = json.load(file)
    controls = config["routing_controls"]
    wanted = {controls[failed]: "Off", controls[target]: "On"}
    endpoints = sorted(config["endpoints"].items(), key=lambda entry: entry[0] == failed)

    def act():
        for region, url in endpoints:
            try:
                attempt(region, url, wanted)
                return f"{failed} is off, {target} is on, by the endpoint in {region}"
            except ClientError as error:
                if error.response["Error"]["Code"] in FINAL:
                    raise Final(str(error)) from error
                print(f"{region}: {error}", file=sys.stderr)
            except (BotoCoreError, OSError) as error:
                print(f"{region}: {error}", file=sys.stderr)
        raise OSError("no endpoint made the change")

    return switch(failed, f"set {wanted}", act)


if __name__ == "__main__":
    sys.exit(main())
