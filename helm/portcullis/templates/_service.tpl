{{/* Where the decision service finds what it reads, and keeps what it writes. */}}
{{- define "portcullis.service.paths" -}}
rules: /etc/portcullis/rules
trust: /etc/portcullis/trust
tls: /etc/portcullis/tls
clientCa: /etc/portcullis/client-ca
secrets: /etc/portcullis/secrets
tokens: /var/run/portcullis/tokens
data: /var/lib/portcullis
{{- end -}}

{{/* The paths of what is trusted, below the folder of trust, one a line. */}}
{{- define "portcullis.service.trusted" -}}
{{- with .Values.service.trust -}}
{{- if .existingConfigMap -}}
{{- range .items }}{{ .path }}{{ "\n" }}{{ end -}}
{{- else -}}
{{- range $path, $_ := .files }}{{ $path }}{{ "\n" }}{{ end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* portcullis.yaml: what the chart must know is set here, all else is as in `service.config`. */}}
{{- define "portcullis.service.config" -}}
{{- $paths := include "portcullis.service.paths" . | fromYaml -}}
{{- $config := deepCopy .Values.service.config -}}
{{- $_ := set $config "admin" (include "portcullis.address" (dict "root" . "port" 7080)) -}}
{{- $_ := set $config "dataDir" $paths.data -}}
{{- with .Values.service.rules -}}
{{- if or .files .existingConfigMap -}}
{{- $_ := set $config "rules" (list $paths.rules) -}}
{{- end -}}
{{- end -}}
{{- $trust := $config.trust | default dict -}}
{{- $trusted := include "portcullis.service.trusted" . | splitList "\n" -}}
{{- range $trusted -}}
{{- if eq . "trustpolicy.json" -}}{{- $_ := set $trust "policy" (printf "%s/trustpolicy.json" $paths.trust) -}}{{- end -}}
{{- if hasPrefix "x509/" . -}}{{- $_ := set $trust "store" $paths.trust -}}{{- end -}}
{{- end -}}
{{- if $trust -}}{{- $_ := set $config "trust" $trust -}}{{- end -}}
{{- if not (dig "log" "format" "" $config) -}}
{{- $_ := set $config "log" (merge (dict "format" "json") ($config.log | default dict)) -}}
{{- end -}}
{{ toYaml $config }}
{{- end -}}

{{/* Every address of the pod, with a port: (dict "root" $ "port" 7080). */}}
{{- define "portcullis.address" -}}
{{- if contains ":" .root.Values.bindAddress -}}
[{{ .root.Values.bindAddress }}]:{{ .port }}
{{- else -}}
{{ .root.Values.bindAddress }}:{{ .port }}
{{- end -}}
{{- end -}}
