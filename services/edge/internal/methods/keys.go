package methods

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"codexgateway.dev/pkg/apikey"
	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/audit"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/jsonrpc"
	"codexgateway.dev/services/edge/internal/auth"
	"codexgateway.dev/services/edge/internal/call"
)

const scopeKeys = string(apikey.KeysAdmin)

// Ring is told of what becomes of keys, so that this instance obeys at once.
type Ring interface {
	Revoked(keyID string)
	Rotated(k *apikey.Record)
}

// registerKeys adds the methods of keys.
func (s *Service) registerKeys(m *jsonrpc.Mux) {
	jsonrpc.Register(m, apiv1.MethodKeyCreate, jsonrpc.MethodDoc{
		Summary: "Makes a key and answers with it, this once.", Scope: scopeKeys,
	}, s.keyCreate)
	jsonrpc.Register(m, apiv1.MethodKeyList, jsonrpc.MethodDoc{
		Summary: "Lists a tenant's keys, newest first, without their secrets.", Scope: scopeKeys,
	}, s.keyList)
	jsonrpc.Register(m, apiv1.MethodKeyRotate, jsonrpc.MethodDoc{
		Summary: "Gives a key a new secret; the old one stays valid for the overlap.", Scope: scopeKeys,
	}, s.keyRotate)
	jsonrpc.Register(m, apiv1.MethodKeyRevoke, jsonrpc.MethodDoc{
		Summary: "Ends a key for ever and closes its streams.", Scope: scopeKeys,
	}, s.keyRevoke)
}

// keyTenant is the tenant whose keys are meant: only the admin names another.
func keyTenant(p *auth.Principal, named string) (string, error) {
	switch {
	case named == "" || named == p.Tenant:
		return p.Tenant, nil
	case !p.Admin:
		e := errs.New(errs.PermissionDenied, "Only the admin key works on keys of another tenant.")
		e.Field = "/tenant"
		return "", e
	case !apikey.ValidTenant(named):
		return "", errs.Param("/tenant", fmt.Sprintf("A tenant is 1 to %d letters, digits and . _ -, beginning with a letter or digit.", apikey.MaxTenant))
	}
	return named, nil
}

func (s *Service) keyCreate(ctx context.Context, p apiv1.KeyCreateParams) (apiv1.NewKey, error) {
	maker := &call.From(ctx).Principal
	n, err := s.newKey(maker, &p)
	if err != nil {
		return apiv1.NewKey{}, err
	}
	trail := s.keyTrail(ctx, audit.KeyCreate)
	r, key, err := s.Keys.Create(ctx, n, trail.also())
	if err != nil {
		return apiv1.NewKey{}, Fault(err)
	}
	trail.tell(r)
	return apiv1.NewKey{Key: s.keyView(r), Secret: key.Reveal()}, nil
}

// newKey checks params. A key gives no more than it has: scopes, rate, lifetime.
func (s *Service) newKey(maker *auth.Principal, p *apiv1.KeyCreateParams) (apikey.New, error) {
	n := apikey.New{Name: p.Name, RateLimit: p.RateLimit, CreatedBy: maker.KeyID, ExpiresAt: maker.Expires}
	if bad := name(p.Name); bad != "" {
		return n, errs.Param("/name", bad)
	}
	var err error
	if n.Tenant, err = keyTenant(maker, p.Tenant); err != nil {
		return n, err
	}
	if n.Scopes, err = keyScopes(maker, p.Scopes); err != nil {
		return n, err
	}
	if p.RateLimit < 0 || p.RateLimit > apikey.MaxRate {
		return n, errs.Param("/rate_limit", fmt.Sprintf("This parameter must be 1 to %d.", apikey.MaxRate))
	}
	if n.RateLimit == 0 {
		n.RateLimit = maker.RateLimit
	}
	if own := cmp.Or(maker.RateLimit, s.KeyRate); !maker.Admin && own > 0 && n.RateLimit > own {
		e := errs.New(errs.PermissionDenied, "A key gives no higher limit than its own; the admin key does.")
		e.Field = "/rate_limit"
		return n, e
	}
	if p.ExpiresAt == "" {
		return n, nil
	}
	at, err := time.Parse(time.RFC3339, p.ExpiresAt)
	if err != nil || !at.After(s.Now()) {
		return n, errs.Param("/expires_at", "This parameter must be a time to come, such as 2030-01-31T12:00:00Z.")
	}
	if !maker.Expires.IsZero() && at.After(maker.Expires) {
		e := errs.New(errs.PermissionDenied, "A key makes none that outlives it; the admin key does.")
		e.Field = "/expires_at"
		return n, e
	}
	n.ExpiresAt = at.UTC()
	return n, nil
}

