"""`sidecar doctor`: finds mistakes in manifests of pods with inference servers.

documents.py    reads YAML and JSON, with lines and comments
nodes.py        what stands at a path
servers.py      the inference servers that are recognised
containers.py   a container and its probes, with the kubelet's defaults
pods.py         the pods that documents make
settings.py     the settings of the sidecar in a pod
findings.py     what a rule finds, and the corrected YAML
rules/          one rule for each mistake
timing.py       the table "how long until"
examination.py  applies the rules
report.py       text, JSON, annotations

It needs ruamel.yaml, which the extra `doctor` installs. Nothing is asked over the network.
"""
