{{/* What Helm should tell of the values, a line each. A library chart has no NOTES.txt that Helm
     would print: include it in your own, and the container has it as a comment. */}}
{{- define "inference-health-sidecar.warnings" -}}
{{- $values := include "inference-health-sidecar.values" . | fromYaml }}
{{- with dig "limits" "cpu" "" ($values.resources | default dict) | toString }}
{{- $cores := ternary (divf (trimSuffix "m" . | float64) 1000) (float64 .) (hasSuffix "m" .) }}
{{- if lt $cores 0.1 }}
WARNING: inference-health-sidecar.resources.limits.cpu is {{ . }}, below 100m: a sidecar that starts so slowly may cost a healthy server a restart. Set none, or 100m and more.
{{- end }}
{{- end }}
{{- end }}
