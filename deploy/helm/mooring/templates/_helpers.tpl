{{- define "mooring.name" -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "mooring.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- /* Called with the root and a component: node, redis or traefik. */ -}}
{{- define "mooring.selector" -}}
app.kubernetes.io/name: {{ (index . 0).Chart.Name }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "mooring.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "mooring.name" .) }}
{{- end }}

{{- /* Whether the chart's own Redis is the one that nodes use: not where another is named. */ -}}
{{- define "mooring.ownRedis" -}}
{{- if and .Values.redis.enabled (not .Values.redis.url) (not .Values.secret.keys.redisUrl) }}true{{ end }}
{{- end }}

{{- /* The first endpoint that is one path, as a client has to call it (main_endpoint). */ -}}
{{- define "mooring.endpoint" -}}
{{- $found := "" }}
{{- range splitList "," .Values.mcpPath }}
{{- if and (not $found) (not (contains "{" .)) }}{{ $found = trim . }}{{ end }}
{{- end }}
{{- $found | default "/mcp" }}
{{- end }}

{{- define "mooring.redisUrl" -}}
{{- if .Values.redis.url }}{{ .Values.redis.url }}
{{- else if .Values.redis.enabled }}redis://{{ include "mooring.name" . }}-redis:6379/0
{{- else }}{{ fail "no Redis: set redis.enabled, redis.url, or secret.keys.redisUrl" }}
{{- end }}
{{- end }}

{{- define "mooring.podSecurity" -}}
automountServiceAccountToken: false
securityContext:
  runAsNonRoot: true
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "mooring.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{- /* A setting as the node reads it: Helm takes each number for a float, and writes a large one as 2.592e+06. */ -}}
{{- define "mooring.setting" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) }}{{ int64 . }}{{ else }}{{ . }}{{ end }}
{{- end }}

{{- /* How long a pod may take to stop, but for its goodbye: preStop, and what the settings give to running requests. */ -}}
{{- define "mooring.stopSeconds" -}}
{{- $running := max .Values.drain.stopSeconds (.Values.settings.drain_seconds | default 0 | float64 | ceil) }}
{{- add .Values.drain.preStopSeconds $running (.Values.settings.ingress_seconds | default 2 | float64 | ceil) -2 }}
{{- end }}
