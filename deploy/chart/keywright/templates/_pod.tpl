{{- /* What all Deployments say of their pods. Called with a dict: root, component. */ -}}

{{- define "keywright.labels" -}}
{app.kubernetes.io/name: keywright, app.kubernetes.io/component: {{ . }}}
{{- end }}

{{- define "keywright.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{- define "keywright.pod" -}}
{{- $values := index .root.Values .component -}}
serviceAccountName: keywright-{{ .component }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{ toJson . }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ quote . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector: {{ toJson . }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{ toJson . }}
{{- end }}
{{- with $values.affinity }}
affinity: {{ toJson . }}
{{- end }}
topologySpreadConstraints:
- maxSkew: 1
  topologyKey: kubernetes.io/hostname
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels: {{ include "keywright.labels" .component }}
{{- end }}

{{- define "keywright.container" -}}
name: {{ .component }}
image: {{ include "keywright.image" .root | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
resources: {{ toJson (index .root.Values .component).resources }}
securityContext:
  readOnlyRootFilesystem: true
  allowPrivilegeEscalation: false
  capabilities: {drop: [ALL]}
{{- end }}

{{- define "keywright.disruption" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: keywright-{{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{ include "keywright.labels" .component }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels: {{ include "keywright.labels" .component }}
{{- end }}

{{- define "keywright.fromMonitoring" -}}
from:
- namespaceSelector:
    matchLabels: {kubernetes.io/metadata.name: {{ .Values.networkPolicy.monitoringNamespace }}}
{{- end }}

{{- define "keywright.toApiServer" -}}
ports:
{{- range .Values.networkPolicy.apiServerPorts }}
- {port: {{ . }}}
{{- end }}
{{- end }}
