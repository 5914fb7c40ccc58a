package call

import (
	"context"

	"codexgateway.dev/pkg/audit"
	"codexgateway.dev/pkg/errs"
)

// Audit is the record of what the request of a context did, or tried, with a
// target: err is how that ended.
func Audit(ctx context.Context, action audit.Action, target string, err error) audit.Record {
	i := From(ctx)
	r := audit.Record{
		Action: action, Outcome: audit.Done, Tenant: i.Principal.Tenant, KeyID: i.Principal.KeyID,
		Target: target, Address: i.Address, RequestID: i.RequestID,
	}
	if err == nil {
		return r
	}
	code := errs.CodeOf(err)
	r.Code, r.Outcome = string(code), audit.Refused
	if row := errs.Lookup(code); row.Retryable || code == errs.Internal {
		r.Outcome = audit.Failed
	}
	return r
}
