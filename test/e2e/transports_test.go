package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/eventlog"
)

// transport reads a job's events after one over one connection (or one call)
// and hands over each. nil means that the connection ended in an orderly way,
// which is not yet the end of the log.
type transport func(ctx context.Context, g *gateway, jobID string, after int64, fn func(apiv1.Event)) error

var transports = map[string]transport{
	"websocket": func(ctx context.Context, g *gateway, jobID string, after int64, fn func(apiv1.Event)) error {
		_, err := g.Watch(ctx, jobID, after, func(e apiv1.Event) error { fn(e); return nil })
		return err
	},
	"sse":        readSSE,
	"ndjson":     readNDJSON,
	"long poll":  readPoll,
	"job.events": readPages,
}

// openEvents asks for a job's events in one form.
func openEvents(ctx context.Context, g *gateway, jobID, query string, header map[string]string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.anyURL()+"/v1/jobs/"+jobID+"/events"+query, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Api-Key", g.key.Reveal())
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusNoContent {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("status %d", resp.StatusCode)
	}
	return resp, nil
}

// readSSE resumes as a browser does, by Last-Event-ID, and checks that each
// event's id is its seq.
func readSSE(ctx context.Context, g *gateway, jobID string, after int64, fn func(apiv1.Event)) error {
	header := map[string]string{"Accept": "text/event-stream"}
	if after > 0 {
		header["Last-Event-ID"] = strconv.FormatInt(after, 10)
	}
	resp, err := openEvents(ctx, g, jobID, "", header)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	id := ""
	return eachLine(resp.Body, func(line string) error {
		switch {
		case strings.HasPrefix(line, "id: "):
			id = line[len("id: "):]
		case strings.HasPrefix(line, "data: "):
			e, err := decodeEvent(line[len("data: "):])
			if err != nil {
				return err
			}
			if id != strconv.FormatInt(e.Seq, 10) {
				return fmt.Errorf("event %d has the id %q", e.Seq, id)
			}
			fn(e)
		}
		return nil
	})
}

func readNDJSON(ctx context.Context, g *gateway, jobID string, after int64, fn func(apiv1.Event)) error {
	resp, err := openEvents(ctx, g, jobID, fmt.Sprintf("?after=%d", after), map[string]string{"Accept": "application/x-ndjson"})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return eachLine(resp.Body, func(line string) error {
		e, err := decodeEvent(line)
		if err == nil {
			fn(e)
		}
		return err
	})
}

// readPoll polls until the answer says done.
func readPoll(ctx context.Context, g *gateway, jobID string, after int64, fn func(apiv1.Event)) error {
	for {
		resp, err := openEvents(ctx, g, jobID, fmt.Sprintf("?after=%d&wait=20", after), map[string]string{"Accept": "application/json"})
		if err != nil {
			return err
		}
		var page apiv1.EventPage
		err = json.NewDecoder(resp.Body).Decode(&page)
		_ = resp.Body.Close()
		if err != nil {
			return err
		}
		if done, err := tell(&page, &after, fn); done || err != nil {
			return err
		}
	}
}

// readPages reads small pages with job.events, which does not wait.
func readPages(ctx context.Context, g *gateway, jobID string, after int64, fn func(apiv1.Event)) error {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		page, err := g.Events(ctx, jobID, after, 7)
		if err != nil {
			return err
		}
		if done, err := tell(&page, &after, fn); done || err != nil {
			return err
		}
		if len(page.Events) > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

// tell hands over a page and moves on.
func tell(page *apiv1.EventPage, after *int64, fn func(apiv1.Event)) (done bool, err error) {
	for _, e := range page.Events {
		fn(e)
	}
	if n := len(page.Events); n > 0 && page.Next != page.Events[n-1].Seq || n == 0 && page.Next != *after {
		return false, fmt.Errorf("next is %d after %d and %d events", page.Next, *after, n)
	}
	*after = page.Next
	return page.Done, nil
}

func decodeEvent(line string) (e apiv1.Event, err error) {
	err = json.Unmarshal([]byte(line), &e)
	return e, err
}

// eachLine reads lines of any length.
func eachLine(r io.Reader, fn func(line string) error) error {
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadString('\n')
		if errors.Is(err, io.EOF) && line == "" {
			return nil
		}
		if err != nil {
			return err
		}
		if err := fn(strings.TrimSuffix(line, "\n")); err != nil {
			return err
		}
	}
}

// follow reads a job's log to its end, connecting again as often as it takes,
// each time after the last event it has.
func follow(ctx context.Context, read transport, g *gateway, jobID string, seen func(apiv1.Event)) ([]apiv1.Event, error) {
	var events []apiv1.Event
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := read(ctx, g, jobID, int64(len(events)), func(e apiv1.Event) {
			events = append(events, e)
			if seen != nil {
				seen(e)
			}
		})
		if n := len(events); n > 0 && eventlog.Terminal(events[n-1].Type) {
			return events, nil
		}
		select {
		case <-ctx.Done():
			return events, errors.Join(context.Cause(ctx), err)
		case <-ticker.C:
		}
	}
}

// following is a reader of each transport that runs beside the test.
type following struct {
	name   string
	events []apiv1.Event
	err    error
}

