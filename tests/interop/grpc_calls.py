"""Calls of gRPC through the gateway, with proofs of `requests_oauth2client` in their metadata."""

import base64
import hashlib
import json
import os
import queue

import grpc
from requests_oauth2client import ClientSecretBasic, DPoPKey, OAuth2Client

ISSUER, API, AUDIENCE = (os.environ[name] for name in ("ISSUER", "API", "AUDIENCE"))
PATIENCE = 60

key = DPoPKey.generate("ES256")
client = OAuth2Client.from_discovery_endpoint(issuer=ISSUER, auth=ClientSecretBasic("dpop-client", "secret"))


def token(scope):
    return client.client_credentials(scope, resource=AUDIENCE, dpop_key=key).access_token


def credentials(method, access_token):
    proof = key.proof(htm="POST", htu=f"{API}/orders.Orders/{method}", ath=ath(access_token))
    return (("authorization", f"DPoP {access_token}"), ("dpop", str(proof)))


def ath(access_token):
    return base64.urlsafe_b64encode(hashlib.sha256(access_token.encode()).digest()).rstrip(b"=").decode()


def report(name, code, **more):
    print(json.dumps({"name": name, "code": code.name, **more}), flush=True)


def unary(name, method, metadata):
    call = channel.unary_unary(f"/orders.Orders/{method}")
    try:
        answer, outcome = call.with_call(name.encode(), metadata=metadata, timeout=PATIENCE)
        trailers = {field.key: field.value for field in outcome.trailing_metadata()}
        report(name, outcome.code(), echoed=answer == name.encode(), trailers=trailers)
    except grpc.RpcError as error:
        report(name, error.code(), details=error.details())


def stream(name, metadata):
    """Each message is answered before the next one is sent."""
    messages = queue.SimpleQueue()
    answers = channel.stream_stream("/orders.Orders/Chat")(iter(messages.get, None), metadata=metadata, timeout=PATIENCE)
    echoed = 0
    for number in range(5):
        messages.put(str(number).encode())
        echoed += next(answers) == str(number).encode()
    messages.put(None)
    left = list(answers)
    report(name, answers.code(), echoed=echoed == 5 and not left)


with open(os.environ["REQUESTS_CA_BUNDLE"], "rb") as file:
    tls = grpc.ssl_channel_credentials(file.read())
with grpc.secure_channel(API.removeprefix("https://"), tls) as channel:
    read, other = token("read"), token("write")
    unary("unary", "Echo", credentials("Echo", read))
    stream("both ways at once", credentials("Chat", read))
    unary("status of the API", "Fail", credentials("Fail", read))
    unary("no credentials", "Echo", ())
    unary("token without a proof", "Echo", credentials("Echo", read)[:1])
    unary("proof for another method", "Echo", credentials("Fail", read))
    twice = credentials("Echo", read)
    unary("proof used once", "Echo", twice)
    unary("proof used twice", "Echo", twice)
    unary("token without the scope", "Echo", credentials("Echo", other))
    unary("unary after all that", "Echo", credentials("Echo", read))
