{{/* The name by which the shim of this release is known to the service: that of its certificate. */}}
{{- define "portcullis.identity" -}}
{{- if .Values.shim.identity -}}
{{ .Values.shim.identity }}
{{- else -}}
shim.{{ .Values.cluster.name }}.portcullis
{{- end -}}
{{- end -}}

{{/* What the certificates of this release are for, by part: the names in them and the Secret that has them. A Secret
     that is named in values is not made here. */}}
{{- define "portcullis.certificates" -}}
{{- $name := include "portcullis.fullname" . -}}
{{- $ns := .Release.Namespace -}}
{{- $isProvided := eq .Values.tls.mode "provided" -}}
{{- $isSelf := eq .Values.tls.mode "self" -}}
{{- if .Values.service.enabled }}
service:
  secret: {{ ternary .Values.tls.provided.serviceSecret (printf "%s-service-tls" $name) $isProvided }}
  isMade: {{ not $isProvided }}
  names: {{ concat (list $name (printf "%s.%s" $name $ns) (printf "%s.%s.svc" $name $ns) (printf "%s.%s.svc.cluster.local" $name $ns)) .Values.tls.extraNames | toJson }}
  usage: server auth
{{- end }}
{{- if .Values.shim.enabled }}
shim:
  # What the shim makes itself is in no file.
  secret: {{ ternary .Values.tls.provided.shimSecret (printf "%s-shim-%s" $name (ternary "own" "tls" $isSelf)) $isProvided }}
  isMade: {{ not (or $isProvided $isSelf) }}
  names: {{ list (printf "%s-shim.%s.svc" $name $ns) (printf "%s-shim.%s" $name $ns) | toJson }}
  usage: server auth
client:
  secret: {{ .Values.shim.clientSecret | default (ternary "" (printf "%s-client-tls" $name) $isProvided) }}
  isMade: {{ not (or $isProvided .Values.shim.clientSecret) }}
  names: {{ list (include "portcullis.identity" .) | toJson }}
  usage: client auth
{{- end }}
{{- end -}}

{{/* Whether a Secret that is there may stay: it has what it must, for the same names, of an authority that is announced,
     and is not due. */}}
{{- define "portcullis.isKept" -}}
{{- $secret := .secret -}}
{{- if and $secret (index ($secret.data | default dict) "tls.crt") (index ($secret.data | default dict) "tls.key") -}}
{{- $annotations := $secret.metadata.annotations | default dict -}}
{{- $due := index $annotations "portcullis.dev/renew-after" | default "0" | int64 -}}
{{- $names := index $annotations "portcullis.dev/names" | default "" -}}
{{- $authority := index $annotations "portcullis.dev/authority" | default "" -}}
{{- $isAnnounced := or (not .authorities) (has $authority (.authorities | default list)) -}}
{{- if and (gt $due (now | unixEpoch | int64)) (eq $names .names) $isAnnounced -}}true{{- end -}}
{{- end -}}
{{- end -}}

{{/* Makes the authority and the certificates of a release once, or takes those that are there, and leaves them in
     .Values.made: ca (bundle), and by part secret, data, annotations. Only with tls.mode `generated` and `self`. */}}
{{- define "portcullis.made" -}}
{{- if not (hasKey .Values "made") -}}
{{- $days := int .Values.tls.generated.days -}}
{{- $due := add (now | unixEpoch | int64) (mul 86400 (sub $days (int .Values.tls.generated.renewBefore))) -}}
{{- $caName := printf "%s-ca" (include "portcullis.fullname" .) -}}
{{- $there := lookup "v1" "Secret" .Release.Namespace $caName -}}
{{- $ca := dict -}}
{{- $data := dict -}}
{{- $annotations := dict -}}
{{- if include "portcullis.isKept" (dict "secret" $there "names" "ca") -}}
{{- $ca = buildCustomCert (index $there.data "tls.crt") (index $there.data "tls.key") -}}
{{- $data = $there.data -}}
{{- $annotations = pick $there.metadata.annotations "portcullis.dev/renew-after" "portcullis.dev/names" "portcullis.dev/ends" -}}
{{- else -}}
{{/* A day more than what it signs, which is made a moment later; an hour of it is not counted on. */}}
{{- $ca = genCA $caName (add $days 1 | int) -}}
{{- $old := dig "data" "tls.crt" "" ($there | default dict) | b64dec -}}
{{- $data = dict "tls.crt" ($ca.Cert | b64enc) "tls.key" ($ca.Key | b64enc) "previous.crt" ($old | b64enc) -}}
{{- $ends := add (now | unixEpoch | int64) (mul 86400 $days) 82800 -}}
{{- $annotations = dict "portcullis.dev/renew-after" (toString $due) "portcullis.dev/names" "ca" "portcullis.dev/ends" (toString $ends) -}}
{{- end -}}
{{/* What it signs is renewed with it, and ends before it. */}}
{{- $caDue := index $annotations "portcullis.dev/renew-after" | int64 -}}
{{- $caEnds := index $annotations "portcullis.dev/ends" | default (add $caDue (mul 86400 (int .Values.tls.generated.renewBefore)) | toString) | int64 -}}
{{- $due = min $due $caDue -}}
{{- $left := div (sub $caEnds (now | unixEpoch | int64)) 86400 -}}
{{- $days = min $days $left | int -}}
{{- $bundle := printf "%s%s" $ca.Cert (index $data "previous.crt" | default "" | b64dec) -}}
{{- $made := dict "ca" (dict "secret" $caName "data" $data "annotations" $annotations "bundle" $bundle) -}}
{{- $previous := index $data "previous.crt" | default "" | b64dec -}}
{{- $authorities := list ($ca.Cert | sha256sum) ($previous | sha256sum) -}}
{{- range $part, $certificate := include "portcullis.certificates" . | fromYaml -}}
{{- if $certificate.isMade -}}
{{- $names := $certificate.names | join "," | sha256sum -}}
{{- $mine := lookup "v1" "Secret" $.Release.Namespace $certificate.secret -}}
{{- $data := dict -}}
{{- $annotations := dict "portcullis.dev/renew-after" (toString $due) "portcullis.dev/names" $names "portcullis.dev/authority" ($ca.Cert | sha256sum) -}}
{{- if include "portcullis.isKept" (dict "secret" $mine "names" $names "authorities" $authorities) -}}
{{- $data = pick $mine.data "tls.crt" "tls.key" -}}
{{- $annotations = pick $mine.metadata.annotations "portcullis.dev/renew-after" "portcullis.dev/names" "portcullis.dev/authority" -}}
{{- else -}}
{{- $pair := genSignedCert (first $certificate.names | trunc 64) nil $certificate.names $days $ca -}}
{{- $data = dict "tls.crt" ($pair.Cert | b64enc) "tls.key" ($pair.Key | b64enc) -}}
{{- end -}}
{{- $_ := set $data "ca.crt" ($bundle | b64enc) -}}
{{- $_ := set $made $part (dict "secret" $certificate.secret "data" $data "annotations" $annotations) -}}
{{- end -}}
{{- end -}}
{{- $_ := set .Values "made" $made -}}
{{- end -}}
{{- end -}}

