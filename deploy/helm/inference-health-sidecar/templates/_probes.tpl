{{/* startupProbe, livenessProbe and preStop of the inference container; its readiness is the sidecar's.
     The port by number: a name would be looked up in the inference container's own ports. */}}
{{- define "inference-health-sidecar.probes" -}}
{{- $values := include "inference-health-sidecar.values" . | fromYaml }}
{{- $server := $values.server }}
{{- $port := include "inference-health-sidecar.port" . }}
{{- /* The preStop runs within this time, too. Without it the pod's own counts. */}}
{{- with $server.livenessProbe.terminationGracePeriodSeconds }}
{{- $_ := set $server.livenessProbe "terminationGracePeriodSeconds" (max . (add 5 $server.preStopSeconds)) }}
{{- end -}}
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
{{- with int $server.preStopSeconds }}
lifecycle:
  preStop:
    {{- if and $values.native (semverCompare ">=1.30-0" $.Capabilities.KubeVersion.Version) }}
    sleep:
      seconds: {{ . }}
    {{- else }}
    exec:
      command: [sleep, {{ . | quote }}]
    {{- end }}
{{- end }}
{{- end }}
