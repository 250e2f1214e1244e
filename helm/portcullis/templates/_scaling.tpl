{{/* What keeps enough pods of one part: (dict "root" $ "part" "service" "values" … "name" … "kind" "Deployment"). */}}
{{- define "portcullis.scaling" -}}
{{- $labels := include "portcullis.labels" . -}}
{{- if .values.podDisruptionBudget.enabled }}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ .name }}
  labels: {{- $labels | nindent 4 }}
spec:
  maxUnavailable: 1
  # A replica that is not ready must not keep a node from being emptied.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels: {{- include "portcullis.selector" . | nindent 6 }}
{{- end }}
{{- if .values.autoscaling.enabled }}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ .name }}
  labels: {{- $labels | nindent 4 }}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: {{ .kind }}, name: {{ .name }}}
  minReplicas: {{ .values.autoscaling.minReplicas }}
  maxReplicas: {{ .values.autoscaling.maxReplicas }}
  metrics:
    - type: Resource
      resource:
        name: cpu
        target: {type: Utilization, averageUtilization: {{ .values.autoscaling.cpuUtilization }}}
  behavior:
    # What a replica remembers goes with it.
    scaleDown: {stabilizationWindowSeconds: 600}
{{- end }}
{{- end -}}
