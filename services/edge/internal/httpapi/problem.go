package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strconv"

	"github.com/klauspost/compress/gzhttp"
	"github.com/klauspost/compress/gzip"

	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/jsonrpc"
	"codexgateway.dev/services/edge/internal/admit"
	"codexgateway.dev/services/edge/internal/auth"
	"codexgateway.dev/services/edge/internal/call"
	"codexgateway.dev/services/edge/internal/methods"
)

// Media types.
const (
	typeJSON    = "application/json"
	typeProblem = "application/problem+json"
	typeSSE     = "text/event-stream"
	typeNDJSON  = "application/x-ndjson"
)

// Refusals that are about HTTP itself.
var (
	errNoRoute     = errs.New(errs.NotFound, "There is no such route.")
	errNoMethod    = errs.New(errs.InvalidRequest, "The route does not have this method; see the Allow header.")
	errMediaType   = errs.New(errs.InvalidRequest, "The body must be application/json in UTF-8, without a content coding.")
	errNotAccepted = errs.New(errs.InvalidRequest, "Accept must allow text/event-stream, application/x-ndjson or application/json.")
	errSlowBody    = errs.New(errs.InvalidRequest, "The body came too slowly.")
	errBrokenBody  = errs.New(errs.InvalidRequest, "The body could not be read.")
	errHandshake   = errs.New(errs.InvalidRequest, "Sec-WebSocket-Key must be there once: 16 bytes in base64.")
	errVersion     = errs.New(errs.InvalidRequest, "The WebSocket protocol must be version 13.")
	errNoUpgrade   = errs.New(errs.InvalidRequest, "This route is for WebSocket upgrades only.")
	errOrigin      = errs.New(errs.PermissionDenied, "Pages of this origin may not open a WebSocket here.")
	errPreflight   = errs.New(errs.PermissionDenied, "Pages of this origin may not do this here.")
	errGuesses     = errs.New(errs.RateLimited, "Too many wrong credentials came from this address.")
	errStreams     = errs.New(errs.Overloaded, "Too many streams are open.")
)

// problem is an RFC 9457 problem. Code, field, retryable and request_id are
// what a JSON-RPC error has in its data.
type problem struct {
	Type      string    `json:"type"`
	Title     string    `json:"title"`
	Status    int       `json:"status"`
	Detail    string    `json:"detail"`
	Code      errs.Code `json:"code"`
	Field     string    `json:"field,omitempty"`
	Retryable bool      `json:"retryable"`
	RequestID string    `json:"request_id"`
	Violated  []string  `json:"violated-policies,omitempty"` //nolint:tagliatelle // draft-ietf-httpapi-ratelimit-headers
}

// typeQuota is the type of the problem that a limit of RateLimit-Policy is
// reached (draft-ietf-httpapi-ratelimit-headers).
const typeQuota = "https://iana.org/assignments/http-problem-types#quota-exceeded"

// fail answers with an error that any code may have returned: its registered
// status, and nothing of its cause.
func (a *api) fail(w http.ResponseWriter, r *http.Request, err error) {
	e, known := errors.AsType[*errs.Error](methods.Fault(err))
	switch {
	case known:
	case errors.Is(err, context.DeadlineExceeded):
		e = errs.Wrap(errs.DeadlineExceeded, "", err)
	case r.Context().Err() != nil:
		e = errs.Wrap(errs.Overloaded, "", err)
	default:
		e = errs.From(err)
	}
	if e.Code == errs.Internal {
		a.Logger.LogAttrs(r.Context(), slog.LevelError, "request failed inside the gateway",
			slog.String("request_id", requestID(r.Context())), slog.String("route", r.Pattern), slog.String("error", err.Error()))
	}
	a.refuse(w, r, errs.Lookup(e.Code).HTTP, e)
}

// refuse answers with a problem.
func (a *api) refuse(w http.ResponseWriter, r *http.Request, status int, e *errs.Error) {
	errorHeaders(w.Header(), status, e)
	p := problem{
		Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: e.Message(),
		Code: e.Code, Field: e.Field, Retryable: errs.Lookup(e.Code).Retryable, RequestID: requestID(r.Context()),
	}
	if violated, ok := e.Data["violated_policies"].([]string); ok {
		p.Type, p.Violated = typeQuota, violated
	}
	body, err := json.Marshal(p)
	if err != nil { // strings and numbers always encode
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	a.respond(w, r, status, typeProblem, body)
}

// refuseRPC answers with a JSON-RPC error that belongs to no call of the body.
func (a *api) refuseRPC(w http.ResponseWriter, r *http.Request, status int, e *errs.Error) {
	errorHeaders(w.Header(), status, e)
	resp := jsonrpc.Response{ID: jsonrpc.Null, Error: jsonrpc.Render(e, requestID(r.Context()))}
	a.respond(w, r, status, typeJSON, resp.Encode())
}

// errorHeaders adds what RFC 9110 demands beside a status.
func errorHeaders(h http.Header, status int, e *errs.Error) {
	switch status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", auth.Challenge)
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		h.Set("Retry-After", retryAfter(e))
		admit.Settle(h, e)
	case http.StatusUpgradeRequired:
		h.Add("Connection", "Upgrade") // it may be about to close, too
		h.Set("Upgrade", "websocket")
	case http.StatusUnsupportedMediaType:
		h.Set("Accept", typeJSON)
	case http.StatusRequestTimeout, http.StatusRequestEntityTooLarge:
		h.Set("Connection", "close") // the rest of the body is not worth reading
	}
}

// retryAfter is in whole seconds, at least one.
func retryAfter(e *errs.Error) string {
	ms, ok := e.Data["retry_after_ms"].(int64)
	if !ok {
		ms = 1000
	}
	return strconv.FormatInt(max(1, int64(math.Ceil(float64(ms)/1000))), 10)
}

// respondJSON writes a value as the whole answer.
func (a *api) respondJSON(w http.ResponseWriter, r *http.Request, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	a.respond(w, r, status, typeJSON, body)
}

// respond writes a whole answer, compressed where that pays.
func (a *api) respond(w http.ResponseWriter, r *http.Request, status int, contentType string, body []byte) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	if call.From(r.Context()).Replayed() {
		h.Set("Idempotency-Replayed", "true")
	}
	if len(body) == 0 {
		w.WriteHeader(status)
		return
	}
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	a.compress(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write(body) //nolint:gosec // JSON that says so, never a page; an error means that the client is gone
	})).ServeHTTP(w, r)
}

// compressFrom is the size of an answer from which gzip pays: less fits into two
// packets anyway.
const compressFrom = 2 << 10

// compressor returns the wrapper that compresses JSON answers for clients that
// accept gzip. Streams do not go through it: an event is to leave at once, and a
// compression context for each stream costs more memory than the stream.
func compressor() (func(http.Handler) http.HandlerFunc, error) {
	return gzhttp.NewWrapper(gzhttp.MinSize(compressFrom), gzhttp.CompressionLevel(gzip.BestSpeed),
		gzhttp.EnableZstd(false), gzhttp.ContentTypes([]string{typeJSON}))
}
