package campaign

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"codexgateway.dev/pkg/wait"
	"codexgateway.dev/test/chaos/check"
	"codexgateway.dev/test/chaos/watch"
)

// load submits jobs and follows them, and writes down what it is told.
type load struct {
	cfg     *Config
	gateway *watch.Gateway
	log     *slog.Logger
	refused func(format string, args ...any)

	mu      sync.Mutex
	tries   int
	submits []*check.Submit
	// jobs are the accepted ones' ids.
	jobs    []string
	records []watch.Record
	probes  []check.Probe

	// aside are calls that nobody waits for but the end.
	aside sync.WaitGroup
}

func newLoad(cfg *Config, urls []string, refused func(string, ...any)) *load {
	transport := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	return &load{cfg: cfg, log: cfg.Logger, refused: refused, gateway: &watch.Gateway{
		URLs: urls, Key: adminKey, HTTP: &http.Client{Transport: transport},
	}}
}

// promptParams are those of conversation.prompt that the load uses.
type promptParams struct {
	Prompt         string            `json:"prompt"`
	SessionID      string            `json:"session_id,omitempty"`
	TimeoutS       int               `json:"timeout_s,omitempty"`
	IdempotencyKey string            `json:"idempotency_key"`
	Metadata       map[string]string `json:"metadata"`
}

type accepted struct {
	JobID string `json:"job_id"`
}

// callLimit bounds one call.
const callLimit = 15 * time.Second

// call calls with a deadline of its own.
func (l *load) call(ctx context.Context, method string, params, result any) error {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	return l.gateway.Call(ctx, method, params, result)
}

// run submits until submit ends and follows what was accepted until ctx ends.
func (l *load) run(ctx, submit context.Context) {
	var all sync.WaitGroup
	for range l.cfg.Conversations {
		all.Go(func() {
			for submit.Err() == nil && ctx.Err() == nil {
				l.conversation(ctx, submit)
			}
		})
	}
	all.Wait()
	l.aside.Wait()
	l.gateway.HTTP.CloseIdleConnections()
}

// conversation submits one job, or several in a row to one session, and waits
// until all that follow them have seen the end.
func (l *load) conversation(ctx, submit context.Context) {
	n, session := 1, ""
	if mathrand.IntN(10) < 4 {
		n, session = 2+mathrand.IntN(3), "s-"+rand.Text()
	}
	var earlier []string
	var watching sync.WaitGroup
	for range n {
		if submit.Err() != nil {
			break
		}
		p := script()
		p.SessionID = session
		id := l.submit(ctx, p)
		if id == "" {
			break
		}
		before := earlier
		earlier = append(slices.Clip(earlier), id)
		l.follow(ctx, &watching, id, before)
		if mathrand.IntN(100) < 8 {
			l.aside.Go(func() { l.cancel(ctx, id) })
		}
	}
	watching.Wait()
}

// submit sends a job until it is accepted, each time under the same key. Empty:
// it never was.
func (l *load) submit(ctx context.Context, p promptParams) string {
	s := &check.Submit{Key: p.IdempotencyKey}
	l.mu.Lock()
	l.submits = append(l.submits, s)
	l.mu.Unlock()
	if mathrand.IntN(10) == 0 { // an impatient client sends it twice at once
		l.aside.Go(func() { _, _ = l.try(ctx, s, p) })
	}
	for ctx.Err() == nil {
		id, err := l.try(ctx, s, p)
		switch {
		case err == nil:
			l.mu.Lock()
			l.jobs = append(l.jobs, id)
			l.mu.Unlock()
			if mathrand.IntN(10) == 0 { // one that did not hear the answer sends it again
				l.aside.Go(func() {
					wait.For(ctx, mathrand.N(2*time.Second))
					_, _ = l.try(ctx, s, p)
				})
			}
			return id
		case watch.Final(err):
			l.refused("submit %s was refused: %v", p.IdempotencyKey, err)
			return ""
		}
		wait.For(ctx, 20*time.Millisecond+mathrand.N(300*time.Millisecond))
	}
	return ""
}

