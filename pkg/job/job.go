package job

import (
	"encoding/json"
	"fmt"
	"time"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/docstore"
)

// Collection holds the job documents.
const Collection = "jobs"

// Limits of a job.
const (
	MaxAttempts = 3
	// firstAttempt is what clients see of a job nobody has claimed yet.
	firstAttempt    = 1
	DefaultTimeout  = 30 * time.Minute
	MaxTimeout      = 6 * time.Hour
	ShortLane       = 8 * time.Minute
	inlineSpecBytes = 16 << 10
	inlineTextBytes = 256 << 10
)

// Lanes of a job, from its time limit: push workers serve the short one.
const (
	LaneShort = "short"
	LaneLong  = "long"
)

// Repo is the repository a job works on.
type Repo struct {
	URL    string `json:"url"`
	Ref    string `json:"ref,omitempty"`
	Subdir string `json:"subdir,omitempty"`
}

// Spec is what a job shall do. It never changes after submit.
type Spec struct {
	Prompt         string            `json:"prompt"`
	Model          string            `json:"model,omitempty"`
	Effort         string            `json:"effort,omitempty"`
	Images         []string          `json:"images,omitempty"`
	OutputSchema   json.RawMessage   `json:"output_schema,omitempty"`
	Repo           *Repo             `json:"repo,omitempty"`
	Sandbox        string            `json:"sandbox,omitempty"`
	Network        bool              `json:"network,omitempty"`
	ApprovalPolicy string            `json:"approval_policy,omitempty"`
	Timeout        time.Duration     `json:"timeout,omitempty"`
	Priority       int               `json:"priority,omitempty"`
	Metadata       map[string]string `json:"metadata,omitempty"`
	CallbackURL    string            `json:"callback_url,omitempty"`
}

// Lease says who runs a job and until when nobody else may.
type Lease struct {
	// Owner is unique to one claim, not to one worker: a worker that claims a
	// job again is another owner.
	Owner     string    `json:"owner"`
	Worker    string    `json:"worker"`
	ExpiresAt time.Time `json:"expires_at"`
	// Length is how long the lease lasts from each heartbeat. Who watches it
	// counts this on a clock of its own, see [LeaseWatch].
	Length time.Duration `json:"length"`
	// Grace is how long the holder gives a turn that is to stop.
	Grace time.Duration `json:"grace,omitempty"`
}

// Usage counts model tokens, all attempts together.
type Usage struct {
	Input       int64 `json:"input"`
	CachedInput int64 `json:"cached_input"`
	Output      int64 `json:"output"`
	Reasoning   int64 `json:"reasoning"`
}

// Plus adds two counts.
func (u Usage) Plus(v Usage) Usage {
	return Usage{
		Input: u.Input + v.Input, CachedInput: u.CachedInput + v.CachedInput,
		Output: u.Output + v.Output, Reasoning: u.Reasoning + v.Reasoning,
	}
}

// Job is the job document.
type Job struct {
	ID             string `json:"id"`
	Tenant         string `json:"tenant"`
	ConversationID string `json:"conversation_id"`
	SessionID      string `json:"session_id,omitempty"`
	State          State  `json:"state"`
	Lane           string `json:"lane"`
	// Attempt counts claims from 1; handing a job back costs none.
	Attempt    int  `json:"attempt"`
	HandedBack bool `json:"handed_back,omitempty"`

	// Spec is inline when it is small, else the blob SpecBlob holds it: the
	// document is rewritten at every heartbeat.
	Spec     *Spec         `json:"spec,omitempty"`
	SpecBlob string        `json:"spec_blob,omitempty"`
	Timeout  time.Duration `json:"timeout"`
	// Metadata, Model and CallbackURL repeat the spec for readers of lists.
	Metadata    map[string]string `json:"metadata,omitempty"`
	Model       string            `json:"model,omitempty"`
	CallbackURL string            `json:"callback_url,omitempty"`
	// RetryOf is the job this one was made from.
	RetryOf string `json:"retry_of,omitempty"`
	// KeyID is the key that submitted it; empty for jobs from before it was kept.
	KeyID string `json:"key_id,omitempty"`

	// Wait is why a queued job may not be claimed yet; empty: it may. Slot is
	// the tenant's running slot it then holds, 0 where there is no limit.
	Wait     Wait `json:"wait,omitempty"`
	Slot     int  `json:"slot,omitempty"`
	Priority int  `json:"priority,omitempty"`

	CreatedAt time.Time `json:"created_at"`
	StartedAt time.Time `json:"started_at,omitzero"`
	EndedAt   time.Time `json:"ended_at,omitzero"`

	Lease *Lease `json:"lease,omitempty"`
	// LastSeq is exact while nobody runs the job; a running job's log may be ahead.
	LastSeq int64 `json:"last_seq"`
	// DueAt is when the reconciler should look at the job, DueFor why.
	DueAt  time.Time `json:"due_at,omitzero"`
	DueFor Due       `json:"due_for,omitempty"`
	// Nudges counts republications of a waiting job; they space out.
	Nudges int `json:"nudges,omitempty"`
	// StartAfter is when a worker may be started for the job again, see
	// [Store.Dispatch]; zero: none was started since it was last claimed.
	StartAfter time.Time `json:"start_after,omitzero"`

	Content    string          `json:"content,omitempty"`
	Structured json.RawMessage `json:"structured,omitempty"`
	// ContentBlob holds the final message when it is too long to be inline.
	ContentBlob string           `json:"content_blob,omitempty"`
	Error       *events.JobError `json:"error,omitempty"`
	Usage       Usage            `json:"usage,omitzero"`
	Artifacts   []Artifact       `json:"artifacts,omitempty"`

	version docstore.Version
}

