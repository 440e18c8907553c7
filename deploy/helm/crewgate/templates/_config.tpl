{{- /* crewgate.toml of one pod. Arguments: root (the chart's values) and number (of the pod). */ -}}
{{- define "crewgate.config" -}}
{{- $name := include "crewgate.name" .root -}}
{{- $own := printf "%s-%d" $name (int .number) -}}
{{- $values := .root.Values -}}
{{- $place := "/var/lib/crewgate/gw" -}}
{{- $peers := list -}}
{{- range $other := until (int $values.replicas) -}}
{{- if ne (int $other) (int $.number) -}}
{{- $peers = append $peers (printf "%s-%d.%s-members:8446" $name $other $name) -}}
{{- end -}}
{{- end -}}
# The chart has written this file. To change it, change the values of the chart.
name = {{ $own | quote }}
audience = {{ $values.audience | quote }}
state = "{{ $place }}/state"
workers = {{ int $values.workers }}
drain_seconds = {{ $values.drainSeconds }}
{{- with $values.sealingKeys }}
sealing_keys = "/run/crewgate/secrets/{{ . }}"
{{- end }}

[audit]
folder = "{{ $place }}/state/audit"
on_full = "refuse"

[ledger]
url = {{ $values.ledger.url | quote }}
{{- if $values.ledger.passwordSecret.name }}
password_file = "/run/crewgate/ledger/password"
{{- end }}

[ca]
folder = "{{ $place }}/ca"
root = "{{ $place }}/certs/ca.pem"
crl = "{{ $place }}/certs/crl.pem"
trust_domain = {{ $values.trustDomain | quote }}
ocsp = "unix:{{ $place }}/state/ocsp.sock"
{{- if ne (int .number) 0 }}
control = "https://{{ $name }}-0.{{ $name }}-members:8445"
{{- end }}

[control]
address = "0.0.0.0"
port = 8445
certificate = "{{ $place }}/certs/gateway.pem"
key = "{{ $place }}/gateway/gateway.key"

[cluster]
peers = {{ $peers | toJson }}
address = "0.0.0.0"
port = 8446
# The kubelet writes this name with the address of the pod into /etc/hosts.
advertise = "{{ $own }}:8446"
certificate = "{{ $place }}/certs/machine.pem"
key = "{{ $place }}/gateway/machine.key"
signing_key = "{{ $place }}/gateway/signing.key"
staleness_quorum = {{ $values.cluster.stalenessQuorum | quote }}
max_staleness_seconds = {{ $values.cluster.maxStalenessSeconds }}

[admin]
address = "0.0.0.0"
port = 8447
remote = true

[[listener]]
name = "agents"
address = "0.0.0.0"
port = 8443
certificate = "{{ $place }}/certs/gateway.pem"
key = "{{ $place }}/gateway/gateway.key"

[[listener]]
name = "crews"
address = "0.0.0.0"
port = 8444
certificate = "{{ $place }}/certs/gateway.pem"
key = "{{ $place }}/gateway/gateway.key"
client_certificate = "required"

{{ $values.config }}
{{- end -}}