func (l *load) try(ctx context.Context, s *check.Submit, p promptParams) (string, error) {
	var a accepted
	err := l.call(ctx, "conversation.prompt", p, &a)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tries++
	if err == nil {
		s.Answers = append(s.Answers, a.JobID)
	}
	return a.JobID, err
}

// stay bounds how long a watcher keeps a connection.
const stay = 3 * time.Second

// follow starts the watchers of a job.
func (l *load) follow(ctx context.Context, watching *sync.WaitGroup, id string, earlier []string) {
	var once sync.Once
	for i := range l.cfg.Watchers {
		w := &watch.Watcher{
			Gateway: l.gateway, JobID: id, Transport: watch.Transports[i%len(watch.Transports)], Stay: stay,
			On: func(e watch.Event) {
				if e.Type == "job.started" {
					once.Do(func() { l.aside.Go(func() { l.probe(ctx, id, earlier) }) })
				}
			},
		}
		watching.Go(func() {
			r := w.Run(ctx)
			l.mu.Lock()
			l.records = append(l.records, r)
			l.mu.Unlock()
		})
	}
}

type jobRef struct {
	JobID string `json:"job_id"`
}

// probe looks at the earlier jobs of a conversation as soon as somebody has seen
// the later one start: whenever the answer is made, they have ended.
func (l *load) probe(ctx context.Context, id string, earlier []string) {
	for _, e := range earlier {
		for range 5 {
			var v struct {
				Status string `json:"status"`
			}
			if err := l.call(ctx, "job.get", jobRef{JobID: e}, &v); err == nil {
				l.mu.Lock()
				l.probes = append(l.probes, check.Probe{Later: id, Earlier: e, Status: v.Status})
				l.mu.Unlock()
				break
			}
			if !wait.For(ctx, 20*time.Millisecond) {
				return
			}
		}
	}
}

// cancel wants a job to stop, some time.
func (l *load) cancel(ctx context.Context, id string) {
	wait.For(ctx, mathrand.N(3*time.Second))
	for range 20 {
		var out struct{}
		err := l.call(ctx, "job.cancel", jobRef{JobID: id}, &out)
		if err == nil || watch.Final(err) || !wait.For(ctx, 100*time.Millisecond) {
			return
		}
	}
}

// script is a job: what the fake Codex does and, where it is the real one, what
// the mock model does.
func script() promptParams {
	n := func(from, to int) int { return from + mathrand.IntN(to-from) }
	var prompt string
	timeout := 0
	switch d := mathrand.IntN(100); {
	case d < 50:
		words, every := n(30, 120), n(10, 30)
		prompt = fmt.Sprintf("fake:slow %d %d\nmock: deltas %d %d", words, every, words, every)
	case d < 60:
		prompt = fmt.Sprintf("fake:many-deltas %d\nmock: deltas %d 1", n(50, 2000), n(50, 500))
	case d < 68:
		prompt = "fake:hello\nmock: say hello"
	case d < 76:
		prompt = "fake:write made.txt text\nmock: write made.txt text\nmock: say done"
	case d < 80:
		prompt = "fake:retry\nmock: cut 1\nmock: say here"
	case d < 84:
		prompt = "fake:crash-once\nmock: say no crash"
	case d < 87:
		prompt = "fake:crash-mid-turn\nmock: cut"
	case d < 90:
		prompt = "fake:fail serverOverloaded\nmock: fail context_length_exceeded"
	case d < 92:
		prompt = "fake:garbage 20\nmock: bad-json 1\nmock: say here"
	case d < 94:
		prompt = "fake:stderr 200KB\nmock: say here"
	default:
		timeout = n(2, 4)
		prompt = "fake:slow 500 20\nmock: deltas 500 20"
	}
	key := "k-" + rand.Text()
	return promptParams{Prompt: prompt, TimeoutS: timeout, IdempotencyKey: key, Metadata: map[string]string{"key": key}}
}
