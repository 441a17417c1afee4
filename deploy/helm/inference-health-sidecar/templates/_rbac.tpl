{{/* Objects of their own: the pod's ServiceAccount may write Events. Nothing where they are off. */}}
{{- define "inference-health-sidecar.rbac" -}}
{{- $values := include "inference-health-sidecar.values" . | fromYaml }}
{{- $name := printf "%s-events" (include "inference-health-sidecar.fullname" .) }}
{{- if $values.kubernetesEvents.enabled -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ $name }}
rules:
  - apiGroups: [events.k8s.io]
    resources: [events]
    verbs: [create, patch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ $name }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ $name }}
subjects:
  - kind: ServiceAccount
    name: {{ $values.kubernetesEvents.serviceAccountName }}
{{- end }}
{{- end }}
