package job

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"gocloud.dev/blob"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/admission"
	"codexgateway.dev/pkg/conversation"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/eventlog"
	"codexgateway.dev/pkg/id"
	"codexgateway.dev/pkg/idempotency"
)

// Publisher is the part of the bus the domain needs.
type Publisher interface {
	Publish(ctx context.Context, ev events.Event) error
}

// Deps is what a store works on.
type Deps struct {
	Docs    *docstore.Store
	Blobs   *blob.Bucket
	PutBlob eventlog.PutBlob
	Bus     Publisher
	// Source names the publishing service in events, "/codexgw/edge".
	Source string
	Now    func() time.Time
	Logger *slog.Logger
	// ClaimDelay is how long a queued job may wait unclaimed before the
	// reconciler tells the workers again (default 10 s).
	ClaimDelay time.Duration
	// Limit is how many jobs of a tenant may be admitted at once, 0: any
	// number; nil: any number for all.
	Limit func(tenant string) int
	// LogRetention is how long the log of an ended job stays in documents; after
	// it reads come from its artifact. 0: for ever.
	LogRetention time.Duration
}

// Store is the door to jobs.
type Store struct {
	Deps

	Log           *eventlog.Store
	Conversations *conversation.Store
	idem          *idempotency.Store
	slots         *admission.Store

	mu   sync.Mutex
	full map[string]time.Time // tenants that had no free slot, and when
}

// NewStore returns a store; the functions, stores and names of Deps but
// Limit are required.
func NewStore(d Deps) (*Store, error) {
	if d.Docs == nil || d.Blobs == nil || d.PutBlob == nil || d.Bus == nil || d.Now == nil || d.Logger == nil || d.Source == "" {
		return nil, errors.New("job: Docs, Blobs, PutBlob, Bus, Source, Now and Logger are required")
	}
	if d.ClaimDelay == 0 {
		d.ClaimDelay = 10 * time.Second
	}
	if d.Limit == nil {
		d.Limit = func(string) int { return 0 }
	}
	log, err := eventlog.NewStore(d.Docs, d.Blobs, d.PutBlob)
	if err != nil {
		return nil, err
	}
	return &Store{
		Deps: d, Log: log,
		Conversations: conversation.NewStore(d.Docs),
		idem:          idempotency.NewStore(d.Docs),
		slots:         admission.NewStore(d.Docs),
		full:          map[string]time.Time{},
	}, nil
}

// errNoJob is the one answer for unknown ids and ids of other tenants.
func errNoJob() error { return errs.New(errs.NotFound, "There is no such job.") }

// Get reads a tenant's job. One of another tenant is the same not_found as one
// that never was, and is not decoded: a large one would take longer.
func (s *Store) Get(ctx context.Context, tenant, jobID string) (*Job, error) {
	if !id.Is(id.Job, jobID) {
		return nil, errNoJob()
	}
	doc, err := s.document(ctx, jobID)
	if err != nil {
		return nil, err
	}
	if doc.Fields["tenant"] != tenant {
		return nil, errNoJob()
	}
	return decode(&doc)
}

// read reads a job of any tenant: for workers and the reconciler.
func (s *Store) read(ctx context.Context, jobID string) (*Job, error) {
	doc, err := s.document(ctx, jobID)
	if err != nil {
		return nil, err
	}
	return decode(&doc)
}

// document reads the document of a job of any tenant.
func (s *Store) document(ctx context.Context, jobID string) (docstore.Doc, error) {
	doc, err := s.Docs.Get(ctx, key(jobID))
	if errors.Is(err, docstore.ErrNotFound) {
		return doc, errNoJob()
	}
	if err != nil {
		return doc, fmt.Errorf("job: get %s: %w", jobID, err)
	}
	return doc, nil
}

func decode(doc *docstore.Doc) (*Job, error) {
	j := &Job{version: doc.Version}
	if err := json.Unmarshal(doc.Data, j); err != nil {
		return nil, fmt.Errorf("job: decode %s: %w", doc.Key.ID, err)
	}
	return j, nil
}

// LoadSpec returns the job's spec, from its blob when it is not inline.
func (s *Store) LoadSpec(ctx context.Context, j *Job) (*Spec, error) {
	if j.Spec != nil {
		return j.Spec, nil
	}
	raw, err := s.Blobs.ReadAll(ctx, j.SpecBlob)
	if err != nil {
		return nil, fmt.Errorf("job: read spec of %s: %w", j.ID, err)
	}
	spec := new(Spec)
	if err := json.Unmarshal(raw, spec); err != nil {
		return nil, fmt.Errorf("job: decode spec of %s: %w", j.ID, err)
	}
	return spec, nil
}

// LoadContent returns the job's final message.
func (s *Store) LoadContent(ctx context.Context, j *Job) (string, error) {
	if j.ContentBlob == "" {
		return j.Content, nil
	}
	raw, err := s.Blobs.ReadAll(ctx, j.ContentBlob)
	if err != nil {
		return "", fmt.Errorf("job: read content of %s: %w", j.ID, err)
	}
	return string(raw), nil
}

// Filter selects jobs of a tenant. Limit is 1 to 200, 0 means 50.
type Filter struct {
	State     State
	SessionID string
	Limit     int
	Cursor    string
}

// List returns a tenant's jobs, newest first, and the cursor of the next page.
func (s *Store) List(ctx context.Context, tenant string, f Filter) ([]*Job, string, error) {
	q := docstore.Query{
		Collection: Collection, Index: "by_tenant", Equal: []any{tenant},
		Desc: true, Limit: f.Limit, Cursor: f.Cursor,
	}
	if q.Limit == 0 {
		q.Limit = 50
	}
	switch {
	case f.SessionID != "" && f.State != "":
		q.Index, q.Equal = "by_session_state", []any{tenant, f.SessionID, string(f.State)}
	case f.SessionID != "":
		q.Index, q.Equal = "by_session", []any{tenant, f.SessionID}
	case f.State != "":
		q.Index, q.Equal = "by_state", []any{tenant, string(f.State)}
	}
	page, err := s.Docs.Query(ctx, q)
	if errors.Is(err, docstore.ErrInvalid) && f.Cursor != "" {
		return nil, "", errs.Param("/cursor", "The cursor is not one of this query's.")
	}
	if err != nil {
		return nil, "", fmt.Errorf("job: list: %w", err)
	}
	jobs := make([]*Job, len(page.Docs))
	for i := range page.Docs {
		if jobs[i], err = decode(&page.Docs[i]); err != nil {
			return nil, "", err
		}
	}
	return jobs, page.Next, nil
}
