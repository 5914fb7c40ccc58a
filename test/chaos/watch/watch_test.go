package watch_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"codexgateway.dev/test/chaos/watch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// limit ends a test that hangs.
const limit = 30 * time.Second

// story is a log as a stand-in gateway tells it.
var story = []string{
	`{"job_id":"j","seq":1,"attempt":1,"time":"t","type":"job.queued","data":{}}`,
	`{"job_id":"j","seq":2,"attempt":1,"time":"t","type":"codex","data":{"text":"<a> & b","n":12345678901234567890}}`,
	`{"job_id":"j","seq":3,"attempt":1,"time":"t","type":"job.completed","data":{"status":"completed"}}`,
}

// escaped is an event as another encoder may write it: other order, other escapes.
func escaped(t *testing.T, event string) json.RawMessage {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(event))
	dec.UseNumber()
	var v map[string]any
	if err := dec.Decode(&v); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// stand is a gateway that tells a story over every transport, one event a
// connection, so that a watcher has to come back for each.
type stand struct {
	t     *testing.T
	story []string
	conns atomic.Int64
}

func (s *stand) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("X-Api-Key") != "key" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if s.conns.Add(1)%2 == 0 {
		w.WriteHeader(http.StatusServiceUnavailable) // every other one is refused
		return
	}
	after, _ := strconv.Atoi(r.URL.Query().Get("after"))
	switch {
	case r.URL.Path == "/ws":
		s.socket(w, r)
	case r.URL.Path == "/jsonrpc":
		var call struct {
			Params struct{ After int }
		}
		if err := json.NewDecoder(r.Body).Decode(&call); err != nil {
			s.t.Error(err)
		}
		_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":1,"result":%s}`, s.page(call.Params.After))
	case r.Header.Get("Accept") == "text/event-stream":
		after, _ = strconv.Atoi(r.Header.Get("Last-Event-ID"))
		if after == len(s.story) {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		_, _ = fmt.Fprintf(w, ": heartbeat\n\nid: %d\ndata: %s\n\n", after+1, s.story[after])
	case r.Header.Get("Accept") == "application/x-ndjson":
		if after < len(s.story) {
			_, _ = fmt.Fprintln(w, s.story[after])
		}
	default:
		_, _ = fmt.Fprint(w, s.page(after))
	}
}

func (s *stand) page(after int) string {
	if after >= len(s.story) {
		return fmt.Sprintf(`{"events":[],"next":%d,"done":true}`, after)
	}
	return fmt.Sprintf(`{"events":[%s],"next":%d,"done":%t}`, escaped(s.t, s.story[after]), after+1, after+1 == len(s.story))
}

func (s *stand) socket(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		s.t.Error(err)
		return
	}
	defer func() { _ = conn.CloseNow() }()
	ctx := r.Context()
	_, raw, err := conn.Read(ctx)
	if err != nil {
		return
	}
	var call struct {
		Method string
		Params struct{ After int }
	}
	if err := json.Unmarshal(raw, &call); err != nil || call.Method != "job.subscribe" {
		s.t.Errorf("%s: %v", raw, err)
	}
	send := func(text string) { _ = conn.Write(ctx, websocket.MessageText, []byte(text)) }
	send(`{"jsonrpc":"2.0","id":1,"result":{"subscription_id":"s"}}`)
	after := call.Params.After
	if after < len(s.story) {
		send(`{"jsonrpc":"2.0","method":"job.event","params":{"subscription_id":"s",` + s.story[after][1:] + `}`)
	}
	if after+1 >= len(s.story) {
		send(`{"jsonrpc":"2.0","method":"job.subscription_closed","params":{"reason":"finished"}}`)
	}
}

// follow watches a story to its end.
// follow follows job "j" and stays at most so long on some connections; 0: until
// they end.
func follow(t *testing.T, h http.Handler, transport string, stay time.Duration) watch.Record {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	client := srv.Client()
	t.Cleanup(client.CloseIdleConnections)
	w := &watch.Watcher{
		Gateway: &watch.Gateway{URLs: []string{srv.URL}, Key: "key", HTTP: client}, JobID: "j", Transport: transport, Stay: stay,
	}
	return w.Run(ctx)
}

func TestEveryTransportTellsTheSameEvents(t *testing.T) {
	t.Parallel()
	var want []watch.Event
	for _, transport := range watch.Transports {
		r := follow(t, &stand{t: t, story: story}, transport, time.Second)
		if !r.Done || r.Misread != "" || len(r.Seen) != len(story) || r.Reconnects == 0 {
			t.Fatalf("%s: %+v", transport, r)
		}
		if want == nil {
			want = r.Seen
		}
		if d := cmp.Diff(want, r.Seen); d != "" {
			t.Errorf("%s: %s", transport, d)
		}
	}
	if want[0].Hash == want[1].Hash || want[2].Type != "job.completed" || want[1].Seq != 2 {
		t.Errorf("events %+v", want)
	}
}

// A number that does not fit a float, or another text, must not look the same.
func TestAnyDifferenceIsSeen(t *testing.T) {
	t.Parallel()
	for _, other := range []string{
		strings.Replace(story[1], "12345678901234567890", "12345678901234567891", 1),
		strings.Replace(story[1], "<a>", "<b>", 1),
		strings.Replace(story[1], `"attempt":1`, `"attempt":2`, 1),
	} {
		one := follow(t, &stand{t: t, story: story}, "sse", time.Second)
		two := follow(t, &stand{t: t, story: []string{story[0], other, story[2]}}, "sse", time.Second)
		if one.Seen[1].Hash == two.Seen[1].Hash {
			t.Errorf("%s looks like %s", other, story[1])
		}
	}
}

// What comes in the wrong way is written down as it came.
func TestTheRecordHidesNothing(t *testing.T) {
	t.Parallel()
	told := atomic.Bool{}
	r := follow(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if told.Swap(true) {
			return // nothing more
		}
		for _, i := range []int{0, 0, 2, 1} {
			_, _ = fmt.Fprintln(w, story[i])
		}
	}), "ndjson", 0)
	var seqs []int64
	for _, e := range r.Seen {
		seqs = append(seqs, e.Seq)
	}
	if d := cmp.Diff([]int64{1, 1, 3, 2}, seqs); d != "" {
		t.Error(d)
	}
}

func TestAContradictionIsToldOnce(t *testing.T) {
	t.Parallel()
	for transport, body := range map[string]string{
		"long_poll": `{"events":[` + story[0] + `],"next":2,"done":false}`,
		"sse":       "id: 2\ndata: " + story[0] + "\n\n",
	} {
		r := follow(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, body) }), transport, time.Second)
		if r.Misread == "" || r.Done {
			t.Errorf("%s: %+v", transport, r)
		}
	}
}

func TestARefusalForGoodEndsTheWatch(t *testing.T) {
	t.Parallel()
	r := follow(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(w, `{"jsonrpc":"2.0","id":1,"error":{"code":-32004,"message":"no","data":{"code":"not_found","retryable":false}}}`)
	}), "job_events", time.Second)
	if r.Done || len(r.Seen) != 0 {
		t.Errorf("%+v", r)
	}
}
