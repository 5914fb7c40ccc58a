package broker_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"codexgateway.dev/services/worker/internal/broker"
)

// newTLS is a model with a certificate that nobody trusts.
func newTLS(t *testing.T) (url string) {
	t.Helper()
	up := httptest.NewUnstartedServer(steps(streamOK))
	up.Config.ErrorLog = nil
	up.StartTLS()
	t.Cleanup(up.Close)
	return up.URL
}

// TestDeltasPassAtOnce: the model sends its second delta only after the client
// has the first; a broker that buffers would never finish.
func TestDeltasPassAtOnce(t *testing.T) {
	t.Parallel()
	got := make(chan string)
	up := steps(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		for i := range 5 {
			_, _ = fmt.Fprintf(w, "data: %d\n", i)
			_ = rc.Flush()
			select {
			case <-got:
			case <-r.Context().Done():
				return
			}
		}
	})
	b := setup(t, up, nil)
	res, err := b.client.Do(b.request(t.Context(), b.session, strings.NewReader("{}")))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	lines := bufio.NewScanner(res.Body)
	for i := range 5 {
		if !lines.Scan() || lines.Text() != fmt.Sprintf("data: %d", i) {
			t.Fatalf("line %d = %q, %v", i, lines.Text(), lines.Err())
		}
		got <- lines.Text()
	}
}

// hanging is a model that says when it was reached and when it was left.
type hanging struct {
	first           string // sent before hanging
	reached, gotten chan struct{}
}

func newHanging(first string) *hanging {
	return &hanging{first: first, reached: make(chan struct{}, 8), gotten: make(chan struct{}, 8)}
}

func (h *hanging) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	if h.first != "" {
		_, _ = io.WriteString(w, h.first)
		_ = http.NewResponseController(w).Flush()
	}
	h.reached <- struct{}{}
	<-r.Context().Done()
	h.gotten <- struct{}{}
}

// TestKillSwitch: closing a session cuts its requests wherever they are, on both
// sides, kills its token and leaves the others alone.
func TestKillSwitch(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, first string }{{"before the headers", ""}, {"in the stream", "data: x\n"}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			up := newHanging(tt.first)
			b := setup(t, up, nil)
			other := b.open("job_2", broker.Limits{})
			done, otherDone := make(chan answer, 1), make(chan answer, 1)
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			go func() { done <- b.post(b.session, "{}") }()
			<-up.reached
			go func() { otherDone <- b.do(b.request(ctx, other, strings.NewReader("{}"))) }()
			<-up.reached

			b.session.Close()
			<-up.gotten
			if got := <-done; got.err == nil || !strings.HasPrefix(tt.first, got.body) {
				t.Errorf("the client saw %+v, want a cut", got)
			}
			if got := b.post(b.session, "{}"); got.status != http.StatusUnauthorized {
				t.Errorf("the token still works: %+v", got)
			}
			if err := b.session.Bind("job_3", broker.Limits{}); err == nil {
				t.Error("a closed session was bound")
			}
			select {
			case got := <-otherDone:
				t.Errorf("the other session was cut too: %+v", got)
			default:
			}
			leave()
			<-up.gotten
			<-otherDone
		})
	}
}

func TestKillSwitchEndsAWait(t *testing.T) {
	t.Parallel()
	waiting := make(chan struct{})
	up := steps(status(429, ""))
	b := setup(t, up, func(o *broker.Options) {
		o.Sleep = func(ctx context.Context, _ time.Duration) error {
			close(waiting)
			<-ctx.Done()
			return context.Cause(ctx)
		}
	})
	done := make(chan answer, 1)
	go func() { done <- b.post(b.session, "{}") }()
	<-waiting
	b.session.Close()
	if got := <-done; got.err == nil || up.count() != 1 {
		t.Errorf("got %+v after %d attempts, want a cut", got, up.count())
	}
}

// TestClientLeaving ends the upstream request: nobody pays for tokens that
// nobody reads.
func TestClientLeaving(t *testing.T) {
	t.Parallel()
	up := newHanging("")
	b := setup(t, up, nil)
	ctx, leave := context.WithCancel(t.Context())
	done := make(chan answer, 1)
	go func() { done <- b.do(b.request(ctx, b.session, strings.NewReader("{}"))) }()
	<-up.reached
	leave()
	<-up.gotten
	<-done
}

// TestLeavingWithAWholeResponseIsNoWarning: Codex does not wait for the end of
// the stream, so it happens on every call.
func TestLeavingWithAWholeResponseIsNoWarning(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ stream, level string }{
		"whole": {doneEvent, "DEBUG"},
		"half":  {"data: {}\n\n", "WARN"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			up := newHanging(c.stream)
			b := setup(t, up, nil)
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			res, err := b.client.Do(b.request(ctx, b.session, strings.NewReader("{}")))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(res.Body, make([]byte, len(c.stream))); err != nil {
				t.Fatal(err)
			}
			leave()
			_ = res.Body.Close()
			<-up.gotten
			b.session.Close() // waits for the call
			if log := b.log.String(); !strings.Contains(log, `"level":"`+c.level+`","msg":"model request"`) {
				t.Errorf("no line at level %s:\n%s", c.level, log)
			}
		})
	}
}

