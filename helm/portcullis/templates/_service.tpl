{{/* Where the decision service finds what it reads, and keeps what it writes. */}}
{{- define "portcullis.service.paths" -}}
rules: /etc/portcullis/rules
trust: /etc/portcullis/trust
tls: /etc/portcullis/tls
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

{{/* A trust policy that names a store without a certificate: the service would not start. What is no policy, it says itself. */}}
{{- define "portcullis.service.checkedTrust" -}}
{{- $files := .Values.service.trust.files | default dict -}}
{{- $policy := get $files "trustpolicy.json" -}}
{{- if kindIs "string" $policy -}}{{- $policy = fromYaml $policy -}}{{- end -}}
{{- if and (kindIs "slice" $policy.trustPolicies) (not .Values.service.trust.existingConfigMap) -}}
{{- range $policy.trustPolicies -}}
{{- $stores := list -}}
{{- if kindIs "map" . -}}{{- if kindIs "slice" .trustStores -}}{{- $stores = .trustStores -}}{{- end -}}{{- end -}}
{{- range $stores -}}
{{- $store := toString . | replace ":" "/" | printf "x509/%s/" -}}
{{- $found := list -}}
{{- range $path, $_ := $files -}}{{- if hasPrefix $store $path -}}{{- $found = append $found $path -}}{{- end -}}{{- end -}}
{{- if not $found -}}
{{- fail (printf "service.trust.files: trustpolicy.json trusts `%s`, of which there is no certificate: give it, as by --set-file 'service.trust.files.%sroot\\.pem=root.pem'" . $store) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* All clusters, of which this one is known by the certificate of its shim. */}}
{{- define "portcullis.service.clusters" -}}
{{- $identity := include "portcullis.identity" . -}}
{{- $mine := dict "name" .Values.cluster.name -}}
{{- $all := list -}}
{{- range .Values.service.config.clusters | default list -}}
{{- if eq .name $.Values.cluster.name -}}{{- $mine = deepCopy . -}}{{- else -}}{{- $all = append $all . -}}{{- end -}}
{{- end -}}
{{- $_ := set $mine "identities" (append ($mine.identities | default list) $identity | uniq) -}}
{{- $cloud := dict -}}
{{- range $key, $value := .Values.cluster.cloud -}}{{- if $value -}}{{- $_ := set $cloud $key $value -}}{{- end -}}{{- end -}}
{{- if and $cloud (not $mine.cloud) -}}{{- $_ := set $mine "cloud" $cloud -}}{{- end -}}
{{- if and .Values.cluster.platforms (not $mine.platforms) -}}{{- $_ := set $mine "platforms" .Values.cluster.platforms -}}{{- end -}}
{{- toYaml (append $all $mine) -}}
{{- end -}}

{{/* portcullis.yaml: what the chart must know is set here, all else is as in `service.config`. */}}
{{- define "portcullis.service.config" -}}
{{- $paths := include "portcullis.service.paths" . | fromYaml -}}
{{- $config := deepCopy .Values.service.config -}}
{{- $_ := set $config "admin" (include "portcullis.address" (dict "root" . "port" 7080)) -}}
{{- $_ := set $config "dataDir" $paths.data -}}
{{- $_ := set $config "listen" (include "portcullis.address" (dict "root" . "port" 7443)) -}}
{{- $files := dict "certificateFile" (printf "%s/tls.crt" $paths.tls) "keyFile" (printf "%s/tls.key" $paths.tls) "clientCaFile" (printf "%s/ca.crt" $paths.tls) -}}
{{- $_ := set $config "tls" (merge $files ($config.tls | default dict)) -}}
{{- if .Values.shim.enabled -}}
{{- $_ := set $config "clusters" (include "portcullis.service.clusters" . | fromYamlArray) -}}
{{- end -}}
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
