package mockmodel

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"codexgateway.dev/pkg/secret"
	"codexgateway.dev/pkg/wait"
)

// Path is the one path that is served.
const Path = "/v1/responses"

// maxBody bounds a request's body: Codex resends the whole conversation with
// its images, which stays below this.
const maxBody = 64 << 20

// Options configure a [Server]. The zero value works.
type Options struct {
	// Addr is where [Start] listens; empty: a free port of 127.0.0.1.
	Addr string
	// Now stamps created_at; nil is time.Now.
	Now func() time.Time
	// Logger gets one debug line per request, without its text; nil is silent.
	Logger *slog.Logger
	// Token is the bearer token that a request must carry; empty: none.
	Token secret.Value
	// Record keeps the newest Record requests for [Server.Requests]; 0: none.
	// Each holds its whole body.
	Record int
}

// Request is one recorded request.
type Request struct {
	Header http.Header
	Body   []byte
}

// Server is the mock model. It is safe for concurrent use and needs no closing:
// its requests end with their contexts.
type Server struct {
	opt    Options
	faults counters

	mu       sync.Mutex
	recorded []Request
}

var _ http.Handler = (*Server)(nil)

// New returns a mock model.
func New(opt Options) *Server {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	return &Server{opt: opt}
}

// Requests returns the recorded requests, oldest first.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.recorded)
}

func (s *Server) record(r *http.Request, body []byte) {
	if s.opt.Record <= 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.recorded) >= s.opt.Record {
		s.recorded = slices.Delete(s.recorded, 0, 1)
	}
	s.recorded = append(s.recorded, Request{Header: r.Header.Clone(), Body: body})
}

// ServeHTTP answers POST [Path]; everything else is a 404 or 405 problem.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path != Path:
		problem(w, http.StatusNotFound)
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		problem(w, http.StatusMethodNotAllowed)
	case !s.authorized(r):
		refuse(w, http.StatusUnauthorized, "invalid_request_error", "invalid_api_key", "Incorrect API key provided.")
	default:
		s.respond(w, r)
	}
}

func (s *Server) authorized(r *http.Request) bool {
	if s.opt.Token.Empty() {
		return true
	}
	got, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return ok && subtle.ConstantTimeCompare([]byte(got), []byte(s.opt.Token.Reveal())) == 1
}

func (s *Server) respond(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			refuse(w, http.StatusRequestEntityTooLarge, "invalid_request_error", "request_too_large", "The request is too large.")
			return
		}
		refuse(w, http.StatusBadRequest, "invalid_request_error", "bad_body", "The body could not be read.")
		return
	}
	s.record(r, body)
	req, err := decode(body)
	if err != nil {
		refuse(w, http.StatusBadRequest, "invalid_request_error", "bad_request", err.Error())
		return
	}
	script := parse(req.prompt)
	resp := script[min(req.outputs, len(script)-1)]
	s.opt.Logger.LogAttrs(r.Context(), slog.LevelDebug, "mock model request",
		slog.String("prompt_cache_key", req.cacheKey), slog.Int("response", req.outputs), slog.Int("body_bytes", len(body)))

	if !wait.For(r.Context(), resp.slowFirst) {
		return
	}
	for _, st := range resp.steps {
		if st.kind == stepStatus && s.faults.due(faultKey{req.cacheKey, req.message, st.index}, st.times) {
			scripted(w, st)
			return
		}
	}
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	id := responseID(req)
	st := &stream{
		ctx: r.Context(), w: w, rc: http.NewResponseController(w), req: req, id: id, usage: resp.usage,
		body: responseBody{
			ID: "resp_mock_" + id, Object: "response", CreatedAt: s.opt.Now().Unix(),
			Model: req.model, Status: inProgress, Output: []any{},
		},
	}
	st.play(resp.steps, &s.faults)
}

// responseID is unique within a conversation (the input grows with every
// response) and the same when the request is repeated.
func responseID(req request) string {
	sum := sha256.Sum256([]byte(req.cacheKey))
	return fmt.Sprintf("%s_%d", hex.EncodeToString(sum[:4]), req.items)
}

// scripted answers a status directive.
func scripted(w http.ResponseWriter, st step) {
	if st.retryAfter != "" {
		w.Header().Set("Retry-After", st.retryAfter)
	}
	typ, code := st.errType, st.errType
	if typ == "" {
		switch {
		case st.code == http.StatusTooManyRequests:
			typ, code = "requests", "rate_limit_exceeded"
		case st.code >= http.StatusInternalServerError:
			typ, code = "server_error", "server_error"
		default:
			typ, code = "invalid_request_error", "invalid_request_error"
		}
	}
	refuse(w, st.code, typ, code, fmt.Sprintf("The mock model was told to answer %d.", st.code))
}

// refuse answers with the API's error shape.
func refuse(w http.ResponseWriter, status int, typ, code, message string) {
	writeJSON(w, "application/json", status, apiError{apiErrorBody{Message: message, Type: typ, Code: &code}})
}

// problem answers with an RFC 9457 problem.
func problem(w http.ResponseWriter, status int) {
	writeJSON(w, "application/problem+json", status, struct {
		Type   string `json:"type"`
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
	}{"about:blank", http.StatusText(status), status, "The mock model serves POST " + Path + " only."})
}

func writeJSON(w http.ResponseWriter, contentType string, status int, v any) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client may have left; nothing is owed to it
}
