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

{{- /* A pod is replaced when what it reads from a ConfigMap changes; the rest of its settings is in its template. */ -}}
{{- define "workflow.podAnnotations" -}}
engine.deis.io/probe-interval: 100ms
checksum/settings: {{ list .Values.domain (include "workflow.image" (dict "root" . "name" "stack")) | toJson | sha256sum | trunc 16 | quote }}
{{- end -}}

{{- /* An image's name; with a mirror, its registry is that: what stands before the first / and has a dot, a port or is localhost. */ -}}
{{- define "workflow.image" -}}
{{- $image := index .root.Values.images .name -}}
{{- with .root.Values.images.mirror -}}
{{- $image = printf "%s/%s" (trimSuffix "/" .) (regexReplaceAll "^([^/]*[.:][^/]*|localhost)/" $image "") -}}
{{- end -}}
{{- $image -}}
{{- end -}}

{{- /* The Secret of a name of docs/architecture.md: the chart's, or one of the user's own. */ -}}
{{- define "workflow.secret" -}}
{{- index .root.Values.secrets.existing .name | default .name -}}
{{- end -}}

{{- define "workflow.env.s3" -}}
{{- if eq .Values.objectStorage.location "on-cluster" -}}
- {name: S3_ENDPOINT, value: "http://deis-objectstore.{{ .Release.Namespace }}:9000"}
{{- else }}
- {name: S3_ENDPOINT, value: {{ required "objectStorage.endpoint: where your object storage is, such as https://s3.eu-central-1.amazonaws.com" .Values.objectStorage.endpoint | quote }}}
- {name: S3_REGION, value: {{ .Values.objectStorage.region | quote }}}
{{- end }}
- {name: S3_ACCESS_KEY_FILE, value: /var/run/secrets/deis/objectstore/creds/accesskey}
- {name: S3_SECRET_KEY_FILE, value: /var/run/secrets/deis/objectstore/creds/secretkey}
{{- end -}}

{{- define "workflow.env.common" -}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: PLATFORM_DOMAIN
  valueFrom: {configMapKeyRef: {name: workflow-settings, key: domain}}
{{- if ne .Values.logs.level "info" }}
- {name: LOG_LEVEL, value: {{ .Values.logs.level }}}
{{- end }}
{{- if ne .Values.logs.format "logfmt" }}
- {name: LOG_FORMAT, value: {{ .Values.logs.format }}}
{{- end }}
{{- end -}}

{{- define "workflow.env.more" -}}
{{- range $key, $value := . }}
- {name: {{ $key }}, value: {{ $value | quote }}}
{{- end -}}
{{- end -}}

{{- /* What all pods of the platform have. Of several replicas each runs on a node of its own, in a zone of its own, if there are enough. */ -}}
{{- define "workflow.pod" -}}
{{- $values := .root.Values -}}
{{- $placement := merge (dict) (index $values.placement .component | default dict) $values.placement.all -}}
{{- $name := printf "deis-%s" .component -}}
enableServiceLinks: false
{{- with $values.priorityClasses.platform }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.images.pullSecrets }}
imagePullSecrets:
{{- range . }}
- {name: {{ . }}}
{{- end }}
{{- end }}
{{- with $placement.nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with $placement.tolerations }}
tolerations: {{ toYaml . | nindent 0 }}
{{- end }}
{{- $affinity := $placement.affinity | default dict -}}
{{- if and (gt (int .replicas) 1) (ne $values.availability.antiAffinity "none") (not $affinity.podAntiAffinity) -}}
{{- $term := dict "topologyKey" "kubernetes.io/hostname" "labelSelector" (dict "matchLabels" (dict "app" $name)) -}}
{{- $rule := dict "preferredDuringSchedulingIgnoredDuringExecution" (list (dict "weight" 100 "podAffinityTerm" $term)) -}}
{{- if eq $values.availability.antiAffinity "required" -}}{{- $rule = dict "requiredDuringSchedulingIgnoredDuringExecution" (list $term) -}}{{- end -}}
{{- $affinity = merge (dict "podAntiAffinity" $rule) $affinity -}}
{{- end }}
{{- with $affinity }}
affinity: {{ toYaml . | nindent 2 }}
{{- end }}
{{- if and (gt (int .replicas) 1) $values.availability.spreadZones }}
topologySpreadConstraints:
- {maxSkew: 1, topologyKey: topology.kubernetes.io/zone, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {app: {{ $name }}}}}
{{- end }}
{{- end -}}

{{- /* Pod Security `restricted`: nobody, nothing to write to but volumes. */ -}}
{{- define "workflow.restrictedPod" -}}
{runAsNonRoot: true, runAsUser: 65534, runAsGroup: 65534, fsGroup: 65534, seccompProfile: {type: RuntimeDefault}}
{{- end -}}
{{- define "workflow.restrictedContainer" -}}
{allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
{{- end -}}

{{- define "workflow.resources" -}}
{{- with index .root.Values.resources .component }}
resources: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "workflow.claimName" -}}
{{- index .root.Values.storage.existingClaims .of | default (printf "deis-%s" .of) -}}
{{- end -}}

{{- define "workflow.claim" -}}
{{- if not (index .root.Values.storage.existingClaims .of) -}}
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: deis-{{ .of }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{ include "workflow.labels" .root | nindent 4 }}
  annotations: {helm.sh/resource-policy: keep}
spec:
  accessModes: [ReadWriteOnce]
  {{- with index .root.Values.storage.classNames .of | default .root.Values.storage.className }}
  storageClassName: {{ . }}
  {{- end }}
  resources: {requests: {storage: {{ index .root.Values.storage .of }}}}
---
{{- end }}
{{- end -}}
