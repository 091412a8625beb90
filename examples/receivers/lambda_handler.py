"""The failover webhook as an AWS Lambda: it takes each order once, and starts a Step Functions state machine for it.

Put it, the table and the state machine into a region that is not watched. Behind an API Gateway HTTP API with a Lambda
authorizer for the bearer token. Environment: VANTAGES, MIN_VANTAGES and ENVIRONMENT as in regionwatch_check.py; TABLE (a
DynamoDB table with the key "id", a string), STATE_MACHINE (its ARN). Orders of another ENVIRONMENT are skipped.

KEYS is JSON, each vantage with its public keys: {"eu-west-1": ["ed25519:..."], ...}. With it, an order needs the signatures of
MIN_SIGNATURES (2) vantages, and a layer with the package cryptography. Without it, every execution waits for approval.

One item of the table is the slot: at most one region of an environment is failed over. Whoever fails back deletes the
item. A call may end anywhere, by a throttled request, a timeout or a lost answer. Then it answers 5xx, the order comes
again, and each step is safe to repeat:

    read the slot   taken for this order or region and started: done. Taken for another region: refused. Taken for an order that
                    waits for approval: one that needs none takes its place. Taken and not started: a later order finishes that
                    for FRESH seconds if it needs no more approval itself, and otherwise takes its place
    verify          too few signatures: refused, and a copy with more may come
    ask vantages    not down now: refused
    take the slot   a conditional write: only if that is still so
    start           the execution is named after the order: Step Functions starts no name twice
    note the start  so that a later copy of the order is answered without asking anyone
"""
import base64
import hashlib
import json
import os
import time

import boto3
from botocore.config import Config

from regionwatch_check import DOWN, down_now, expired

CONFIG = Config(connect_timeout=2, read_timeout=3, retries={"total_max_attempts": 1})
# For so many seconds after it took the slot, an order whose start failed is finished. Later, its target may be wrong.
FRESH = 300
states = boto3.client("stepfunctions", config=CONFIG)
dynamodb = boto3.client("dynamodb", config=CONFIG)


def keyrings():
    """One dictionary of keys for each place in a vantage's list: a vantage that changes its key has two."""
    keys = json.loads(os.environ.get("KEYS", "{}"))
    return [{name: own[n] for name, own in keys.items() if n < len(own)} for n in range(max(map(len, keys.values()), default=0))]


def signed_by(alert, rings):
    if not rings:
        return set()
    from regionwatch_signatures import signers

    try:
        return set().union(*(signers(alert, keys) for keys in rings))
    except Exception as error:  # Anyone can add an alert: it must not stop the orders beside it.
        print(f"the signatures of an alert cannot be read: {error!r}")
        return set()


def orders(webhook):
    """What is to be executed: firing, no drill, and of each region the order with the best proof, so that none that someone
    planted hides it."""
    found, rings = {}, keyrings()
    for alert in sorted(webhook["alerts"], key=lambda alert: alert["startsAt"]):
        labels, notes = alert["labels"], alert.get("annotations", {})
        real = labels.get("failover") == "true" and labels.get("drill") == "false" and labels.get("stage") == "execute"
        if alert["status"] == "firing" and real:
            pushed = labels.get("source") == "push"
            # Alerts of the rules have no incident_id. With the start, the next incident is another order.
            key = (notes.get("incident_id") if pushed else "") or f"{labels['peer_region']} {alert['startsAt']}"
            order = {
                "key": f"{labels.get('environment', '')} {key}",
                "environment": labels.get("environment", ""),
                "region": labels["peer_region"],
                "target": notes.get("failover_target", ""),
                "expires_at": notes.get("expires_at", ""),
                # Orders by rules carry no signature: the state machine waits for a person first.
                "approval": not pushed or not rings,
                "signers": sorted(signed_by(alert, rings)) if pushed else [],
            }
            # Enough signatures, then a request for approval, then too few; the earlier one of equals.
            rank = (2 if is_signed(order) else int(order["approval"]), len(order["signers"]), pushed)
            place = order["environment"], order["region"]
            if place not in found or found[place][0] < rank:
                found[place] = rank, order
    return [order for _, order in found.values()]


