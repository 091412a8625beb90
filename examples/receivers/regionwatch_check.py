#!/usr/bin/env python3
"""Whether a region is down now. Exit status 0 if it is, 1 if it is not, 2 if that cannot be told: ask again.

    VANTAGES="https://regionwatch.eu-west-1.example.com https://regionwatch.eu-central-1.example.com" \
        regionwatch_check.py us-east-1

An alert is minutes old when it arrives late, and anyone who reaches Alertmanager can add one. So ask the vantages
themselves before anything is switched. The region is down now if at least MIN_VANTAGES (2) of them hold it down and none
reaches it. A vantage that does not answer within 5 seconds, answers with anything else, is isolated, or is the
region itself does not count. ENVIRONMENT, where you have one, must be that of the vantages. An order must begin before
EXPIRES_AT, by which it is void.

What an operator has ordered needs no outage. Its INCIDENT_ID is REGION-operator-TIME: then at least MIN_VANTAGES of the
vantages must order the failover of the region now, whether it is down or not.

Needs Python 3.9 and nothing else.
"""
import datetime
import json
import os
import sys
import threading
import time
import urllib.request

# Exit statuses.
DOWN, UP, UNCLEAR = 0, 1, 2
SKEW = datetime.timedelta(seconds=30)

# The longest answer of a vantage, in bytes, and how many seconds it may take.
LONGEST = 1 << 20
PATIENCE = 5


def expired(expires_at, now=None):
    """Whether an order is void. One without an end does not expire by itself: the vantages are asked anyway."""
    if not expires_at:
        return False
    try:
        end = datetime.datetime.fromisoformat(expires_at.replace("Z", "+00:00"))
        return (now or datetime.datetime.now(datetime.timezone.utc)) > end + SKEW
    except (TypeError, ValueError):
        # An end that nobody can read is none that was set by a vantage.
        return True


def fetch(url):
    with urllib.request.urlopen(url.rstrip("/") + "/api/v1/regions", timeout=PATIENCE) as answer:
        body = answer.read(LONGEST + 1)
    if len(body) > LONGEST:
        raise ValueError("the answer is too long")
    return json.loads(body)


def answers(ask, urls):
    """What ask() returned for each URL in time. A vantage that sends a byte now and then never ends a request, so
    nobody waits for its thread."""
    found, threads = [], [threading.Thread(target=lambda url=url: found.append(ask(url)), daemon=True) for url in urls]
    until = time.monotonic() + PATIENCE
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0, until - time.monotonic()))
    return list(found)


def down_now(region, urls, least=2, environment="", fetch=fetch, incident=""):
    """DOWN, UP or UNCLEAR, and why, for the log. Of what an operator has ordered, DOWN says that it is ordered now."""
    by_operator = incident.startswith(f"{region}-operator-")

    def opinion(url):
        try:
            message = fetch(url)
            vantage = message["vantage"]
            entry = next(peer for peer in message["peers"] if peer["region"] == region)
            if message["isolated"] or vantage == region or message.get("environment", "") != environment:
                return None
            if by_operator:
                says = "ordered" if entry.get("operator_order") is True else "not ordered"
                return (vantage, says) if isinstance(vantage, str) else None
            # "held" is missing in 0.2.0.
            held = entry["vote"] == "down" and entry.get("held", "incident" in entry) is True
            # By name: a load balancer in front of them shows the same vantage twice.
            return (vantage, "held" if held else entry["vote"]) if isinstance(vantage, str) else None
        except Exception:  # Whatever else a vantage sends says nothing about the region.
            return None

    opinions = [one for one in answers(opinion, urls) if one]
    if by_operator:
        ordered = sorted({name for name, one in opinions if one == "ordered"})
        if len(ordered) >= least:
            return DOWN, f"the failover of {region} is ordered by {', '.join(ordered)}, as an operator has commanded"
        # The others learn of the command within seconds.
        over = opinions and not ordered
        return (UP if over else UNCLEAR), f"the failover of {region} is ordered by {len(ordered)} of {len(urls)} vantages"
    reaches = sorted({name for name, one in opinions if one == "up"})
    held = sorted({name for name, one in opinions if one == "held"})
    if reaches:
        return UP, f"{region} is reached by {', '.join(reaches)}"
    if len(held) < least:
        return UNCLEAR, f"{region} is held down by {len(held)} of {len(urls)} vantages, and {least} are needed"
    return DOWN, f"{region} is held down by {', '.join(held)}"


def by_environment(region):
    """As above, with the settings of the process."""
    if expired(os.environ.get("EXPIRES_AT")):
        return UP, f"the order expired at {os.environ['EXPIRES_AT']}"
    urls = os.environ["VANTAGES"].split()
    least = int(os.environ.get("MIN_VANTAGES", "2"))
    environment, incident = os.environ.get("ENVIRONMENT", ""), os.environ.get("INCIDENT_ID", "")
    return down_now(region, urls, least, environment, incident=incident)


class Final(Exception):
    """What no repetition mends."""


def switch(failed, what, act):
    """Calls act() until it succeeds, until RETRY_FOR seconds (300) are over, or until the region is up again. act() returns what
    it did, or raises Final, or OSError where it may be repeated. Returns the exit status of a program."""
    until = time.monotonic() + float(os.environ.get("RETRY_FOR", "300"))
    while True:
        # Each round: what is repeated must still be right.
        state, why = by_environment(failed)
        print(why, file=sys.stderr)
        # What began in time goes on for as long as the vantages hold the region down.
        os.environ.pop("EXPIRES_AT", None)
        if state == UP:
            return 1
        if state == DOWN and os.environ.get("DRY_RUN") != "false":
            print(f"dry run: would {what}")
            return 0
        try:
            if state == DOWN:
                print(act())
                return 0
        except Final as error:
            print(f"refused: {error}", file=sys.stderr)
            return 1
        except OSError as error:
            print(error, file=sys.stderr)
        if time.monotonic() > until:
            print("nothing was changed in time: page a person", file=sys.stderr)
            return 1
        time.sleep(float(os.environ.get("PAUSE", "2")))


def main():
    try:
        state, why = by_environment(sys.argv[1])
    except Exception as error:
        # Python would end with 1, which says that the region is up.
        state, why = UNCLEAR, f"cannot ask: {error!r}"
    print(why, file=sys.stderr, flush=True)
    return state


if __name__ == "__main__":
    sys.exit(main())
