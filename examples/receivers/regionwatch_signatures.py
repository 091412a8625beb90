"""Which vantages have signed an order: docs/webhook.md shows this function. Needs the package cryptography."""
import base64, datetime, json

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def signers(alert, keys, max_age=60, skew=30):
    """The vantages whose fresh signatures the alert carries; keys maps a vantage to its "ed25519:..."."""
    labels, valid = alert["labels"], set()
    values = [labels.get("environment", ""), labels["peer_region"], labels["stage"], labels.get("drill", "")]
    annotation = alert["annotations"].get("signatures", "[]")
    try:
        # Anyone can add an alert. Many brackets in a row are a RecursionError.
        signatures = json.loads(annotation) if len(annotation) <= 16_384 else []
    except (ValueError, RecursionError):
        return valid
    for signed in signatures[:16] if isinstance(signatures, list) else []:
        try:
            vantage, at = signed["vantage"], signed["at"]
            lines = ["regionwatch-order-v1"]
            lines += [f"{k}={v}" for k, v in zip(["environment", "region", "stage", "drill", "at"], [*values, at])]
            if any("\n" in line for line in lines):
                continue
            key = base64.b64decode(keys[vantage].removeprefix("ed25519:"), validate=True)
            text = "\n".join(lines) + "\n"
            Ed25519PublicKey.from_public_bytes(key).verify(base64.b64decode(signed["signature"]), text.encode())
            signed_at = datetime.datetime.fromisoformat(at.replace("Z", "+00:00"))
            age = (datetime.datetime.now(datetime.timezone.utc) - signed_at).total_seconds()
            if -skew <= age <= max_age + skew:
                valid.add(vantage)
        except (InvalidSignature, AttributeError, KeyError, TypeError, ValueError):
            continue
    return valid
