{{/* The sidecar: an item of `initContainers`, or with `native: false` the last of `containers`. */}}
{{- define "inference-health-sidecar.container" -}}
{{- $values := include "inference-health-sidecar.values" . | fromYaml }}
{{- if and $values.native (semverCompare "<1.29-0" .Capabilities.KubeVersion.Version) }}
{{- fail (printf "a native sidecar needs Kubernetes 1.29, and this is %s: set inference-health-sidecar.native to false and put the container into `containers`" .Capabilities.KubeVersion.Version) }}
{{- end -}}
{{- with include "inference-health-sidecar.warnings" . | trim }}
# {{ . | replace "\n" "\n# " }}
{{ end -}}
- name: health
  image: {{ printf "%s:%s" $values.image.repository $values.image.tag }}
  {{- with $values.image.pullPolicy }}
  imagePullPolicy: {{ . }}
  {{- end }}
  {{- if $values.native }}
  restartPolicy: Always
  {{- end }}
  env:
    - name: SIDECAR_CONFIG
      value: /etc/inference-health-sidecar/sidecar.yaml
    - name: SIDECAR_DRAIN_SECONDS
      value: {{ include "inference-health-sidecar.drain" . | quote }}
    {{- if $values.kubernetesEvents.enabled }}
    - name: SIDECAR_KUBERNETES_EVENTS
      value: "true"
    - name: SIDECAR_POD_NAME
      valueFrom:
        fieldRef:
          fieldPath: metadata.name
    - name: SIDECAR_POD_UID
      valueFrom:
        fieldRef:
          fieldPath: metadata.uid
    {{- end }}
  ports:
    - name: health
      containerPort: {{ include "inference-health-sidecar.port" . }}
  {{- /* On the sidecar only ever /livez: a native one has to pass before the server starts. */}}
  startupProbe:
    httpGet:
      path: /livez
      port: health
    periodSeconds: 1
    timeoutSeconds: 2
    failureThreshold: 120
  livenessProbe:
    httpGet:
      path: /livez
      port: health
    periodSeconds: 4
    timeoutSeconds: 2
    failureThreshold: 3
    terminationGracePeriodSeconds: 1 # a frozen sidecar does not react to SIGTERM
  readinessProbe:
    httpGet:
      path: /readyz
      port: health
    periodSeconds: 2
    timeoutSeconds: 2
    failureThreshold: 1
  resources:
    {{- toYaml $values.resources | nindent 4 }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    capabilities:
      drop: [ALL]
    seccompProfile:
      type: RuntimeDefault
  volumeMounts:
    - name: health-settings
      mountPath: /etc/inference-health-sidecar
      readOnly: true
    {{- if $values.kubernetesEvents.enabled }}
    - name: health-api-access
      mountPath: /var/run/secrets/kubernetes.io/serviceaccount
      readOnly: true
    {{- end }}
    {{- with $values.volumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}
