{{- define "inference-health-sidecar.values" -}}
{{- index .Values "inference-health-sidecar" | toYaml }}
{{- end }}

{{- define "inference-health-sidecar.fullname" -}}
{{- printf "%s-health" (.Release.Name | trunc 56 | trimSuffix "-") }}
{{- end }}

{{- define "inference-health-sidecar.port" -}}
{{- $values := include "inference-health-sidecar.values" . | fromYaml }}
{{- $values.config.http_port | default 9808 | int }}
{{- end }}

{{/* A plain container is told to stop with the server: it covers its preStop and its end. */}}
{{- define "inference-health-sidecar.drain" -}}
{{- $values := include "inference-health-sidecar.values" . | fromYaml }}
{{- if hasKey $values.config "drain_seconds" }}
{{- $values.config.drain_seconds }}
{{- else }}
{{- ternary 0 (max 20 (add 10 $values.server.preStopSeconds)) $values.native }}
{{- end }}
{{- end }}
