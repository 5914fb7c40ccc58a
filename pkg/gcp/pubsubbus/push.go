package pubsubbus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"codexgateway.dev/pkg/bus"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/gcp/cebinding"
)

// PushPath is where [Push] is mounted: POST /push/{subscription}.
const PushPath = "/push/"

// maxPushBytes is the most a pushed body may have: Pub/Sub's 10 MB and change.
const maxPushBytes = 11 << 20

// pushRetryAfter is the Retry-After of answers that say "not now", in seconds.
// Pub/Sub backs off by its own rule; other callers may heed it.
const pushRetryAfter = "1"

// Push receives what Pub/Sub pushes: HTTP requests with one CloudEvent each
// (no_wrapper with write_metadata), for the subscriptions it names. Set it as
// [Config].Push and mount it at [PushPath] on the internal listener.
//
// The answer decides about the message: 204 it is done with, anything else
// brings it again. 429: all slots are busy. 503: the handler said retry, or
// nobody receives (yet, or any more). 401 and 403: the caller is not Pub/Sub.
// A request that carries no event goes to the dead letter and is 204: it would
// come again for days.
//
// A push is bounded by the subscription's AckDeadline, 600 s at most: then its
// handler's context ends with bus.ErrLeaseLost.
type Push struct {
	// Subscriptions that are pushed, not pulled; each has one receiver at most.
	Subscriptions []string
	// Auth tells Pub/Sub from everybody else.
	Auth PushAuth

	driver *Driver
	tokens tokens

	mu        sync.Mutex
	receivers map[string]*receiver
}

var _ http.Handler = (*Push)(nil)

var errPushConfig = errors.New("pubsubbus: push")

// bind joins the Push to its driver, before any request.
func (p *Push) bind(ctx context.Context, d *Driver, now func() time.Time) error {
	p.driver, p.receivers = d, make(map[string]*receiver)
	for _, name := range p.Subscriptions {
		if _, ok := d.byName[name]; !ok {
			return fmt.Errorf("%w: subscription %q: %w", errPushConfig, name, bus.ErrUnknownTopic)
		}
	}
	var err error
	p.tokens, err = newTokens(ctx, p.Auth, d.emulated, now)
	return err
}

// serve takes pushes for r until its context ends, then waits for its handlers.
func (p *Push) serve(r *receiver) error {
	p.mu.Lock()
	if p.receivers[r.sub.Name] != nil {
		p.mu.Unlock()
		return fmt.Errorf("%w: subscription %q is received already", bus.ErrInvalid, r.sub.Name)
	}
	p.receivers[r.sub.Name] = r
	p.mu.Unlock()
	r.hears()
	<-r.ctx.Done()
	p.mu.Lock()
	delete(p.receivers, r.sub.Name)
	p.mu.Unlock()
	r.running.Wait()
	return nil
}

// enter takes a slot of the subscription's receiver.
func (p *Push) enter(name string) (*receiver, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.receivers[name]
	if r == nil || r.ctx.Err() != nil {
		return nil, errs.New(errs.Overloaded, "Nobody receives this subscription here now.")
	}
	if r.free == 0 {
		return nil, errs.New(errs.RateLimited, "All slots of the receiver are busy.")
	}
	r.free--
	r.running.Add(1)
	return r, nil
}

func (p *Push) leave(r *receiver) {
	p.mu.Lock()
	r.free++
	p.mu.Unlock()
	r.running.Done()
}

