{{/* shim.yaml: what the chart must know is set here, all else is as in `shim.config`. */}}
{{- define "portcullis.shim.config" -}}
{{- $config := deepCopy .Values.shim.config -}}
{{- $_ := set $config "listen" (include "portcullis.address" (dict "root" . "port" 8443)) -}}
{{- $_ := set $config "admin" (include "portcullis.address" (dict "root" . "port" 8080)) -}}
{{- $tls := dict "certificateFile" "/etc/portcullis/tls/tls.crt" "keyFile" "/etc/portcullis/tls/tls.key" -}}
{{- if eq .Values.tls.mode "self" -}}
{{- $certificates := include "portcullis.certificates" . | fromYaml -}}
{{- $webhooks := list (printf "%s.%s" (include "portcullis.fullname" .) .Release.Namespace) -}}
{{- $own := dict "secret" $certificates.shim.secret "names" $certificates.shim.names "validatingWebhooks" $webhooks -}}
{{- if .Values.webhook.pinning.enabled -}}{{- $_ := set $own "mutatingWebhooks" $webhooks -}}{{- end -}}
{{- $tls = dict "self" (merge $own .Values.tls.self) -}}
{{- end -}}
{{- if .Values.shim.apiServerCa -}}
{{- $_ := set $tls "clientCaFile" "/etc/portcullis/api-server/ca.crt" -}}
{{- end -}}
{{- $_ := set $config "tls" $tls -}}
{{- $servers := .Values.shim.servers -}}
{{- if .Values.service.enabled -}}
{{- $servers = list (printf "https://%s.%s.svc:7443" (include "portcullis.fullname" .) .Release.Namespace) -}}
{{- end -}}
{{- $service := $config.service | default dict -}}
{{- $_ := set $service "servers" $servers -}}
{{- $files := dict "caFile" "/etc/portcullis/client/ca.crt" "certificateFile" "/etc/portcullis/client/tls.crt" "keyFile" "/etc/portcullis/client/tls.key" -}}
{{- $_ := set $service "tls" (merge $files ($service.tls | default dict)) -}}
{{- $_ := set $config "service" $service -}}
{{- $context := dict "cluster" .Values.cluster.name -}}
{{- range $key, $value := .Values.cluster.cloud -}}
{{- if $value -}}{{- $_ := set $context $key $value -}}{{- end -}}
{{- end -}}
{{- with .Values.cluster.platforms -}}{{- $_ := set $context "platforms" . -}}{{- end -}}
{{- $_ := set $config "context" $context -}}
{{- $_ := set $config "namespace" .Release.Namespace -}}
{{- $_ := set $config "exemptNamespaces" (include "portcullis.exempt" . | fromJsonArray) -}}
{{- if not $config.timeout -}}
{{- $_ := set $config "timeout" (printf "%dms" (sub (mul 1000 (int .Values.webhook.timeoutSeconds)) 500)) -}}
{{- end -}}
{{- $known := $config.lastKnown | default dict -}}
{{- $_ := set $known "file" "/var/lib/portcullis/known" -}}
{{- $_ := set $config "lastKnown" $known -}}
{{- $reports := $config.reports | default dict -}}
{{- $_ := set $reports "file" "/var/lib/portcullis/reports" -}}
{{- $_ := set $config "reports" $reports -}}
{{- if not (dig "log" "format" "" $config) -}}
{{- $_ := set $config "log" (merge (dict "format" "json") ($config.log | default dict)) -}}
{{- end -}}
{{ toYaml $config }}
{{- end -}}
