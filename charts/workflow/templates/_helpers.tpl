{{- define "workflow.labels" -}}
heritage: deis
app.kubernetes.io/part-of: workflow
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- /* The probes of a component: its health port, /healthz and /readiness. */ -}}
{{- define "workflow.probes" -}}
readinessProbe:
  httpGet: {path: /readiness, port: {{ . }}}
  periodSeconds: 1
  timeoutSeconds: 2
  failureThreshold: 3
livenessProbe:
  httpGet: {path: /healthz, port: {{ . }}}
  initialDelaySeconds: 10
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end -}}

{{- define "workflow.podAnnotations" -}}
engine.deis.io/probe-interval: 100ms
checksum/settings: {{ toYaml .Values | sha256sum | trunc 16 | quote }}
{{- end -}}

{{- define "workflow.env.s3" -}}
- {name: S3_ENDPOINT, value: "http://deis-objectstore.{{ .Release.Namespace }}:9000"}
- {name: S3_ACCESS_KEY_FILE, value: /var/run/secrets/deis/objectstore/creds/accesskey}
- {name: S3_SECRET_KEY_FILE, value: /var/run/secrets/deis/objectstore/creds/secretkey}
- {name: BUILDER_BUCKET, value: builder}
{{- end -}}

{{- define "workflow.env.common" -}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: PLATFORM_DOMAIN
  valueFrom: {configMapKeyRef: {name: workflow-settings, key: domain}}
{{- end -}}

{{- define "workflow.resources" -}}
{{- with index .root.Values.resources .component }}
resources: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "workflow.claim" -}}
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{ include "workflow.labels" .root | nindent 4 }}
  annotations: {helm.sh/resource-policy: keep}
spec:
  accessModes: [ReadWriteOnce]
  {{- with .root.Values.storage.className }}
  storageClassName: {{ . }}
  {{- end }}
  resources: {requests: {storage: {{ .size }}}}
{{- end -}}