// Due is why the reconciler should look at a job.
type Due string

// Reasons. A finished, archived job has none.
const (
	// DueClaim: nobody claimed the queued job in time; tell the workers again.
	DueClaim Due = "claim"
	// DueLease: the lease ran out; the worker is gone.
	DueLease Due = "lease"
	// DueAdmit: the job waits for a slot of its tenant. Whoever ends a job hands
	// the slot on; this finds what a crash left in between.
	DueAdmit Due = "admit"
	// DueArchive: the log is closed but not archived yet.
	DueArchive Due = "archive"
	// DueExpire: the log's documents may go, its artifact has them.
	DueExpire Due = "expire"
)

// Dues lists every reason.
func Dues() []Due { return []Due{DueLease, DueAdmit, DueClaim, DueArchive, DueExpire} }

// Deadline is when the job times out, counted from its first start.
func (j *Job) Deadline() time.Time { return j.StartedAt.Add(j.Timeout) }

// to makes the transition, or reports a bug in the caller.
func (j *Job) to(next State) error {
	if !j.State.CanBecome(next) {
		return fmt.Errorf("job: transition %s to %s is not in the state machine", j.State, next)
	}
	j.State = next
	return nil
}

// due plans the reconciler's next look.
func (j *Job) due(why Due, at time.Time) { j.DueFor, j.DueAt = why, at }

// lane is the lane of a time limit.
func lane(timeout time.Duration) string {
	if timeout <= ShortLane {
		return LaneShort
	}
	return LaneLong
}

// Schema declares the documents of the package.
func Schema() []docstore.Collection {
	return []docstore.Collection{
		{
			Name: Collection,
			Fields: []docstore.Field{
				{Name: "tenant", Kind: docstore.String},
				{Name: "state", Kind: docstore.String},
				{Name: "session", Kind: docstore.String},
				{Name: "created_at", Kind: docstore.Int},
				{Name: "due_for", Kind: docstore.String},
				{Name: "due_at", Kind: docstore.Int},
				{Name: "wait", Kind: docstore.String},
				{Name: "wait_order", Kind: docstore.Int},
			},
			Indexes: []docstore.Index{
				{Name: "by_tenant", Equal: []string{"tenant"}, Order: "created_at", Read: docstore.Descending},
				{Name: "by_state", Equal: []string{"tenant", "state"}, Order: "created_at", Read: docstore.Descending},
				{Name: "by_session", Equal: []string{"tenant", "session"}, Order: "created_at", Read: docstore.Descending},
				{Name: "by_session_state", Equal: []string{"tenant", "session", "state"}, Order: "created_at", Read: docstore.Descending},
				{Name: "by_due", Equal: []string{"due_for"}, Order: "due_at"},
				{Name: "by_wait", Equal: []string{"tenant", "wait"}, Order: "wait_order"},
			},
		},
		controlSchema(),
	}
}

// key is the job's document.
func key(jobID string) docstore.Key { return docstore.Key{Collection: Collection, ID: jobID} }

// save returns the write that stores j: a create for a new one, else a
// compare-and-set on the version that was read.
func (j *Job) save() (docstore.Write, error) {
	data, err := json.Marshal(j)
	if err != nil {
		return docstore.Write{}, fmt.Errorf("job: encode %s: %w", j.ID, err)
	}
	w := docstore.Write{
		Op: docstore.Replace, Key: key(j.ID), Version: j.version, Data: data,
		Fields: docstore.Fields{
			"tenant": j.Tenant, "state": string(j.State), "session": j.SessionID,
			"created_at": j.CreatedAt.UnixMicro(),
		},
	}
	// Fields that are left out cost no index entry: most jobs are neither due
	// nor waiting.
	if j.DueFor != "" {
		w.Fields["due_for"], w.Fields["due_at"] = string(j.DueFor), j.DueAt.UnixMicro()
	}
	if j.Wait != "" {
		w.Fields["wait"], w.Fields["wait_order"] = string(j.Wait), j.order()
	}
	if j.version == 0 {
		w.Op = docstore.Create
	}
	return w, nil
}
