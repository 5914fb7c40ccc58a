package methods

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"codexgateway.dev/pkg/apikey"
	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/audit"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/services/edge/internal/call"
)

// record keeps what the caller did to a target. It is done: a record that cannot
// be stored does not undo it, and is in the log stream all the same.
func (s *Service) record(ctx context.Context, action audit.Action, target string) {
	s.keep(ctx, call.Audit(ctx, action, target, nil))
}

// keyTrail is the record of one change of a key: stored in the commit that makes
// the change, so that no key changes hands without it, and told of after it.
type keyTrail struct {
	svc    *Service
	ctx    context.Context //nolint:containedctx // the call that makes the change
	action audit.Action
	record audit.Record
}

func (s *Service) keyTrail(ctx context.Context, action audit.Action) *keyTrail {
	return &keyTrail{svc: s, ctx: ctx, action: action}
}

// of begins the record; the key may be another tenant's than the caller's.
func (t *keyTrail) of(key *apikey.Record) *audit.Record {
	t.record = call.Audit(t.ctx, t.action, key.ID, nil)
	t.record.Tenant = key.Tenant
	return &t.record
}

// also is the write for the commit. A commit that is tried again has a new one.
func (t *keyTrail) also() apikey.Also {
	if t.svc.Audit == nil {
		return nil
	}
	return func(key *apikey.Record) (docstore.Write, error) { return t.svc.Audit.Write(t.of(key)) }
}

// tell writes the record to the log stream. A revocation that found the key
// revoked has stored nothing and is told of all the same.
func (t *keyTrail) tell(key *apikey.Record) {
	if t.record.ID == "" {
		t.of(key)
	}
	t.svc.Audit.Tell(t.ctx, t.record)
}

// keep stores a record, also when the caller has left meanwhile.
func (s *Service) keep(ctx context.Context, r audit.Record) {
	if err := s.Audit.Record(context.WithoutCancel(ctx), r); err != nil {
		s.Jobs.Logger.ErrorContext(ctx, "audit record not stored",
			slog.String("action", string(r.Action)), slog.String("target", r.Target), slog.Any("error", err))
	}
}

// Denied counts a call that its key may not make; err may be anything else, or
// nil.
func (s *Service) Denied(ctx context.Context, target string, err error) {
	if err != nil && errs.CodeOf(err) == errs.PermissionDenied {
		s.Tally.Count(ctx, call.Audit(ctx, audit.PermissionDenied, target, err))
	}
}

func (s *Service) auditList(ctx context.Context, p apiv1.AuditListParams) (apiv1.AuditListResult, error) {
	out := apiv1.AuditListResult{Records: []apiv1.AuditRecord{}}
	who := &call.From(ctx).Principal
	if p.Tenant == "" {
		p.Tenant = who.Tenant
	}
	if p.Tenant != who.Tenant && !who.Admin {
		return out, errs.New(errs.PermissionDenied, "Only the admin key sees other tenants.")
	}
	if p.Action != "" && !audit.Action(p.Action).Valid() {
		return out, errs.Param("/action", fmt.Sprintf("This parameter must be one of %v.", audit.Actions()))
	}
	if p.Limit < 0 || p.Limit > maxList {
		return out, errs.Param("/limit", fmt.Sprintf("This parameter must be 1 to %d.", maxList))
	}
	if len(p.Cursor) > maxCursorBytes {
		return out, errs.Param("/cursor", fmt.Sprintf(tooManyBytesText, maxCursorBytes))
	}
	f := audit.Filter{Action: audit.Action(p.Action), KeyID: p.KeyID, Limit: p.Limit, Cursor: p.Cursor}
	var err error
	if f.From, err = moment("/after", p.After); err != nil {
		return out, err
	}
	if f.Until, err = moment("/until", p.Until); err != nil {
		return out, err
	}
	if bad := name(p.KeyID); bad != "" {
		return out, errs.Param("/key_id", bad)
	}
	if bad := name(p.Tenant); bad != "" {
		return out, errs.Param("/tenant", bad)
	}
	records, next, err := s.Audit.List(ctx, p.Tenant, f)
	if err != nil {
		return out, Fault(err)
	}
	out.NextCursor = next
	for i := range records {
		r := &records[i]
		out.Records = append(out.Records, apiv1.AuditRecord{
			ID: r.ID, Time: stamp(r.Time), Action: string(r.Action), Outcome: string(r.Outcome), Tenant: r.Tenant,
			KeyID: r.KeyID, Target: r.Target, Code: r.Code, Address: r.Address, RequestID: r.RequestID,
		})
	}
	return out, nil
}

// moment reads an optional time.
func moment(field, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, errs.Param(field, "This parameter must be a time of RFC 3339.")
	}
	return t, nil
}
