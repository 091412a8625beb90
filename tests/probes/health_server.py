"""A gRPC server with the health service of grpcio-health-checking, for the tests of grpc probes.

Arguments: "health" or "bare" (without that service), and for TLS the files of a certificate and its key. Prints its port.
A call with the metadata x-guarded needs the token hunter2.
"""

import sys
from concurrent import futures

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc


class Guard(grpc.ServerInterceptor):
    def intercept_service(self, continuation, call):
        fields = dict(call.invocation_metadata)
        if "x-guarded" not in fields or fields.get("authorization") == "Bearer hunter2":
            return continuation(call)
        refuse = lambda _, context: context.abort(grpc.StatusCode.UNAUTHENTICATED, "no token")
        return grpc.unary_unary_rpc_method_handler(refuse)


server = grpc.server(futures.ThreadPoolExecutor(max_workers=2), interceptors=[Guard()])
if sys.argv[1] == "health":
    servicer = health.HealthServicer()
    states = health_pb2.HealthCheckResponse
    servicer.set("", states.SERVING)
    servicer.set("shop.v1.Cart", states.SERVING)
    servicer.set("x" * 300, states.SERVING)
    servicer.set("down", states.NOT_SERVING)
    servicer.set("unknown", states.UNKNOWN)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
if len(sys.argv) > 2:
    certificate, key = (open(path, "rb").read() for path in sys.argv[2:4])
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))
else:
    port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
server.wait_for_termination()
