"""Outputs for Kubernetes, Prometheus and people. Each reads snapshots or observes the store."""
