"""The HTTP output: the endpoints for the kubelet, Prometheus, scripts and people."""
