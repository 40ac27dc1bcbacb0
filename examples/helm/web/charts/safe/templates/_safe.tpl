{{/* The numbers that everything else follows from, so that segue check need not assume them */}}
{{- define "safe.annotations" -}}
segue.dev/propagation-seconds: {{ .Values.propagationSeconds | quote }}
segue.dev/longest-request-seconds: {{ .Values.longestRequestSeconds | quote }}
segue.dev/start-seconds: {{ .Values.startSeconds | quote }}
{{- end -}}

{{- define "safe.selector" -}}
app: {{ .Release.Name }}
{{- end -}}

{{/* New pods first, after rounding, too */}}
{{- define "safe.strategy" -}}
type: RollingUpdate
rollingUpdate:
  maxSurge: 1
  maxUnavailable: 0
{{- end -}}

{{/* The grace period holds preStop, the longest request and 2 s; pods of one version stand apart */}}
{{- define "safe.pod" -}}
terminationGracePeriodSeconds: {{ add (int .Values.propagationSeconds) (int .Values.longestRequestSeconds) 2 }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    matchLabelKeys: [pod-template-hash]
    labelSelector:
      matchLabels:
        {{- include "safe.selector" . | nindent 8 }}
{{- end -}}

{{/* Accept for as long as anybody may still send; be asked for as long as the slowest start takes */}}
{{- define "safe.container" -}}
lifecycle:
  preStop:
    sleep:
      seconds: {{ .Values.propagationSeconds }}
startupProbe:
  httpGet: &ready
    path: {{ .Values.readyPath }}
    port: http
  periodSeconds: 5
  failureThreshold: {{ add (div (add (int .Values.startSeconds) 4) 5) 1 }}
readinessProbe:
  httpGet: *ready
  periodSeconds: 5
  failureThreshold: 3
{{- end -}}

{{/* A drained node takes one pod at a time */}}
{{- define "safe.budget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ .Release.Name }}
spec:
  maxUnavailable: 1
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "safe.selector" . | nindent 6 }}
{{- end -}}
