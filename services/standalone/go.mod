module codexgateway.dev/services/standalone

go 1.26.0

require (
	codexgateway.dev/events v0.0.0
	codexgateway.dev/pkg v0.0.0
	codexgateway.dev/services/edge v0.0.0
	codexgateway.dev/services/reconciler v0.0.0
	codexgateway.dev/services/worker v0.0.0
)

require (
	github.com/google/go-cmp v0.7.0 // indirect
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/spf13/cobra v1.10.2 // indirect
	github.com/spf13/pflag v1.0.9 // indirect
	go.uber.org/goleak v1.3.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/term v0.47.0 // indirect
	golang.org/x/text v0.42.0 // indirect
)

replace codexgateway.dev/events => ../../events

replace codexgateway.dev/pkg => ../../pkg

replace codexgateway.dev/services/edge => ../../services/edge

replace codexgateway.dev/services/worker => ../../services/worker

replace codexgateway.dev/services/reconciler => ../../services/reconciler
