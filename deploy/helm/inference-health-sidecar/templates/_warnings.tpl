{{/* What Helm should tell of the values, a line each. A library chart has no NOTES.txt that Helm
     would print: include it in your own, and the container has it as a comment. */}}
{{- define "inference-health-sidecar.warnings" -}}
{{- $values := include "inference-health-sidecar.values" . | fromYaml }}
{{- with dig "limits" "cpu" "" ($values.resources | default dict) | toString }}
{{- /* A quantity of Kubernetes; what ends in `k` and above is no small one. */}}
{{- $unit := regexFind "[num]$" . }}
{{- $cores := divf (trimSuffix $unit . | float64) (get (dict "" 1 "m" 1e3 "u" 1e6 "n" 1e9) $unit) }}
{{- if and (gt $cores 0.0) (lt $cores 0.1) }}
WARNING: inference-health-sidecar.resources.limits.cpu is {{ . }}, below 100m: a sidecar that starts so slowly may cost a healthy server a restart. Set none, or 100m and more.
{{- end }}
{{- end }}
{{- /* The pod's grace period is not known here; Kubernetes' own is 30 seconds. */}}
{{- $preStop := int $values.server.preStopSeconds }}
{{- $drain := include "inference-health-sidecar.drain" . | float64 }}
{{- if gt (add 10 $preStop) 30 }}
WARNING: inference-health-sidecar.server.preStopSeconds is {{ $preStop }}: the pod's terminationGracePeriodSeconds, 30 where it sets none, must be longer than that and what the server needs to end.
{{- end }}
{{- if and (not $values.native) (ge $drain 30.0) }}
WARNING: the plain sidecar drains for {{ $drain }} s: the pod's terminationGracePeriodSeconds, 30 where it sets none, must be longer than that.
{{- end }}
{{- end }}
