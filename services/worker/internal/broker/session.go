package broker

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"codexgateway.dev/pkg/secret"
)

// defaultSessionInflight is the bound of a session's requests in progress: one
// turn makes one at a time, sub-agents and titles a few more.
const defaultSessionInflight = 8

// Limits of one job's use of the model.
type Limits struct {
	// Deadline ends every request of the job; zero: none.
	Deadline time.Time
	// MaxInflight bounds the job's requests in progress; 0: 8. More is a 429
	// with Retry-After.
	MaxInflight int
}

// Usage is what a session used so far. Tokens are what the model reported.
type Usage struct {
	// Requests that Codex made, and Attempts that reached for the model.
	Requests, Attempts int64

	InputTokens, CachedInputTokens, OutputTokens, ReasoningTokens, TotalTokens int64
}

// Session is one app-server's access to the model. It is safe for concurrent
// use.
type Session struct {
	broker *Broker
	token  secret.Value
	hash   [sha256.Size]byte

	ctx     context.Context // ends with the session
	cancel  context.CancelCauseFunc
	running sync.WaitGroup // requests in progress

	mu       sync.Mutex
	closed   bool
	jobID    string
	limits   Limits
	inflight int
	usage    Usage
	// failures and waited are what the present run of failures has used of the
	// retry budget.
	failures int
	waited   time.Duration
}

// tokenPrefix makes a leaked token recognisable in logs and scanners; it is of
// no use outside the worker it was found on.
const tokenPrefix = "cgwjob_"

func newToken() (secret.Value, [sha256.Size]byte) {
	t := tokenPrefix + rand.Text() + rand.Text()
	return secret.NewValue(t), sha256.Sum256([]byte(t))
}

// Token is the bearer token to give to Codex.
func (s *Session) Token() secret.Value { return s.token }

// BaseURL is the base_url to give to Codex.
func (s *Session) BaseURL() string { return s.broker.base }

// Bind gives the session to a job, once. It returns [ErrBound] the second time
// and [ErrClosed] after Close.
func (s *Session) Bind(jobID string, limits Limits) error {
	if jobID == "" || limits.MaxInflight < 0 {
		return fmt.Errorf("broker: bind: bad job id %q or limit %d", jobID, limits.MaxInflight)
	}
	if limits.MaxInflight == 0 {
		limits.MaxInflight = defaultSessionInflight
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return ErrClosed
	case s.jobID != "":
		return ErrBound
	}
	s.jobID, s.limits = jobID, limits
	return nil
}

// Usage returns the counts so far; after Close they are final.
func (s *Session) Usage() Usage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.usage
}

// Close is the kill switch: the token is dead, requests in progress are cut,
// and when it returns they are gone. Closing twice is harmless.
func (s *Session) Close() {
	s.broker.forget(s.hash)
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel(ErrClosed)
	s.running.Wait()
}

// admission says whether a request may go on.
type admission int

const (
	admitted admission = iota
	refusedUnbound
	refusedBusy
	refusedClosed
)

// begin admits one request; the caller of an admitted one calls end.
func (s *Session) begin() (jobID string, deadline time.Time, a admission) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return "", time.Time{}, refusedClosed
	case s.jobID == "":
		return "", time.Time{}, refusedUnbound
	case s.inflight >= s.limits.MaxInflight:
		return s.jobID, time.Time{}, refusedBusy
	}
	s.inflight++
	s.usage.Requests++
	s.running.Add(1)
	return s.jobID, s.limits.Deadline, admitted
}

func (s *Session) end() {
	s.mu.Lock()
	s.inflight--
	s.mu.Unlock()
	s.running.Done()
}

func (s *Session) countAttempt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.usage.Attempts++
}

func (s *Session) countTokens(t tokens) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.usage.InputTokens += t.Input
	s.usage.CachedInputTokens += t.Details.Cached
	s.usage.OutputTokens += t.Output
	s.usage.ReasoningTokens += t.OutputDetails.Reasoning
	s.usage.TotalTokens += t.Total
}

// succeeded ends a run of failures.
func (s *Session) succeeded() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures, s.waited = 0, 0
}
