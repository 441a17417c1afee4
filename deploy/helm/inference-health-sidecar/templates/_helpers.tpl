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
