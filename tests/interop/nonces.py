"""The calls of nonces.mjs, made with `requests` and `requests_oauth2client`."""

import json
import os

import requests
from requests_oauth2client import ClientSecretBasic, DPoPKey, OAuth2Client

ISSUER, API, AUDIENCE = (os.environ[name] for name in ("ISSUER", "API", "AUDIENCE"))


class Counting(requests.adapters.HTTPAdapter):
    attempts = 0

    def send(self, request, **options):
        Counting.attempts += 1
        return super().send(request, **options)


client = OAuth2Client.from_discovery_endpoint(issuer=ISSUER, auth=ClientSecretBasic("dpop-client", "secret"))
token = client.client_credentials("read", resource=AUDIENCE, dpop_key=DPoPKey.generate("ES256"))

with requests.Session() as session:
    session.mount("https://", Counting())
    for number in range(1, 11):
        Counting.attempts = 0
        # Each attempt over a connection of its own.
        response = session.get(f"{API}/orders/{number}", auth=token, headers={"Connection": "close"}, timeout=10)
        print(json.dumps({"name": f"call {number}", "status": response.status_code, "attempts": Counting.attempts}))
