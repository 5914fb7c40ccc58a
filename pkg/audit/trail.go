package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/id"
)

// Collection holds the stored records.
const Collection = "audit"

// DefaultKeep is how long a stored record is kept: 90 days.
const DefaultKeep = 90 * 24 * time.Hour

// idKind begins the id of a record.
const idKind id.Kind = "aud"

// Indexes of the records.
const (
	byTenant    = "by_tenant"
	byAction    = "by_action"
	byKey       = "by_key"
	byKeyAction = "by_key_action"
)

// Schema declares the records.
func Schema() docstore.Collection {
	return docstore.Collection{
		Name: Collection,
		Fields: []docstore.Field{
			{Name: "tenant", Kind: docstore.String},
			{Name: "action", Kind: docstore.String},
			{Name: "key_id", Kind: docstore.String},
			{Name: "at", Kind: docstore.Int},
			{Name: "expires_at", Kind: docstore.Int},
		},
		Indexes: []docstore.Index{
			{Name: byTenant, Equal: []string{"tenant"}, Order: "at", Read: docstore.Descending},
			{Name: byAction, Equal: []string{"tenant", "action"}, Order: "at", Read: docstore.Descending},
			{Name: byKey, Equal: []string{"tenant", "key_id"}, Order: "at", Read: docstore.Descending},
			{Name: byKeyAction, Equal: []string{"tenant", "key_id", "action"}, Order: "at", Read: docstore.Descending},
			{Name: docstore.IndexExpiry, Order: "expires_at"},
		},
		Expires: "expires_at",
	}
}

// Trail keeps records. A nil Trail keeps none.
type Trail struct {
	docs   *docstore.Store
	stream slog.Handler
	now    func() time.Time
	keep   time.Duration
}

// NewTrail returns a trail over documents and a log stream; keep is how long
// documents stay, 0 for DefaultKeep.
func NewTrail(docs *docstore.Store, stream slog.Handler, now func() time.Time, keep time.Duration) *Trail {
	if keep <= 0 {
		keep = DefaultKeep
	}
	return &Trail{docs: docs, stream: stream, now: now, keep: keep}
}

// Write gives a record its id and time and returns the write that stores it, for
// the commit that makes it true. After that commit the caller calls Tell.
func (t *Trail) Write(r *Record) (docstore.Write, error) {
	t.stamp(r)
	data, err := json.Marshal(r)
	if err != nil {
		return docstore.Write{}, fmt.Errorf("audit: encode: %w", err)
	}
	return docstore.Write{
		Op: docstore.Create, Key: docstore.Key{Collection: Collection, ID: r.ID}, Data: data,
		Fields: docstore.Fields{
			"tenant": r.Tenant, "action": string(r.Action), "key_id": r.KeyID,
			"at": r.Time.UnixMicro(), "expires_at": r.Time.Add(t.keep).UnixMicro(),
		},
	}, nil
}

// stamp gives a record its id and time, once.
func (t *Trail) stamp(r *Record) {
	if r.ID == "" {
		r.ID, r.Time = id.New(idKind), t.now().UTC()
	}
}

// Tell writes a record to the log stream.
func (t *Trail) Tell(ctx context.Context, r Record) {
	if t == nil {
		return
	}
	t.stamp(&r)
	line := slog.NewRecord(r.Time, slog.LevelInfo, "audit", 0)
	line.AddAttrs(slog.String("log", "audit"), slog.String("id", r.ID), slog.String("action", string(r.Action)), slog.String("outcome", string(r.Outcome)))
	for _, a := range []slog.Attr{
		slog.String("tenant", r.Tenant), slog.String("key_id", r.KeyID), slog.String("target", r.Target),
		slog.String("code", r.Code), slog.String("address", r.Address), slog.String("request_id", r.RequestID),
	} {
		if a.Value.String() != "" {
			line.AddAttrs(a)
		}
	}
	if r.Count > 1 {
		line.AddAttrs(slog.Int("count", r.Count))
	}
	// Not through a Logger, which would ask for the level first.
	_ = t.stream.Handle(ctx, line) // a log that cannot be written must not refuse the work
}

// Record tells of an action that is done, and stores it where the action is
// stored. The error is the store's: the action itself stands.
func (t *Trail) Record(ctx context.Context, r Record) error {
	if t == nil {
		return nil
	}
	t.stamp(&r)
	t.Tell(ctx, r)
	if !r.Action.Stored() {
		return nil
	}
	w, err := t.Write(&r)
	if err != nil {
		return err
	}
	if _, err := t.docs.Commit(ctx, []docstore.Write{w}); err != nil {
		return fmt.Errorf("audit: store: %w", err)
	}
	return nil
}

// Filter chooses stored records of a tenant. Zero values choose all.
type Filter struct {
	Action Action
	KeyID  string
	// From and Until bound the time: From <= time < Until.
	From, Until time.Time
	// Limit is the size of a page, 0 for 100; Cursor continues after one.
	Limit  int
	Cursor string
}

// List returns the stored records of a tenant, newest first, and the cursor of
// the next page; empty: there is none.
func (t *Trail) List(ctx context.Context, tenant string, f Filter) ([]Record, string, error) {
	q := docstore.Query{Collection: Collection, Index: byTenant, Equal: []any{tenant}, Desc: true, Limit: f.Limit, Cursor: f.Cursor}
	switch {
	case f.Action != "" && f.KeyID != "":
		q.Index, q.Equal = byKeyAction, append(q.Equal, f.KeyID, string(f.Action))
	case f.Action != "":
		q.Index, q.Equal = byAction, append(q.Equal, string(f.Action))
	case f.KeyID != "":
		q.Index, q.Equal = byKey, append(q.Equal, f.KeyID)
	}
	if !f.From.IsZero() {
		q.From = f.From.UnixMicro()
	}
	if !f.Until.IsZero() {
		q.To = f.Until.UnixMicro()
	}
	page, err := t.docs.Query(ctx, q)
	if err != nil {
		return nil, "", fmt.Errorf("audit: list: %w", err)
	}
	records := make([]Record, len(page.Docs))
	for i, d := range page.Docs {
		if err := json.Unmarshal(d.Data, &records[i]); err != nil {
			return nil, "", fmt.Errorf("audit: decode %s: %w", d.Key.ID, err)
		}
	}
	return records, page.Next, nil
}
