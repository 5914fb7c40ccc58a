package attack_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"codexgateway.dev/pkg/wait"
)

// measure asks the process what it holds, after a collection of garbage.
func measure(t *testing.T, g *gateway) usage {
	t.Helper()
	var u usage
	for _, ask := range []struct {
		path string
		re   *regexp.Regexp
		into *int64
	}{
		{"/debug/pprof/heap?gc=1&debug=1", regexp.MustCompile(`(?m)^# HeapAlloc = (\d+)`), &u.heap},
		{"/debug/pprof/goroutine?debug=1", regexp.MustCompile(`^goroutine profile: total (\d+)`), &u.goroutines},
	} {
		resp, err := http.Get("http://" + g.internal + ask.path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if cerr := resp.Body.Close(); err != nil || cerr != nil {
			t.Fatal(err, cerr)
		}
		found := ask.re.FindSubmatch(body)
		if found == nil {
			t.Fatalf("%s answers %.200s", ask.path, body)
		}
		if *ask.into, err = strconv.ParseInt(string(found[1]), 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	proc := fmt.Sprintf("/proc/%d/", g.cmd.Process.Pid)
	if open, err := os.ReadDir(proc + "fd"); err == nil { // Linux only
		u.files = int64(len(open))
	}
	if status, err := os.ReadFile(proc + "status"); err == nil {
		for line := range strings.Lines(string(status)) {
			if kib, ok := strings.CutPrefix(line, "VmRSS:"); ok {
				n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(kib), " kB"), 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				u.rss = n << 10
			}
		}
	}
	return u
}

// settle measures until the process holds no more than it did, or until patience
// ends: what attackers left behind is given up by and by.
func settle(t *testing.T, g *gateway, before usage) usage {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	last := measure(t, g)
	for {
		if !wait.For(ctx, 500*time.Millisecond) {
			return last
		}
		now := measure(t, g)
		if calm := now.goroutines == last.goroutines && now.files == last.files; calm &&
			(before == usage{} || now.goroutines <= before.goroutines+2 && now.files <= before.files+2) {
			return now
		}
		last = now
	}
}

// friend is a well-behaved client beside the attacks: it must be served.
type friend struct {
	cancel context.CancelFunc
	done   chan struct{}
	calls  atomic.Int64
	failed atomic.Value // error
}

func befriend(t *testing.T, g *gateway) *friend {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	f := &friend{cancel: cancel, done: make(chan struct{})}
	client := &http.Client{Transport: &http.Transport{}}
	ws, _, err := websocket.Dial(ctx, "ws://"+g.URL+"/ws", &websocket.DialOptions{ //nolint:bodyclose // nil after an upgrade
		HTTPClient: client, HTTPHeader: http.Header{"X-Api-Key": {adminKey}},
	})
	if err != nil {
		t.Fatal(err)
	}
	// Read all the time, as a client does: the edge's pings are answered by it.
	answers := make(chan string, 1)
	reading := make(chan struct{})
	go func() { // ends with ctx
		defer close(reading)
		for {
			_, body, err := ws.Read(ctx)
			if err != nil {
				close(answers)
				return
			}
			answers <- string(body) // there is one for each question
		}
	}()
	go func() {
		defer close(f.done)
		defer client.CloseIdleConnections()
		defer func() {
			_ = ws.CloseNow()
			<-reading
		}()
		for wait.For(ctx, 20*time.Millisecond) {
			err := post(ctx, client, g)
			if err == nil {
				err = ask(ctx, ws, answers)
			}
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				f.failed.Store(err)
				return
			}
			f.calls.Add(1)
		}
	}()
	return f
}

const ping = `{"jsonrpc":"2.0","id":1,"method":"system.ping"}`

// post calls over HTTP.
func post(ctx context.Context, client *http.Client, g *gateway) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+g.URL+"/jsonrpc", strings.NewReader(ping))
	if err != nil {
		return err
	}
	req.Header.Set("X-Api-Key", adminKey)
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(body), `"status":"ok"`) {
		return fmt.Errorf("%d %s: %w", resp.StatusCode, body, err)
	}
	return nil
}

// ask calls over the WebSocket.
func ask(ctx context.Context, ws *websocket.Conn, answers <-chan string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := ws.Write(ctx, websocket.MessageText, []byte(ping)); err != nil {
		return err
	}
	select {
	case body := <-answers:
		if !strings.Contains(body, `"status":"ok"`) {
			return fmt.Errorf("answer %q", body) // an empty one: the connection has ended
		}
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// stop ends the friend and returns how often it was served.
func (f *friend) stop(t *testing.T) int64 {
	t.Helper()
	f.cancel()
	<-f.done
	if err, ok := f.failed.Load().(error); ok {
		t.Errorf("a well-behaved client was not served: %v", err)
	}
	if f.calls.Load() == 0 {
		t.Error("the well-behaved client made no call")
	}
	return f.calls.Load()
}
