"""Kubernetes Events on this pod: their content, and the client of the API server.

Imported only when `kubernetes_events` is on.
"""

from sidecar.outputs.kubernetes.api import ApiServer, in_cluster_url
from sidecar.outputs.kubernetes.events import KubernetesEvents
from sidecar.outputs.kubernetes.notes import Pod

__all__ = ["ApiServer", "KubernetesEvents", "Pod", "in_cluster_url"]
