package conversation

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/id"
)

// Collections of conversation documents.
const (
	Collection         = "conversations"
	SessionsCollection = "sessions"
)

// MaxQueue is how many jobs of one conversation may wait or run. The queue
// lives in one document, so it is bounded; past it a submit is refused.
const MaxQueue = 200

// Schema declares the documents.
func Schema() []docstore.Collection {
	return []docstore.Collection{
		{
			Name: Collection,
			Fields: []docstore.Field{
				{Name: "tenant", Kind: docstore.String},
				{Name: "updated_at", Kind: docstore.Int},
			},
			Indexes: []docstore.Index{{Name: "by_tenant", Equal: []string{"tenant"}, Order: "updated_at", Read: docstore.Descending}},
		},
		{Name: SessionsCollection},
	}
}

// MaxInline is the size up to which a packed rollout stays in the document: an
// upload costs as much as five documents written, and the document is read and
// written a few times a job.
const MaxInline = 32 << 10

// Thread is what a finished job leaves for the next one of its conversation.
type Thread struct {
	// ID is Codex's thread id.
	ID string `json:"id"`
	// Rollout is the blob of the thread's rollout file, packed, or Inline is the
	// file itself. RolloutName is its file name: Codex finds a thread by
	// rollout-<time>-<thread id>.jsonl only.
	Rollout     string `json:"rollout,omitempty"`
	Inline      []byte `json:"inline,omitempty"`
	RolloutName string `json:"rollout_name"`
	// Workspace is the blob of the workspace archive; it lies over Origin.
	Workspace string  `json:"workspace,omitempty"`
	Origin    *Origin `json:"origin,omitempty"`
}

// Origin is the checkout a conversation's workspace began as. The archive has
// no git history, so the next job checks this out again and lays the archive
// over it: its diff is against the same commit.
type Origin struct {
	URL    string `json:"url"`
	Commit string `json:"commit"`
	Subdir string `json:"subdir,omitempty"`
}

// Conversation is the document of one conversation.
type Conversation struct {
	ID        string    `json:"id"`
	Tenant    string    `json:"tenant"`
	SessionID string    `json:"session_id,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
	// Queue holds the jobs that have not ended, in submit order; the first may run.
	Queue []string `json:"queue,omitempty"`
	// LastJob is the job that ended last.
	LastJob string `json:"last_job,omitempty"`
	// Thread is nil until a job has ended with a thread worth going on with.
	Thread *Thread `json:"thread,omitempty"`

	version docstore.Version
}

// Head is the job that may run; empty if none waits.
func (c *Conversation) Head() string {
	if len(c.Queue) == 0 {
		return ""
	}
	return c.Queue[0]
}

// Push queues a job; it fails when the queue is full.
func (c *Conversation) Push(jobID string, now time.Time) error {
	if len(c.Queue) >= MaxQueue {
		return errs.Newf(errs.QuotaExceeded, "The conversation already has %d unfinished jobs.", MaxQueue)
	}
	c.Queue = append(slices.Clone(c.Queue), jobID)
	c.UpdatedAt = now
	return nil
}

// Pop removes an ended job, wherever in the queue it is, and keeps its thread
// for the next one if it left any.
func (c *Conversation) Pop(jobID string, t *Thread, now time.Time) {
	c.Queue = slices.DeleteFunc(slices.Clone(c.Queue), func(q string) bool { return q == jobID })
	c.LastJob = jobID
	if t != nil {
		c.Thread = t
	}
	c.UpdatedAt = now
}

// Store reads conversations and prepares their writes.
type Store struct{ docs *docstore.Store }

// NewStore returns a store over documents.
func NewStore(docs *docstore.Store) *Store { return &Store{docs: docs} }

// New returns a conversation that is not stored yet.
func New(tenant, session string, now time.Time) *Conversation {
	return &Conversation{ID: id.New(id.Conversation), Tenant: tenant, SessionID: session, CreatedAt: now, UpdatedAt: now}
}

// Get reads a conversation. One of another tenant is the same not_found as
// one that never was.
func (s *Store) Get(ctx context.Context, tenant, convID string) (*Conversation, error) {
	if !id.Is(id.Conversation, convID) {
		return nil, errs.New(errs.NotFound, "There is no such conversation.")
	}
	doc, err := s.docs.Get(ctx, docstore.Key{Collection: Collection, ID: convID})
	if errors.Is(err, docstore.ErrNotFound) {
		return nil, errs.New(errs.NotFound, "There is no such conversation.")
	}
	if err != nil {
		return nil, fmt.Errorf("conversation: get: %w", err)
	}
	c := &Conversation{version: doc.Version}
	if err := json.Unmarshal(doc.Data, c); err != nil {
		return nil, fmt.Errorf("conversation: decode %s: %w", convID, err)
	}
	if c.Tenant != tenant {
		return nil, errs.New(errs.NotFound, "There is no such conversation.")
	}
	return c, nil
}

// BySession finds the conversation a tenant calls by this name.
func (s *Store) BySession(ctx context.Context, tenant, session string) (*Conversation, error) {
	doc, err := s.docs.Get(ctx, sessionKey(tenant, session))
	if errors.Is(err, docstore.ErrNotFound) {
		return nil, errs.New(errs.NotFound, "There is no such session.")
	}
	if err != nil {
		return nil, fmt.Errorf("conversation: session: %w", err)
	}
	var ref sessionDoc
	if err := json.Unmarshal(doc.Data, &ref); err != nil {
		return nil, fmt.Errorf("conversation: decode session: %w", err)
	}
	return s.Get(ctx, tenant, ref.ConversationID)
}

// sessionDoc maps a session name to its conversation.
type sessionDoc struct {
	ConversationID string `json:"conversation_id"`
	Tenant         string `json:"tenant"`
	SessionID      string `json:"session_id"`
}

// sessionKey hashes the name: a session name is the caller's own text, and a
// document id has a narrow alphabet. The tenant's length keeps ("a","bc") and
// ("ab","c") apart.
func sessionKey(tenant, session string) docstore.Key {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d:%s:%s", len(tenant), tenant, session))
	return docstore.Key{Collection: SessionsCollection, ID: hex.EncodeToString(sum[:])}
}

// Save returns the writes that store c: a create for a new one (and its
// session name), a compare-and-set for one that was read.
func (c *Conversation) Save() ([]docstore.Write, error) {
	data, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("conversation: encode: %w", err)
	}
	w := docstore.Write{
		Op: docstore.Replace, Version: c.version,
		Key:    docstore.Key{Collection: Collection, ID: c.ID},
		Fields: docstore.Fields{"tenant": c.Tenant, "updated_at": c.UpdatedAt.UnixMicro()},
		Data:   data,
	}
	if c.version != 0 {
		return []docstore.Write{w}, nil
	}
	w.Op = docstore.Create
	if c.SessionID == "" {
		return []docstore.Write{w}, nil
	}
	ref, err := json.Marshal(sessionDoc{ConversationID: c.ID, Tenant: c.Tenant, SessionID: c.SessionID})
	if err != nil {
		return nil, fmt.Errorf("conversation: encode session: %w", err)
	}
	return []docstore.Write{w, {Op: docstore.Create, Key: sessionKey(c.Tenant, c.SessionID), Data: ref}}, nil
}
