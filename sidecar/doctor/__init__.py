"""`sidecar doctor`: finds mistakes in manifests of pods with inference servers.

documents.py    reads YAML and JSON, with lines and comments
nodes.py        reads values at a path of a document
servers.py      the inference servers that are recognized
containers.py   a container and its probes, with the kubelet's defaults
pods.py         the pods that documents define
settings.py     the settings of the sidecar in a pod
findings.py     findings, and the corrected YAML
rules/          one rule per mistake
timing.py       the table "how long until"
examination.py  applies the rules to files
report.py       the report as text, JSON or annotations

It needs ruamel.yaml, which the extra `doctor` installs. It does not use the network.
"""
