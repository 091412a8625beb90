#!/usr/bin/env python3
"""Disables the failed region's pool of a Cloudflare load balancer, so that its traffic goes to the other pools.

    webhook_receiver ... --exec 'python3 cloudflare_switch.py cloudflare.json'

    {"account": "...", "token_file": "/etc/regionwatch/cloudflare-token", "pools": {"us-east-1": "POOL ID", ...}}

The pool of the target must be enabled and healthy, or nothing is changed. Requests are repeated after 429 and 5xx, until
RETRY_FOR seconds (300) are over. Needs Python 3.9, and VANTAGES as in regionwatch_check.py.
"""
import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.request

from regionwatch_check import Final, switch


def call(config, token, method, pool, body=None):
    """One request about a pool. OSError where it may be repeated."""
    base = config.get("api", "https://api.cloudflare.com/client/v4")
    request = urllib.request.Request(
        f"{base}/accounts/{config['account']}/load_balancers/pools/{pool}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            envelope = json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code == 429 or error.code >= 500:
            pause = error.headers.get("Retry-After", "")
            # It may be a date.
            time.sleep(min(int(pause), 10) if pause.isdecimal() else 0)
            raise
        raise Final(f"{method} of the pool {pool}: {error.code} {error.read().decode(errors='replace')}") from error
    except (ValueError, http.client.HTTPException) as error:
        raise OSError(f"no answer in JSON: {error!r}") from error
    # Errors also come with the status 200.
    if not envelope.get("success"):
        raise OSError(f"{method} of the pool {pool}: {envelope.get('errors')}")
    return envelope["result"]


def attempt(config, token, failed, target):
    pool = call(config, token, "GET", target)
    if not pool["enabled"] or not pool.get("healthy", True):
        raise Final("the pool of the target is disabled or unhealthy")
    if call(config, token, "GET", failed)["enabled"]:
        call(config, token, "PATCH", failed, {"enabled": False})
    if call(config, token, "GET", failed)["enabled"]:
        raise OSError("the pool is still enabled")


def main():
    failed, target = os.environ["PEER_REGION"], os.environ["FAILOVER_TARGET"]
    with open(sys.argv[1], encoding="utf-8") as file:
        config = json.load(file)
    with open(config["token_file"], encoding="utf-8") as file:
        token = file.read().strip()
    pools = config["pools"]

    def act():
        attempt(config, token, pools[failed], pools[target])
        return f"the pool of {failed} is disabled"

    return switch(failed, f"disable the pool of {failed}", act)


if __name__ == "__main__":
    sys.exit(main())