// followAll starts a follower per transport; wait returns them when all have
// the end of the log.
func followAll(t *testing.T, g *gateway, jobID string) (wait func() []following) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), jobLimit, errors.New("the log did not end"))
	t.Cleanup(cancel)
	results := make(chan following, len(transports))
	for name, read := range transports {
		go func() {
			events, err := follow(ctx, read, g, jobID, nil)
			results <- following{name, events, err}
		}()
	}
	return func() []following {
		t.Helper()
		var all []following
		for range transports {
			f := <-results
			if f.err != nil {
				t.Fatalf("%s: %v after %d events", f.name, f.err, len(f.events))
			}
			checkLog(t, jobID, f.events)
			all = append(all, f)
		}
		return all
	}
}

// sameJSON compares data as JSON: one transport may escape what another does not.
var sameJSON = cmp.FilterValues(func(a, b json.RawMessage) bool { return json.Valid(a) && json.Valid(b) },
	cmp.Transformer("json", func(raw json.RawMessage) (v any) {
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		_ = d.Decode(&v) // valid, see above
		return v
	}))

// wantSame checks that two readers saw the same events.
func wantSame(t *testing.T, name string, want, got []apiv1.Event) {
	t.Helper()
	if len(want) != len(got) {
		t.Errorf("%s: %d events, want %d", name, len(got), len(want))
		return
	}
	for i := range want {
		if d := cmp.Diff(want[i], got[i], sameJSON); d != "" {
			t.Errorf("%s: event %d: %s", name, i+1, d)
			return
		}
	}
}

func TestEveryTransportTellsTheSameLog(t *testing.T) {
	t.Parallel()
	g := shared(t)
	jobID := g.submit(t, apiv1.PromptParams{Prompt: "mock: say look <here> & there \u2028 now\nmock: shell echo hello\nmock: deltas 20 10"})
	wait := followAll(t, g, jobID) // live, while it runs
	o := g.await(t, jobID)
	o.wantStatus(t, apiv1.StatusCompleted, "")
	for _, f := range wait() {
		wantSame(t, f.name, o.events, f.events)
	}
	for _, f := range followAll(t, g, jobID)() { // and from the log
		wantSame(t, f.name+" afterwards", o.events, f.events)
	}
}

func TestEveryTransportResumesAfterEveryEvent(t *testing.T) {
	t.Parallel()
	g := shared(t)
	o := g.run(t, "say hello")
	for name, read := range transports {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for after := range len(o.events) {
				var got []apiv1.Event
				if err := read(t.Context(), g, o.JobID, int64(after), func(e apiv1.Event) { got = append(got, e) }); err != nil {
					t.Fatalf("after %d: %v", after, err)
				}
				wantSame(t, fmt.Sprintf("after %d", after), o.events[after:], got)
			}
			// After the last one there is nothing, and that at once.
			if err := read(t.Context(), g, o.JobID, o.LastSeq, func(e apiv1.Event) { t.Errorf("event %d after the last", e.Seq) }); err != nil {
				t.Errorf("after the last: %v", err)
			}
		})
	}
}

func TestFinishedStreamsTellBrowsersToStop(t *testing.T) {
	t.Parallel()
	g := shared(t)
	o := g.run(t, "say hello")
	header := g.auth()
	header["Accept"], header["Last-Event-ID"] = "text/event-stream", strconv.FormatInt(o.LastSeq, 10)
	if r := g.get(t, "/v1/jobs/"+o.JobID+"/events", header); r.status != http.StatusNoContent {
		t.Errorf("status %d, want 204", r.status)
	}
}

// It runs before all parallel tests: with them a job may outlast the longest wait
// there is.
func TestAPromptThatWaitsGetsItsAnswer(t *testing.T) {
	g := shared(t)
	p, err := g.Prompt(t.Context(), apiv1.PromptParams{Prompt: "mock: say forty-two", Wait: 60})
	if err != nil {
		t.Fatal(err)
	}
	r := p.Response
	if r == nil || r.Status != apiv1.StatusCompleted || r.Content != "forty-two" || r.Usage.TotalTokens == 0 || r.Model == "" {
		t.Fatalf("answer %s", p.Raw)
	}
	if slices.ContainsFunc(r.Events, saysMethod("item/agentMessage/delta")) || len(r.Events) == 0 {
		t.Errorf("want item-level events, got %d", len(r.Events))
	}
}

func TestSubmittingTwiceIsSubmittingOnce(t *testing.T) {
	t.Parallel()
	g := shared(t)
	params := apiv1.PromptParams{Prompt: "say hello", IdempotencyKey: "e2e-once"}
	first, err := g.Prompt(t.Context(), params)
	if err != nil {
		t.Fatal(err)
	}
	g.await(t, first.JobID())
	again, err := g.Prompt(t.Context(), params)
	if err != nil || !again.Replayed || string(again.Raw) != string(first.Raw) {
		t.Errorf("again: %v, replayed %t\n%s\n%s", err, again.Replayed, first.Raw, again.Raw)
	}
	params.Prompt = "say something else"
	_, err = g.Prompt(t.Context(), params)
	wantCode(t, err, "idempotency_mismatch", "")
}