func TestJobDeadline(t *testing.T) {
	t.Parallel()
	up := newHanging("")
	b := setup(t, up, nil)
	s := b.open("job_2", broker.Limits{Deadline: time.Now().Add(30 * time.Millisecond)})
	got := b.post(s, "{}")
	if got.status != http.StatusGatewayTimeout || !strings.Contains(got.body, `"job_deadline"`) {
		t.Errorf("got %+v", got)
	}
	// The upstream's Close waits for its handler: it ended too.
}

// TestClientThatDoesNotRead: a full connection must hold neither a model's
// stream nor the kill switch.
func TestClientThatDoesNotRead(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		timeout time.Duration
		end     func(*broker.Session)
	}{
		{"ends by timeout", 3 * time.Second, func(*broker.Session) {}},
		{"ends by the kill switch", time.Hour, (*broker.Session).Close},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			full, left := make(chan struct{}), make(chan struct{})
			up := steps(func(w http.ResponseWriter, _ *http.Request) {
				defer close(left)
				// The server itself would end the connection with the first write that fails.
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer func() { _ = conn.Close() }()
				chunk := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + strings.Repeat("x", 64<<10))
				for err == nil {
					// A write that stays blocked means that every buffer on the way is full.
					_ = conn.SetWriteDeadline(time.Now().Add(2 * time.Second))
					_, err = conn.Write(chunk)
				}
				close(full)
				_, _ = io.Copy(io.Discard, conn) // until the broker has left
			})
			b := setup(t, up, func(o *broker.Options) { o.ClientTimeout = tt.timeout })
			res, err := b.client.Do(b.request(t.Context(), b.session, strings.NewReader("{}")))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = res.Body.Close() }()
			<-full
			tt.end(b.session)
			<-left
		})
	}
}

// TestBodyThatDoesNotArrive: with a token and without one, the connection ends.
func TestBodyThatDoesNotArrive(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, token string
		status      int
	}{{"known", "", http.StatusRequestTimeout}, {"unknown", "nobody", http.StatusUnauthorized}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, steps(streamOK), func(o *broker.Options) { o.ClientTimeout = 2 * time.Second })
			token := tt.token
			if token == "" {
				token = b.session.Token().Reveal()
			}
			addr := strings.TrimSuffix(strings.TrimPrefix(b.broker.BaseURL(), "http://"), "/v1")
			conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			_, _ = fmt.Fprintf(conn, "POST /v1/responses HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 100\r\n\r\n{", token)
			raw, _ := io.ReadAll(conn) // ends only if the broker closes
			if want := fmt.Sprintf("HTTP/1.1 %d ", tt.status); !strings.HasPrefix(string(raw), want) {
				t.Errorf("answer %q, want %q", raw, want)
			}
		})
	}
}

func TestBodyLimits(t *testing.T) {
	t.Parallel()
	up := steps(streamOK)
	b := setup(t, up, func(o *broker.Options) { o.MaxBody, o.MaxBuffered = 1000, 1000 })
	tests := []struct {
		name string
		body io.Reader
		want int
	}{
		{"fits", strings.NewReader(strings.Repeat("x", 1000)), http.StatusOK},
		{"declared too long", strings.NewReader(strings.Repeat("x", 1001)), http.StatusRequestEntityTooLarge},
		{"chunked too long", io.MultiReader(strings.NewReader(strings.Repeat("x", 1001))), http.StatusRequestEntityTooLarge},
		{"chunked fits", io.MultiReader(strings.NewReader("{}")), http.StatusOK},
	}
	for _, tt := range tests { // one after the other: the buffer holds one of them
		if got := b.do(b.request(t.Context(), b.session, tt.body)); got.status != tt.want {
			t.Errorf("%s: %+v, want %d", tt.name, got, tt.want)
		}
	}
}

// TestInflightLimits: over a limit Codex is told to come back.
func TestInflightLimits(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*broker.Options)
		limits broker.Limits
		other  bool // ask from another session
		want   int
	}{
		{"session full", nil, broker.Limits{MaxInflight: 1}, false, 429},
		{"worker full", func(o *broker.Options) { o.MaxInflight = 1 }, broker.Limits{}, true, 429},
		{"buffer full", func(o *broker.Options) { o.MaxBody, o.MaxBuffered = 3, 3 }, broker.Limits{}, true, 429},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			up := newHanging("")
			b := setup(t, up, tt.change)
			s := b.open("job_2", tt.limits)
			ctx, leave := context.WithCancel(t.Context())
			done := make(chan answer, 1)
			go func() { done <- b.do(b.request(ctx, s, strings.NewReader("{}"))) }()
			<-up.reached
			asker := s
			if tt.other {
				asker = b.session
			}
			got := b.post(asker, "{}")
			if got.status != tt.want || got.header.Get("Retry-After") == "" {
				t.Errorf("got %+v, want %d with Retry-After", got, tt.want)
			}
			leave()
			<-done
			<-up.gotten
		})
	}
}
