{{- define "selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "labels" -}}
{{ include "selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | trunc 63 | trimSuffix "-" }}
{{- with .Values.image.version }}
app.kubernetes.io/version: {{ . | trunc 63 | trimSuffix "-" | quote }}
{{- end }}
{{- end }}

{{- define "image" -}}
{{- $repository := required "image.repository is not set: it is what `deploy` gives" .Values.image.repository -}}
{{- $digest := required "image.digest is not set: the chart deploys by digest only" .Values.image.digest -}}
{{ printf "%s@%s" $repository $digest }}
{{- end }}
