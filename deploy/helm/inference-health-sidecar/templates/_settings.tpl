{{/* Items of the pod's `volumes`. */}}
{{- define "inference-health-sidecar.volume" -}}
{{- $values := include "inference-health-sidecar.values" . | fromYaml -}}
- name: health-settings
  configMap:
    name: {{ include "inference-health-sidecar.fullname" . }}
{{- if $values.kubernetesEvents.enabled }}
- name: health-api-access
  projected:
    sources:
      - serviceAccountToken:
          path: token
          expirationSeconds: 3607
      - configMap:
          name: kube-root-ca.crt
          items:
            - key: ca.crt
              path: ca.crt
      - downwardAPI:
          items:
            - path: namespace
              fieldRef:
                fieldPath: metadata.namespace
{{- end }}
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