// ServeHTTP implements http.Handler.
func (p *Push) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	name, ok := strings.CutPrefix(req.URL.Path, PushPath)
	if !ok || !p.names(name) {
		p.refuse(w, req, name, http.StatusNotFound, errs.New(errs.NotFound, "There is no such push subscription."))
		return
	}
	if req.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		p.refuse(w, req, name, http.StatusMethodNotAllowed, errs.New(errs.InvalidRequest, "Only POST."))
		return
	}
	if err := p.tokens.check(req); err != nil {
		status := http.StatusForbidden
		if errs.CodeOf(err) == errs.Unauthenticated {
			status = http.StatusUnauthorized
			w.Header().Set("WWW-Authenticate", "Bearer")
		}
		p.refuse(w, req, name, status, err)
		return
	}
	r, err := p.enter(name)
	if err != nil {
		status := http.StatusServiceUnavailable
		if errs.CodeOf(err) == errs.RateLimited {
			status = http.StatusTooManyRequests
		}
		p.refuse(w, req, name, status, err)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxPushBytes))
	if err != nil {
		p.leave(r)
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			p.refuse(w, req, name, http.StatusRequestEntityTooLarge, errs.New(errs.PayloadTooLarge, ""))
			return
		}
		p.refuse(w, req, name, http.StatusBadRequest, errs.Wrap(errs.InvalidRequest, "The body could not be read.", err))
		return
	}
	if !p.deliver(req.Context(), r, pushedMessage(req, body)) {
		p.refuse(w, req, name, http.StatusServiceUnavailable, errs.New(errs.Overloaded, "Not handled, deliver it again."))
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (p *Push) names(name string) bool {
	return slices.Contains(p.Subscriptions, name)
}

// deliver runs the handler and reports whether the message is done with. It
// returns when the lease ends, also before a handler that is deaf to that: the
// handler keeps its slot.
//
//nolint:contextcheck // the handler's context is the receiver's
func (p *Push) deliver(ctx context.Context, r *receiver, m *message) (ack bool) {
	lease, release := context.WithTimeout(ctx, r.sub.AckDeadline)
	defer release()
	hctx, cancel := context.WithCancelCause(r.ctx)
	unbind := context.AfterFunc(lease, func() { cancel(bus.ErrLeaseLost) })
	answer := make(chan bool, 1)
	go func() { // the receiver waits for it
		ack := r.decide(hctx, m)
		unbind()
		cancel(nil)
		// The slot is free before the answer: whoever hears that one may send the
		// next message at once.
		p.leave(r)
		answer <- ack
	}()
	select {
	case ack = <-answer:
		return ack
	case <-lease.Done():
		return false
	}
}

// pushedMessage is the message of a no_wrapper request: its attributes are
// headers, what Pub/Sub adds are headers "x-goog-pubsub-…".
func pushedMessage(req *http.Request, body []byte) *message {
	m := &message{Message: cebinding.Message{Data: body, Attributes: make(map[string]string)}, publishedAt: time.Now()}
	for key, values := range req.Header {
		lower := strings.ToLower(key)
		if lower != "content-type" && !strings.HasPrefix(lower, "ce-") {
			continue
		}
		m.Attributes[lower] = values[0]
		if len(values) > 1 { // one attribute in two cases, for the codec to refuse
			m.Attributes[strings.ToUpper(lower)] = values[1]
		}
	}
	m.id = req.Header.Get("X-Goog-Pubsub-Message-Id")
	if at, err := time.Parse(time.RFC3339Nano, req.Header.Get("X-Goog-Pubsub-Publish-Time")); err == nil {
		m.publishedAt = at
	}
	if n, err := strconv.Atoi(req.Header.Get("X-Goog-Pubsub-Delivery-Attempt")); err == nil {
		m.attempt = n
	}
	return m
}

// refuse answers with an RFC 9457 problem.
func (p *Push) refuse(w http.ResponseWriter, req *http.Request, subscription string, status int, err error) {
	attrs := append(make([]any, 0, 3), slog.String("subscription", strings.ToValidUTF8(subscription, "?")), slog.Int("status", status))
	if status == http.StatusUnauthorized || status == http.StatusForbidden {
		p.driver.log.WarnContext(req.Context(), "push of somebody else refused", attrs...)
	}
	// The error may quote the token's claims.
	p.driver.log.DebugContext(req.Context(), "push not taken", append(attrs, slog.String("error", err.Error()))...)
	code := errs.CodeOf(err)
	detail := errs.From(err).Message()
	body, err := json.Marshal(struct {
		Type   string    `json:"type"`
		Title  string    `json:"title"`
		Status int       `json:"status"`
		Code   errs.Code `json:"code"`
		Detail string    `json:"detail,omitempty"`
	}{"about:blank", http.StatusText(status), status, code, detail})
	if err != nil { // strings and a number always encode
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", pushRetryAfter)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client is gone
}
