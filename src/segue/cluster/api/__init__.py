"""The Kubernetes API of the embedded cluster, without a socket: `ApiServer.handle` takes a request, gives a result."""

from segue.cluster.api.results import ADMIN, Answer, ApiUser, PodCall, Result, WatchStart
from segue.cluster.api.server import ApiPorts, ApiServer

__all__ = ["ADMIN", "Answer", "ApiPorts", "ApiServer", "ApiUser", "PodCall", "Result", "WatchStart"]