def least():
    return int(os.environ.get("MIN_SIGNATURES", "2"))


def is_signed(order):
    return not order["approval"] and len(order["signers"]) >= least()


def finishes(taken, order):
    """Whether an order lets start what took the slot. One without proof must not start what was signed long ago."""
    age = time.time() - float(taken["taken_at"]["N"]) if "taken_at" in taken else FRESH
    return age < FRESH and ("approval" in taken or not order["approval"])


def take(order):
    """Starts the failover, or says why not: (status, reason). 503 asks Alertmanager to send the order again."""
    environment, table = os.environ.get("ENVIRONMENT", ""), os.environ["TABLE"]
    if environment and order["environment"] != environment:
        return 200, f"skipped: it is of the environment {order['environment']!r}"
    slot = {"id": {"S": f"slot {environment}"}}
    taken = dynamodb.get_item(TableName=table, Key=slot, ConsistentRead=True).get("Item")
    if taken and taken["region"]["S"] != order["region"]:
        return 503, f"{taken['region']['S']} is failed over already, and was not released"
    # Nobody may have to approve what enough vantages have signed.
    replaces = bool(taken) and "approval" in taken and is_signed(order)
    if taken and "started" in taken and not replaces:
        return 200, "known"
    if not order["approval"] and not is_signed(order):
        return 503, f"signed by {len(order['signers'])} known vantages, and {least()} are needed"
    if expired(order["expires_at"]):
        return 503, f"expired at {order['expires_at']}"
    vantages = os.environ["VANTAGES"].split()
    incident = order["key"].partition(" ")[2]
    state, why = down_now(order["region"], vantages, int(os.environ.get("MIN_VANTAGES", "2")), environment, incident=incident)
    if state != DOWN:
        return 503, why
    taken_at, condition = str(int(time.time())), "attribute_not_exists(id) OR #key = :key"
    if taken and not replaces and finishes(taken, order):
        # Another copy came this far, perhaps with another key.
        order, taken_at = json.loads(taken["order"]["S"]), taken["taken_at"]["N"]
    elif taken:
        condition = "#key = :key" if replaces else "#key = :key AND attribute_not_exists(started)"
    text = json.dumps(order, sort_keys=True)
    item = {**slot, "region": {"S": order["region"]}, "key": {"S": order["key"]}, "order": {"S": text}}
    item["taken_at"] = {"N": taken_at}
    if order["approval"]:
        item["approval"] = {"BOOL": True}
    try:
        dynamodb.put_item(
            TableName=table,
            Item=item,
            ConditionExpression=condition,
            ExpressionAttributeNames={"#key": "key"},
            ExpressionAttributeValues={":key": taken["key"] if taken else item["key"]},
        )
    except dynamodb.exceptions.ConditionalCheckFailedException:
        return 503, "the slot was taken meanwhile"
    # What waits is another execution than what does not, even of one order.
    name = "regionwatch-" + hashlib.sha256(order["key"].encode()).hexdigest()[:40] + ("-approval" if order["approval"] else "")
    try:
        states.start_execution(stateMachineArn=os.environ["STATE_MACHINE"], name=name, input=text)
    except states.exceptions.ExecutionAlreadyExists:
        pass
    dynamodb.update_item(
        TableName=table, Key=slot, UpdateExpression="SET started = :yes", ConditionExpression="#key = :key",
        ExpressionAttributeNames={"#key": "key"},
        ExpressionAttributeValues={":yes": {"BOOL": True}, ":key": {"S": order["key"]}},
    )
    return 200, f"started {name}"


def handler(event, context):
    body = event["body"]
    if event.get("isBase64Encoded"):
        body = base64.b64decode(body)
    results = []
    for order in orders(json.loads(body)):
        # What is raised here (throttled, timed out, no such table) is a 5xx, and Alertmanager sends the order again.
        status, why = take(order)
        print(json.dumps({"order": order["key"], "status": status, "why": why}))
        results.append({"status": status, "order": order["key"], "why": why})
    return {"statusCode": max([one["status"] for one in results], default=200), "body": json.dumps(results)}
