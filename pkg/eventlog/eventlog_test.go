package eventlog_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"

	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/eventlog"
	"codexgateway.dev/pkg/job/jobtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// harness is a writer on a fresh log, and what it stored.
type harness struct {
	*jobtest.Env

	w       *eventlog.Writer
	mu      sync.Mutex
	batches []*eventlog.Batch
	stored  chan struct{}
}

const jobID = "job_00000000000000000000000000"

func open(t *testing.T, delay time.Duration) *harness {
	t.Helper()
	h := &harness{Env: jobtest.New(t), stored: make(chan struct{}, 1000)}
	h.w = h.writer(t, "w1", 1, delay)
	t.Cleanup(func() { h.w.Stop(errors.New("test over")) })
	return h
}

func (h *harness) writer(t *testing.T, name string, next int64, delay time.Duration) *eventlog.Writer {
	t.Helper()
	return h.Jobs.Log.NewWriter(context.Background(), eventlog.WriterOptions{
		JobID: jobID, Attempt: 1, Writer: name, Next: next, DeltaDelay: delay,
		Merge: merge, Logger: slog.New(slog.DiscardHandler),
		Stored: func(_ context.Context, b *eventlog.Batch) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.batches = append(h.batches, b)
			h.stored <- struct{}{}
		},
	})
}

// merge joins test deltas: params are JSON strings.
func merge(params []json.RawMessage) []json.RawMessage {
	var sb strings.Builder
	for _, p := range params {
		var s string
		if err := json.Unmarshal(p, &s); err != nil {
			panic(err)
		}
		sb.WriteString(s)
	}
	out, err := json.Marshal(sb.String())
	if err != nil {
		panic(err)
	}
	return []json.RawMessage{out}
}

func (h *harness) delta(t *testing.T, item, text string) {
	t.Helper()
	p, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	h.append(t, eventlog.Entry{Type: eventlog.TypeCodex, Time: h.Clock.Now(), Delta: &eventlog.Delta{
		Method: "delta", Item: item, Params: []json.RawMessage{p},
	}})
}

func (h *harness) item(t *testing.T, name string) {
	t.Helper()
	h.append(t, eventlog.Entry{
		Type: eventlog.TypeCodex, Time: h.Clock.Now(),
		Data: eventlog.CodexData("item", json.RawMessage(fmt.Sprintf("%q", name))),
	})
}

func (h *harness) append(t *testing.T, e eventlog.Entry) {
	t.Helper()
	if err := h.w.Append(t.Context(), e); err != nil {
		t.Fatal(err)
	}
}

// events reads the log from after, as "method params" lines.
func (h *harness) events(t *testing.T, after int64) []string {
	t.Helper()
	var lines []string
	for {
		page, err := h.Jobs.Log.Read(t.Context(), jobID, after, 0)
		if err != nil {
			t.Fatal(err)
		}
		for i, raw := range page.Events {
			var e struct {
				Seq  int64 `json:"seq"`
				Data struct {
					Method string          `json:"method"`
					Params json.RawMessage `json:"params"`
				} `json:"data"`
			}
			if err := json.Unmarshal(raw, &e); err != nil {
				t.Fatalf("%s: %v", raw, err)
			}
			if e.Seq != page.First+int64(i) {
				t.Fatalf("seq %d at %d", e.Seq, page.First+int64(i))
			}
			lines = append(lines, e.Data.Method+" "+string(e.Data.Params))
		}
		if after = page.Last(); !page.More {
			return lines
		}
	}
}

