// Package schema lists every collection of the gateway, in one place that a
// platform opens and that the cloud's index declarations are made from.
package schema

import (
	"codexgateway.dev/pkg/admission"
	"codexgateway.dev/pkg/apikey"
	"codexgateway.dev/pkg/audit"
	"codexgateway.dev/pkg/conversation"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/eventlog"
	"codexgateway.dev/pkg/idempotency"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/pkg/ratelimit"
	"codexgateway.dev/pkg/ticket"
)

// All returns the schema of the whole gateway.
func All() docstore.Schema {
	s := docstore.Schema{eventlog.Schema(), idempotency.Schema(), admission.Schema(), apikey.Schema(), ratelimit.Schema(), ticket.Schema(), audit.Schema()}
	s = append(s, job.Schema()...)
	return append(s, conversation.Schema()...)
}
