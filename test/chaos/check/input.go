package check

// Event is what is kept of an event of a job's log.
type Event struct {
	Seq int64
	// Hash is equal for equal events, whatever brought them.
	Hash uint64
	Type string
}

// Submit is one thing a client wanted done, with all answers it got for it.
type Submit struct {
	// Key is the idempotency key of all its tries.
	Key string
	// Answers are the job ids that the answers named, one for each answer. None:
	// the client never heard that it was accepted.
	Answers []string
}

// Job is what the API says about a job when all is over.
type Job struct {
	ID string
	// Key is the idempotency key it was submitted with, from its metadata.
	Key string
	// Status and LastSeq are those of job.get; Found is false when it does not
	// know the job.
	Found   bool
	Status  string
	LastSeq int64
	// Failure is the code of a failed job's error.
	Failure string
	// Log is all of job.events. Unreadable is why there is none: the gateway
	// refuses to read the log of a job it knows.
	Log        []Event
	Unreadable string
}

// Listed is one row of job.list.
type Listed struct{ ID, Key, Status string }

// Watcher is what one watcher was told, in the order it was told.
type Watcher struct {
	JobID, Transport string
	Seen             []Event
	Reconnects       int
	// Misread is a contradiction within one answer; empty: there was none.
	Misread string
}

// Probe is a look at an earlier job of a conversation, taken by a client that
// had already seen the later one start. The earlier one has ended by then.
type Probe struct {
	Later, Earlier string
	// Status is what job.get said of the earlier one.
	Status string
}

// Input is everything a campaign has written down.
type Input struct {
	Submits  []Submit
	Jobs     []Job
	Listed   []Listed
	Watchers []Watcher
	Probes   []Probe
}

// terminal are the statuses of an ended job and the events that end one.
var terminal = map[string]string{ //nolint:gochecknoglobals // a constant
	"completed": "job.completed", "failed": "job.failed", "cancelled": "job.cancelled", "timed_out": "job.timed_out",
}

// internal is the code of a failure that no client, model or Codex has caused.
const internal = "internal_job"

func ends(eventType string) bool {
	for _, t := range terminal {
		if t == eventType {
			return true
		}
	}
	return false
}
