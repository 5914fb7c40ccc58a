module codexgateway.dev/test

go 1.26.0

require (
	codexgateway.dev/events v0.0.0
	codexgateway.dev/pkg v0.0.0
	codexgateway.dev/services/edge v0.0.0
	codexgateway.dev/services/reconciler v0.0.0
	codexgateway.dev/services/standalone v0.0.0
	codexgateway.dev/services/worker v0.0.0
)

require (
	github.com/coder/websocket v1.8.15 // indirect
	github.com/google/go-cmp v0.7.0 // indirect
	go.uber.org/goleak v1.3.0 // indirect
)

replace codexgateway.dev/events => ../events

replace codexgateway.dev/pkg => ../pkg

replace codexgateway.dev/services/edge => ../services/edge

replace codexgateway.dev/services/worker => ../services/worker

replace codexgateway.dev/services/reconciler => ../services/reconciler

replace codexgateway.dev/services/standalone => ../services/standalone