func TestDeltasOfAnItemMergeAndNeverCrossItsEnd(t *testing.T) {
	t.Parallel()
	h := open(t, time.Hour)
	h.delta(t, "a", "1")
	h.delta(t, "b", "x")
	h.delta(t, "a", "2")
	h.item(t, "end of a") // flushes what came before it
	h.delta(t, "a", "3")
	if err := h.w.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []string{`delta "12"`, `delta "x"`, `item "end of a"`, `delta "3"`}
	got := h.events(t, 0)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDeltasAloneWaitForTheirDelay(t *testing.T) {
	t.Parallel()
	h := open(t, 5*time.Millisecond)
	h.delta(t, "a", "1")
	<-h.stored // nothing but the delay flushes it
	if diff := cmp.Diff([]string{`delta "1"`}, h.events(t, 0)); diff != "" {
		t.Error(diff)
	}
}

func TestABatchIsStoredBeforeItIsTold(t *testing.T) {
	t.Parallel()
	h := open(t, time.Millisecond)
	for i := range 50 {
		h.item(t, fmt.Sprint(i))
	}
	for told := 0; told < 50; {
		<-h.stored
		h.mu.Lock()
		b := h.batches[0]
		h.batches = h.batches[1:]
		h.mu.Unlock()
		told = int(b.LastSeq)
		if last, _, err := h.Jobs.Log.Tail(t.Context(), jobID); err != nil || last < b.LastSeq {
			t.Fatalf("told %d, stored %d, %v", b.LastSeq, last, err)
		}
	}
}

func TestTheSecondWriterOfASeqIsFenced(t *testing.T) {
	t.Parallel()
	h := open(t, time.Millisecond)
	zombie := h.writer(t, "w0", 1, time.Millisecond)
	defer zombie.Stop(errors.New("test over"))
	h.item(t, "mine")
	<-h.stored
	err := zombie.Append(t.Context(), eventlog.Entry{Type: eventlog.TypeCodex, Time: h.Clock.Now()})
	if err != nil {
		t.Fatal(err)
	}
	<-zombie.Done()
	if !errors.Is(zombie.Err(), eventlog.ErrFenced) {
		t.Errorf("zombie ended with %v", zombie.Err())
	}
	if err := zombie.Append(t.Context(), eventlog.Entry{}); !errors.Is(err, eventlog.ErrFenced) {
		t.Errorf("append after the fence: %v", err)
	}
	if diff := cmp.Diff([]string{`item "mine"`}, h.events(t, 0)); diff != "" {
		t.Error(diff)
	}
}

func TestAnAppendOutlivesAStoreThatIsAway(t *testing.T) {
	t.Parallel()
	for name, rule := range map[string]jobtest.Rule{
		"unknown, landed":     {Collection: eventlog.Collection, After: true, Err: docstore.ErrUnavailable},
		"unknown, not landed": {Collection: eventlog.Collection, Err: docstore.ErrUnavailable},
		"disk full":           {Collection: eventlog.Collection, Err: docstore.ErrFull},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := open(t, time.Millisecond)
			h.Fault.Next(rule, rule)
			h.item(t, "one")
			<-h.stored
			h.item(t, "two")
			<-h.stored
			if diff := cmp.Diff([]string{`item "one"`, `item "two"`}, h.events(t, 0)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAFullWriterBlocksUntilTheStoreTakesABatch(t *testing.T) {
	t.Parallel()
	h := open(t, time.Hour)
	big := strings.Repeat("x", 1<<20)
	for i := range 12 { // three times what may be pending
		h.item(t, fmt.Sprint(i, big))
	}
	if err := h.w.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(h.events(t, 0)); n != 12 {
		t.Errorf("%d events", n)
	}
	if err := h.w.Append(t.Context(), eventlog.Entry{}); !errors.Is(err, eventlog.ErrSealed) {
		t.Errorf("append after flush: %v", err)
	}
}

func TestReadFromAnyPoint(t *testing.T) {
	t.Parallel()
	h := open(t, time.Millisecond)
	const n = 200
	for i := range n {
		h.item(t, fmt.Sprint(i+1))
		if i%3 == 0 {
			<-h.stored // several batch sizes
		}
	}
	err := h.w.Seal(t.Context(), true, []eventlog.Entry{{Type: eventlog.TypeCompleted, Time: h.Clock.Now()}},
		func(ctx context.Context, _ *eventlog.Batch, w docstore.Write) error {
			_, err := h.Docs.Commit(ctx, []docstore.Write{w})
			return err
		})
	if err != nil {
		t.Fatal(err)
	}
	for _, after := range []int64{0, 1, 2, 3, 57, n - 1, n} {
		if got := h.events(t, after); len(got) != n+1-int(after) {
			t.Errorf("after %d: %d events", after, len(got))
		}
	}
	for _, tc := range []struct {
		after        int64
		limit, want  int
		closed, more bool
	}{
		{0, 5, 5, false, true},
		{n - 4, 4, 4, false, true},
		{n - 4, 5, 5, true, false},
		{n, 1, 1, true, false},
		{n + 1, 1, 0, true, false},
	} {
		page, err := h.Jobs.Log.Read(t.Context(), jobID, tc.after, tc.limit)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Events) != tc.want || page.Closed != tc.closed || page.More != tc.more {
			t.Errorf("after %d limit %d: %d events, closed %v, more %v", tc.after, tc.limit, len(page.Events), page.Closed, page.More)
		}
	}
}

func TestTheArchiveIsTheWholeLog(t *testing.T) {
	t.Parallel()
	h := open(t, time.Millisecond)
	for i := range 20 {
		h.item(t, fmt.Sprint(i))
	}
	if err := h.w.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	packed, _, err := h.Jobs.Log.Archive(t.Context(), jobID, &eventlog.Batch{Events: []json.RawMessage{[]byte(`{"last":true}`)}})
	if err != nil {
		t.Fatal(err)
	}
	dec, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	raw, err := dec.DecodeAll(packed, nil)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSuffix(raw, []byte("\n")), []byte("\n"))
	if len(lines) != 21 || string(lines[20]) != `{"last":true}` {
		t.Errorf("%d lines, last %s", len(lines), lines[len(lines)-1])
	}
}

// The form of an event on the wire is the contract with every client.
func TestTheEventOnTheWire(t *testing.T) {
	t.Parallel()
	h := open(t, time.Millisecond)
	h.item(t, "x")
	<-h.stored
	page, err := h.Jobs.Log.Read(t.Context(), jobID, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"job_id":"` + jobID + `","seq":1,"attempt":1,"time":"2026-01-02T03:04:05.000Z","type":"codex","data":{"method":"item","params":"x"}}`
	if got := string(page.Events[0]); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func BenchmarkAppendThroughput(b *testing.B) {
	env := jobtest.New(b)
	stored := make(chan int64, 1)
	w := env.Jobs.Log.NewWriter(b.Context(), eventlog.WriterOptions{
		JobID: jobID, Attempt: 1, Writer: "w", Next: 1, DeltaDelay: 25 * time.Millisecond, Merge: merge,
		Logger: slog.New(slog.DiscardHandler),
		Stored: func(_ context.Context, batch *eventlog.Batch) {
			select {
			case stored <- batch.LastSeq:
			default:
			}
		},
	})
	e := eventlog.Entry{Type: eventlog.TypeCodex, Time: env.Clock.Now(), Data: eventlog.CodexData("item", json.RawMessage(`{"n":1}`))}
	for b.Loop() {
		if err := w.Append(b.Context(), e); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
}
