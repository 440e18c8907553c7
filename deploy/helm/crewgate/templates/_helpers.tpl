{{- define "crewgate.name" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "crewgate.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "crewgate.labels" -}}
{{ include "crewgate.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "crewgate.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- /* The securityContext of each container. */ -}}
{{- define "crewgate.security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- /* Refuses values that contradict each other. */ -}}
{{- define "crewgate.check" -}}
{{- if and (gt (int .Values.replicas) 1) (hasPrefix "sqlite:" .Values.ledger.url) -}}
{{- fail "ledger.url: a ledger in a file is for one machine; set replicas to 1, or name a PostgreSQL server" -}}
{{- end -}}
{{- if and .Values.ledger.passwordSecret.name (hasPrefix "sqlite:" .Values.ledger.url) -}}
{{- fail "ledger.passwordSecret: a ledger in a file has no password; remove it" -}}
{{- end -}}
{{- if and .Values.sealingKeys (not .Values.secretFiles) -}}
{{- fail "sealingKeys: this is a key of the Secret that secretFiles names; set secretFiles" -}}
{{- end -}}
{{- end -}}

{{- /* What the gateway and its commands mount. They need no writable folder but `state`. */ -}}
{{- define "crewgate.mounts" -}}
- name: config
  mountPath: /etc/crewgate
  readOnly: true
- name: state
  mountPath: /var/lib/crewgate
{{- if .Values.ledger.passwordSecret.name }}
- name: ledger
  mountPath: /run/crewgate/ledger
  readOnly: true
{{- end }}
{{- if .Values.secretFiles }}
- name: secrets
  mountPath: /run/crewgate/secrets
  readOnly: true
{{- end }}
{{- end -}}
