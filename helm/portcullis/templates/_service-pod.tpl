{{/* The pod of the decision service. */}}
{{- define "portcullis.service.pod" -}}
{{- $paths := include "portcullis.service.paths" . | fromYaml -}}
{{- $name := include "portcullis.fullname" . -}}
{{- $part := dict "root" $ "part" "service" "values" .Values.service -}}
{{- $rules := .Values.service.rules -}}
{{- $trust := .Values.service.trust -}}
metadata:
  labels:
    {{- include "portcullis.labels" $part | nindent 4 }}
    {{- with .Values.service.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    # The configuration is read at the start alone. Rules, trust and certificates are read again when they change.
    portcullis.dev/config: {{ include "portcullis.service.config" . | sha256sum }}
    {{- with .Values.service.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "portcullis.account" $part }}
  # It never asks the API server.
  automountServiceAccountToken: false
  enableServiceLinks: false
  # It answers on for `limits.drain` after SIGTERM, then ends what is under way, and writes the record.
  terminationGracePeriodSeconds: {{ .Values.service.terminationGracePeriodSeconds }}
  securityContext: {{- include "portcullis.podSecurity" . | nindent 4 }}
  {{- with include "portcullis.placement" $part }}
  {{- . | nindent 2 }}
  {{- end }}
  containers:
    - name: service
      image: {{ include "portcullis.image" . }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [serve, --config, /etc/portcullis/portcullis.yaml]
      {{- with .Values.service.env }}
      env: {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        - {name: grpc, containerPort: 7443}
        - {name: admin, containerPort: 7080}
      startupProbe:
        httpGet: {path: /readyz, port: admin}
        periodSeconds: 2
        failureThreshold: 60
      readinessProbe:
        httpGet: {path: /readyz, port: admin}
        periodSeconds: 5
        failureThreshold: 2
      livenessProbe:
        httpGet: {path: /livez, port: admin}
        periodSeconds: 10
        failureThreshold: 6
        timeoutSeconds: 5
      securityContext: {{- include "portcullis.containerSecurity" . | nindent 8 }}
      resources: {{- toYaml .Values.service.resources | nindent 8 }}
      volumeMounts:
        - {name: config, mountPath: /etc/portcullis/portcullis.yaml, subPath: portcullis.yaml, readOnly: true}
        - {name: tls, mountPath: {{ $paths.tls }}, readOnly: true}
        - {name: data, mountPath: {{ $paths.data }}}
        {{- if or $rules.files $rules.existingConfigMap }}
        - {name: rules, mountPath: {{ $paths.rules }}, readOnly: true}
        {{- end }}
        {{- if or $trust.files $trust.existingConfigMap }}
        - {name: trust, mountPath: {{ $paths.trust }}, readOnly: true}
        {{- end }}
        {{- range .Values.service.secrets }}
        - {name: secret-{{ .name }}, mountPath: {{ $paths.secrets }}/{{ .name }}, readOnly: true}
        {{- end }}
        {{- if .Values.service.projectedTokens }}
        - {name: tokens, mountPath: {{ $paths.tokens }}, readOnly: true}
        {{- end }}
    {{- range .Values.service.sidecars }}
    {{- $confined := dict "securityContext" (include "portcullis.containerSecurity" $ | fromYaml) }}
    {{- list (merge (deepCopy .) $confined) | toYaml | nindent 4 }}
    {{- end }}
  volumes:
    - name: config
      configMap: {name: {{ $name }}-config}
    - name: tls
      secret: {secretName: {{ (include "portcullis.certificates" . | fromYaml).service.secret }}, defaultMode: 0440}
    {{- if not .Values.service.persistence.enabled }}
    - name: data
      emptyDir: {sizeLimit: {{ .Values.service.persistence.size }}}
    {{- end }}
    {{- if or $rules.files $rules.existingConfigMap }}
    - name: rules
      configMap: {name: {{ $rules.existingConfigMap | default (printf "%s-rules" $name) }}}
    {{- end }}
    {{- if $trust.existingConfigMap }}
    - name: trust
      configMap:
        name: {{ $trust.existingConfigMap }}
        items: {{- toYaml $trust.items | nindent 10 }}
    {{- else if $trust.files }}
    - name: trust
      configMap:
        name: {{ $name }}-trust
        items:
          {{- range $path, $_ := $trust.files }}
          - {key: {{ include "portcullis.key" $path }}, path: {{ $path }}}
          {{- end }}
    {{- end }}
    {{- range .Values.service.secrets }}
    - name: secret-{{ .name }}
      secret: {secretName: {{ .secretName }}, defaultMode: 0440}
    {{- end }}
    {{- if .Values.service.projectedTokens }}
    - name: tokens
      projected:
        defaultMode: 0440
        sources:
          {{- range .Values.service.projectedTokens }}
          - serviceAccountToken: {path: {{ .name }}, audience: {{ .audience | quote }}, expirationSeconds: {{ .expirationSeconds | default 3600 | int }}}
          {{- end }}
    {{- end }}
{{- end -}}
