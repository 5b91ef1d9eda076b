"""The calls of calls.mjs, made with `requests` and its OAuth 2.x extension `requests_oauth2client`."""

import hashlib
import json
import os
import time
from base64 import urlsafe_b64encode

import requests
from requests_oauth2client import BearerToken, ClientSecretBasic, DPoPKey, DPoPToken, OAuth2Client
from requests_oauth2client.dpop import InvalidUseDPoPNonceResponse

ISSUER, API, AUDIENCE = (os.environ[name] for name in ("ISSUER", "API", "AUDIENCE"))

dpop_client, bearer_client = (
    OAuth2Client.from_discovery_endpoint(issuer=ISSUER, auth=ClientSecretBasic(client_id, "secret"))
    for client_id in ("dpop-client", "bearer-client")
)


class LyingKey(DPoPKey):
    """Signs proofs that claim something else than the truth."""

    def __init__(self, key, *, age=0, **claims):
        super().__init__(private_key=key.private_key, alg=key.alg, iat_generator=lambda: int(time.time()) - age)
        self.claims = claims

    def proof(self, htm, htu, ath=None, nonce=None):
        return super().proof(**{"htm": htm, "htu": htu, "ath": ath, "nonce": nonce, **self.claims})


class Twice(requests.adapters.HTTPAdapter):
    """Sends the very same request twice and returns the second response."""

    def send(self, request, **options):
        super().send(request, **options)
        return super().send(request, **options)


def fresh(alg="ES256", resource=AUDIENCE, scope="read"):
    return dpop_client.client_credentials(scope, resource=resource, dpop_key=DPoPKey.generate(alg))


def with_key(token, key):
    return DPoPToken(access_token=token.access_token, _dpop_key=key)


def call(name, auth=None, method="GET", path="/orders", session=requests, **options):
    try:
        response = session.request(method, API + path, auth=auth, timeout=10, allow_redirects=False, **options)
    except InvalidUseDPoPNonceResponse as refusal:
        # The library takes every 401 that begins with `DPoP` for a wish for a nonce.
        response = refusal.response
    challenge = response.headers.get("WWW-Authenticate")
    print(json.dumps({"name": name, "status": response.status_code, "challenge": challenge}), flush=True)


def ath(token):
    return urlsafe_b64encode(hashlib.sha256(token.access_token.encode()).digest()).rstrip(b"=").decode()


def graft(token, other):
    header, payload, _ = token.access_token.split(".")
    return DPoPToken(access_token=".".join([header, payload, other.access_token.split(".")[2]]), _dpop_key=token.dpop_key)


mine, other = fresh(), fresh()
unbound = bearer_client.client_credentials("read", resource=AUDIENCE)

call("get", mine)
call("get with a query", mine, path="/orders?page=2&sort=-date")
call("get the root", mine, path="/")
call("get an escaped path", mine, path="/caf%C3%A9/~a%20b")
call("head", mine, "HEAD")
for method in ("POST", "PUT", "PATCH"):
    call(method.lower(), mine, method, json={"item": "tea"})
call("delete", mine, "DELETE")
for alg in ("PS256", "RS256", "EdDSA"):
    call(f"token signed with {alg}", fresh(resource=f"{AUDIENCE}/{alg.lower()}"))
call("proof signed with PS256", fresh("PS256"))
call("proof signed with Ed25519", fresh("EdDSA"))

call("no credentials")
call("token without a proof", headers={"Authorization": f"DPoP {mine.access_token}"})
call("token in the query", path=f"/orders?access_token={mine.access_token}")
call("stolen token as Bearer", BearerToken(mine.access_token))
call("proof by another key", with_key(mine, other.dpop_key))
with requests.Session() as session:
    session.mount("https://", Twice())
    call("proof used twice", mine, session=session)
call("proof for another method", with_key(mine, LyingKey(mine.dpop_key, htm="DELETE")))
call("proof for another path", with_key(mine, LyingKey(mine.dpop_key, htu=f"{API}/invoices")))
call("proof for another host", with_key(mine, LyingKey(mine.dpop_key, htu="https://elsewhere.example.com/orders")))
call("proof for another token", with_key(mine, LyingKey(mine.dpop_key, ath=ath(other))))
call("proof from ten minutes ago", with_key(mine, LyingKey(mine.dpop_key, age=600)))
call("proof from ten minutes ahead", with_key(mine, LyingKey(mine.dpop_key, age=-600)))
call("token with the signature of another", graft(mine, other))
call("token for another audience", fresh(resource="https://elsewhere.example.com"))
call("token without the scope", fresh(scope=None))
call("unbound token", unbound)
call("unbound token with a proof", with_key(unbound, mine.dpop_key))

call("get after all that", mine)
