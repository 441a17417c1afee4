"""What Kubernetes, Prometheus and people see. Each reads a snapshot or observes the store."""
