package broker_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"codexgateway.dev/pkg/secret"
	"codexgateway.dev/services/worker/internal/broker"
)

// canary is the real key: it must be seen by the upstream only.
const canary = "sk-canary-0123456789abcdef"

// syncBuffer is a log that many goroutines write.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// bundle is one broker before one upstream.
type bundle struct {
	t       *testing.T
	broker  *broker.Broker
	session *broker.Session
	client  *http.Client
	log     *syncBuffer

	mu    sync.Mutex
	waits []time.Duration // what the broker slept, on a clock that does not move
}

// setup starts a broker with a session bound to job_1. The upstream's URL gets
// the path prefix /v1.
func setup(t *testing.T, upstream http.Handler, change func(*broker.Options)) *bundle {
	t.Helper()
	up := httptest.NewServer(upstream)
	t.Cleanup(up.Close)
	b := &bundle{t: t, log: &syncBuffer{}}
	opt := broker.Options{
		BaseURL: up.URL + "/v1",
		Key:     func(context.Context) (secret.Value, error) { return secret.NewValue(canary), nil },
		Logger:  slog.New(slog.NewJSONHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Rand:    func() float64 { return 0.5 },
		Sleep: func(ctx context.Context, d time.Duration) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.waits = append(b.waits, d)
			return context.Cause(ctx)
		},
	}
	if change != nil {
		change(&opt)
	}
	var err error
	if b.broker, err = broker.New(opt); err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{DisableCompression: true}
	b.client = &http.Client{Transport: tr}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second) // t.Context has ended by then
		defer cancel()
		if err := b.broker.Close(ctx); err != nil {
			t.Error(err)
		}
		if strings.Contains(b.log.String(), canary) {
			t.Errorf("the model's key is in the log:\n%s", b.log)
		}
	})
	b.session = b.open("job_1", broker.Limits{})
	return b
}

// open opens a session bound to the job, if any.
func (b *bundle) open(jobID string, l broker.Limits) *broker.Session {
	b.t.Helper()
	s, err := b.broker.Open()
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(s.Close)
	if jobID != "" {
		if err := s.Bind(jobID, l); err != nil {
			b.t.Fatal(err)
		}
	}
	return s
}

func (b *bundle) slept() []time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.waits
}

// request is a call of the session, not sent yet.
func (b *bundle) request(ctx context.Context, s *broker.Session, body io.Reader) *http.Request {
	b.t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.BaseURL()+"/responses", body)
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.Token().Reveal())
	req.Header.Set("Content-Type", "application/json")
	return req
}

// answer is a response that was read to its end.
type answer struct {
	status int
	header http.Header
	body   string
	err    error // of the body
}

// post sends a request and reads the answer, which must not hold the key.
func (b *bundle) post(s *broker.Session, body string) answer {
	b.t.Helper()
	return b.do(b.request(b.t.Context(), s, strings.NewReader(body)))
}

func (b *bundle) do(req *http.Request) answer {
	b.t.Helper()
	res, err := b.client.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	var head strings.Builder
	_ = res.Header.Write(&head)
	if strings.Contains(head.String()+string(raw), canary) {
		b.t.Errorf("the model's key reached the client:\n%s\n%s", head.String(), raw)
	}
	return answer{res.StatusCode, res.Header, string(raw), err}
}

// script answers the n-th request (from 1) by calling its n-th function; the
// last one answers all further ones.
type script struct {
	mu    sync.Mutex
	n     int
	steps []http.HandlerFunc
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.n++
	f := s.steps[min(s.n, len(s.steps))-1]
	s.mu.Unlock()
	_, _ = io.Copy(io.Discard, r.Body)
	f(w, r)
}

func (s *script) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}

func steps(f ...http.HandlerFunc) *script { return &script{steps: f} }

// status answers with a status, a body and header pairs.
func status(code int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

const doneEvent = "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":10," +
	"\"input_tokens_details\":{\"cached_tokens\":4},\"output_tokens\":5,\"output_tokens_details\":{\"reasoning_tokens\":2},\"total_tokens\":15}}}\n\n"

func streamOK(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	_, _ = io.WriteString(w, doneEvent)
}