// keyScopes are those of a new key: without a word the defaults, as far as the
// maker has them.
func keyScopes(maker *auth.Principal, asked []string) ([]apikey.Scope, error) {
	if len(asked) == 0 {
		scopes := slices.DeleteFunc(apikey.DefaultScopes(), func(s apikey.Scope) bool { return !maker.May(s) })
		if len(scopes) == 0 {
			return nil, errs.Param("/scopes", "This key has no scope that it could give by default: name some that it has.")
		}
		return scopes, nil
	}
	var scopes []apikey.Scope
	for i, a := range asked {
		scope, field := apikey.Scope(a), fmt.Sprintf("/scopes/%d", i)
		switch {
		case !scope.Valid():
			return nil, errs.Param(field, fmt.Sprintf("This parameter must be one of %v.", apikey.AllScopes()))
		case slices.Contains(scopes, scope):
			return nil, errs.Param(field, "This scope is given twice.")
		case !maker.May(scope):
			return nil, lacks(scope, field)
		}
		scopes = append(scopes, scope)
	}
	return scopes, nil
}

// lacks refuses to give what one has not.
func lacks(scope apikey.Scope, field string) error {
	e := errs.New(errs.PermissionDenied, "A key gives no scope that it does not have.").With("scope", scope)
	e.Field = field
	return e
}

func (s *Service) keyList(ctx context.Context, p apiv1.KeyListParams) (apiv1.KeyListResult, error) {
	out := apiv1.KeyListResult{Keys: []apiv1.Key{}}
	tenant, err := keyTenant(&call.From(ctx).Principal, p.Tenant)
	if err != nil {
		return out, err
	}
	if p.Limit < 0 || p.Limit > maxList {
		return out, errs.Param("/limit", fmt.Sprintf("This parameter must be 1 to %d.", maxList))
	}
	if len(p.Cursor) > maxCursorBytes {
		return out, errs.Param("/cursor", fmt.Sprintf(tooManyBytesText, maxCursorBytes))
	}
	keys, next, err := s.Keys.List(ctx, tenant, p.Limit, p.Cursor)
	if err != nil {
		return out, Fault(err)
	}
	for _, r := range keys {
		out.Keys = append(out.Keys, s.keyView(r))
	}
	out.NextCursor = next
	return out, nil
}

func (s *Service) keyRotate(ctx context.Context, p apiv1.KeyRotateParams) (apiv1.NewKey, error) {
	who := &call.From(ctx).Principal
	tenant, err := keyOf(who, p.KeyID, p.Tenant)
	if err != nil {
		return apiv1.NewKey{}, err
	}
	overlap := apikey.DefaultOverlap
	if p.OverlapS != nil {
		if limit := int(apikey.MaxOverlap / time.Second); *p.OverlapS < 0 || *p.OverlapS > limit {
			return apiv1.NewKey{}, errs.Param("/overlap_s", fmt.Sprintf("This parameter must be 0 to %d seconds.", limit))
		}
		overlap = time.Duration(*p.OverlapS) * time.Second
	}
	trail := s.keyTrail(ctx, audit.KeyRotate)
	r, key, err := s.Keys.Rotate(ctx, tenant, p.KeyID, overlap, func(r *apikey.Record) error {
		// The new secret is shown to who asks: it must open nothing new to them.
		for _, scope := range r.Scopes {
			if !who.May(scope) {
				return lacks(scope, "/key_id")
			}
		}
		return nil
	}, trail.also())
	if err != nil {
		return apiv1.NewKey{}, Fault(err)
	}
	s.Ring.Rotated(r)
	trail.tell(r)
	return apiv1.NewKey{Key: s.keyView(r), Secret: key.Reveal()}, nil
}

func (s *Service) keyRevoke(ctx context.Context, p apiv1.KeyRef) (apiv1.Key, error) {
	tenant, err := keyOf(&call.From(ctx).Principal, p.KeyID, p.Tenant)
	if err != nil {
		return apiv1.Key{}, err
	}
	trail := s.keyTrail(ctx, audit.KeyRevoke)
	r, err := s.Keys.Revoke(ctx, tenant, p.KeyID, trail.also())
	if err != nil {
		return apiv1.Key{}, Fault(err)
	}
	s.Ring.Revoked(r.ID)
	trail.tell(r)
	return s.keyView(r), nil
}

// keyOf is the tenant of the key that is meant.
func keyOf(p *auth.Principal, keyID, tenant string) (string, error) {
	if keyID == "" {
		return "", errs.Param("/key_id", "A key id is required.")
	}
	return keyTenant(p, tenant)
}

// keyView is a key as the API shows it.
func (s *Service) keyView(r *apikey.Record) apiv1.Key {
	k := apiv1.Key{
		KeyID: r.ID, Tenant: r.Tenant, Name: r.Name, Status: r.Status(s.Now()), RateLimit: r.RateLimit, CreatedBy: r.CreatedBy,
		CreatedAt: stamp(r.CreatedAt), ExpiresAt: stampOr(r.ExpiresAt), RotatedAt: stampOr(r.RotatedAt),
		RevokedAt: stampOr(r.RevokedAt), LastUsedAt: stampOr(r.LastUsedAt), Scopes: []string{},
	}
	for _, scope := range r.Scopes {
		k.Scopes = append(k.Scopes, string(scope))
	}
	if len(r.Previous) > 0 {
		k.OverlapUntil = stampOr(r.Previous[0].Until)
	}
	return k
}

// stampOr is stamp, empty for no time.
func stampOr(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return stamp(t)
}