{{/* What cannot work is an error here, and not in a cluster. */}}
{{- define "portcullis.checked" -}}
{{- if not (or .Values.service.enabled .Values.shim.enabled) -}}
{{- fail "nothing to install: set service.enabled or shim.enabled" -}}
{{- end -}}
{{- if ge (int .Values.tls.generated.renewBefore) (int .Values.tls.generated.days) -}}
{{- fail "tls.generated.renewBefore must be less than tls.generated.days: what is always due is made anew by each upgrade" -}}
{{- end -}}
{{- range $part, $certificate := include "portcullis.certificates" . | fromYaml -}}
{{- if not $certificate.secret -}}
{{- fail (printf "tls.mode provided needs the Secret of the %s: set %s" $part (get (dict "service" "tls.provided.serviceSecret" "shim" "tls.provided.shimSecret" "client" "shim.clientSecret") $part)) -}}
{{- end -}}
{{- end -}}
{{- if .Values.shim.enabled -}}
{{- $isUsed := or .Values.service.enabled (not .Values.shim.clientSecret) -}}
{{- if and $isUsed (not .Values.shim.identity) (not (regexMatch "^[a-z0-9]([-a-z0-9]{0,58}[a-z0-9])?$" .Values.cluster.name)) -}}
{{- fail (printf "cluster.name `%s` makes no identity for its shim, which is a DNS name: give the cluster a name of at most 60 of a-z, 0-9 and `-`, or set shim.identity" .Values.cluster.name) -}}
{{- end -}}
{{- if and (hasPrefix "spiffe://" .Values.shim.identity) (ne .Values.tls.mode "provided") (not .Values.shim.clientSecret) -}}
{{- fail "a SPIFFE ID is in no certificate that is made here: set shim.clientSecret to one that has it, or shim.identity to a DNS name" -}}
{{- end -}}
{{- if and (eq .Values.tls.mode "self") (not .Values.shim.serviceAccount.create) (has .Values.shim.serviceAccount.name (list "" "default")) -}}
{{- fail "tls.mode self gives rights to the service account of the shim, and not to that of all pods of the namespace: set shim.serviceAccount.name to one of its own, or shim.serviceAccount.create" -}}
{{- end -}}
{{- if and (eq .Values.tls.mode "provided") (not .Values.tls.provided.caBundle) -}}
{{- fail "tls.mode provided needs tls.provided.caBundle: by it the API server knows the shim" -}}
{{- end -}}
{{- if not .Values.service.enabled -}}
{{- if not .Values.shim.servers -}}
{{- fail "a shim without the service needs shim.servers: https://… of the decision service" -}}
{{- end -}}
{{- if and (has .Values.tls.mode (list "generated" "self")) (not .Values.shim.clientSecret) -}}
{{- fail "a shim without the service needs shim.clientSecret: a certificate that the service knows it by, with the authority of the service" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if .Values.service.enabled -}}
{{- include "portcullis.service.checkedTrust" . -}}
{{- end -}}
{{- if not (or .Values.shim.enabled (include "portcullis.anybody" .)) -}}
{{- fail "nobody may ask the service: name the identities of clusters in service.config.clusters" -}}
{{- end -}}
{{- end -}}

{{/* Whether the configuration knows somebody by a certificate. */}}
{{- define "portcullis.anybody" -}}
{{- range concat (.Values.service.config.clusters | default list) (.Values.service.config.operators | default list) -}}
{{- if .identities -}}true{{- end -}}
{{- end -}}
{{- end -}}
