"""Kubernetes Events on this pod: what is told, and the API server that it is told to.

Imported only when `kubernetes_events` is on.
"""

from sidecar.outputs.kubernetes.api import ApiServer, in_cluster_url
from sidecar.outputs.kubernetes.events import KubernetesEvents
from sidecar.outputs.kubernetes.notes import Pod

__all__ = ["ApiServer", "KubernetesEvents", "Pod", "in_cluster_url"]
