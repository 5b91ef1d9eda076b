{{- define "keybound.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 57 | trimSuffix "-" -}}
{{- else if contains "keybound" .Release.Name -}}
{{- .Release.Name | trunc 57 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-keybound" .Release.Name | trunc 57 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "keybound.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "keybound.fullname" .) -}}
{{- else -}}
{{- required "serviceAccount.name: expected a name when serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "keybound.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository ($image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- /* The name is the same in every release: rules and dashboards go by the job that is named after it. */ -}}
{{- define "keybound.selector" -}}
app.kubernetes.io/name: keybound
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "keybound.labels" -}}
{{ include "keybound.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- /* What the configuration and the values must agree on. */ -}}
{{- define "keybound.agree" -}}
{{- $config := fromYaml .Values.config -}}
{{- if not $config.listeners -}}
{{- fail (printf "config: expected a configuration with listeners; %s" ($config.Error | default "there are none")) -}}
{{- end -}}
{{- $most := .Values.autoscaling.enabled | ternary .Values.autoscaling.maxReplicas .Values.replicaCount | int -}}
{{- $replicas := $config.replicas | default 1 -}}
{{- /* A text comes from the environment, which is not known here. */ -}}
{{- if and (not (kindIs "string" $replicas)) (gt $most (int $replicas)) -}}
{{- fail (printf "config: expected replicas: %d or more, as many gateways as there may be; found %d" $most (int $replicas)) -}}
{{- end -}}
{{- end -}}
