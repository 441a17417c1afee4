{{/* An item of the pod's `volumes`. */}}
{{- define "inference-health-sidecar.volume" -}}
- name: health-settings
  configMap:
    name: {{ include "inference-health-sidecar.fullname" . }}
{{- end }}

{{/* An object of its own. Its name stays, so the running sidecar takes over a change of it. */}}
{{- define "inference-health-sidecar.configmap" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "inference-health-sidecar.fullname" . }}
data:
  sidecar.yaml: |
    {{- (include "inference-health-sidecar.values" . | fromYaml).config | toYaml | nindent 4 }}
{{- end }}
