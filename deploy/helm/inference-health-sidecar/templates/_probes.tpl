{{/* startupProbe and livenessProbe of the inference container; its readiness is the sidecar's.
     The port by number: a name would be looked up in the inference container's own ports. */}}
{{- define "inference-health-sidecar.probes" -}}
{{- $server := (include "inference-health-sidecar.values" . | fromYaml).server }}
{{- $port := include "inference-health-sidecar.port" . -}}
startupProbe:
  httpGet:
    path: /startupz
    port: {{ $port }}
  {{- toYaml $server.startupProbe | nindent 2 }}
livenessProbe:
  httpGet:
    path: /healthz
    port: {{ $port }}
  {{- toYaml $server.livenessProbe | nindent 2 }}
{{- end }}
