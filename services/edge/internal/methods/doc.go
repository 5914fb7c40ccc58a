// Package methods is the JSON-RPC methods that every transport serves.
//
// It validates params in one place each, calls the job domain and shapes the
// answers as codexgateway.dev/pkg/apiv1 declares them. It guarantees that every
// refusal names the field at fault, that nothing of another tenant is ever
// seen, and that once a job is stored its submit is answered with the job's id,
// whatever fails after that.
//
// The edge's HTTP and WebSocket transports register it on their tables; the
// events route shares [Service.Page] with job.events, the exec route
// [Service.Submit] with conversation.prompt.
package methods
