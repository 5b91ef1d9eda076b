"""An API of gRPC that knows nothing of tokens. It prints its port, then what it sees of each call."""

import json
from concurrent import futures

import grpc


def note(context):
    metadata = {field.key: field.value for field in context.invocation_metadata()}
    print(json.dumps(metadata), flush=True)


def echo(request, context):
    note(context)
    context.set_trailing_metadata((("x-length", str(len(request))),))
    return request


def fail(_, context):
    note(context)
    context.abort(grpc.StatusCode.NOT_FOUND, "no such order")


def chat(requests, context):
    note(context)
    for request in requests:
        yield request


handlers = {
    "Echo": grpc.unary_unary_rpc_method_handler(echo),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "Chat": grpc.stream_stream_rpc_method_handler(chat),
}
server = grpc.server(futures.ThreadPoolExecutor(8))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("orders.Orders", handlers),))
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
server.wait_for_termination()
