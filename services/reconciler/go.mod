module codexgateway.dev/services/reconciler

go 1.26.0

require (
	codexgateway.dev/events v0.0.0
	codexgateway.dev/pkg v0.0.0
)

require (
	github.com/google/go-cmp v0.7.0 // indirect
	go.uber.org/goleak v1.3.0 // indirect
)

replace codexgateway.dev/events => ../../events

replace codexgateway.dev/pkg => ../../pkg
