package jsonrpc_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/jsonrpc"
)

type none = struct{}

type nth struct {
	N int `json:"n"`
}

func muxOf[P, R any](name string, h func(context.Context, P) (R, error)) *jsonrpc.Mux {
	m := jsonrpc.NewMux()
	jsonrpc.Register(m, name, jsonrpc.MethodDoc{}, h)
	return m
}

func call(n int, method string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":%q,"params":{"n":%d}}`, n, method, n)
}

func batch(method string, n int) []byte {
	calls := make([]string, n)
	for i := range calls {
		calls[i] = call(i, method)
	}
	return []byte("[" + strings.Join(calls, ",") + "]")
}

func responses(t *testing.T, body []byte) []*jsonrpc.Response {
	t.Helper()
	msgs, err := jsonrpc.DecodeMessages(body)
	if err != nil {
		t.Fatalf("answer %s: %v", body, err)
	}
	out := make([]*jsonrpc.Response, len(msgs))
	for i, m := range msgs {
		if out[i] = m.Response; out[i] == nil {
			t.Fatalf("no response: %+v", m)
		}
	}
	return out
}

func TestServeKeepsTheOrderOfABatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := muxOf("later", func(ctx context.Context, p nth) (int, error) {
			select { // the first member ends last
			case <-time.After(time.Duration(100-p.N) * time.Millisecond):
			case <-ctx.Done():
			}
			return p.N, nil
		})
		for i, r := range responses(t, m.Serve(t.Context(), batch("later", 50), jsonrpc.Options{Parallel: 50}).Body) {
			if want := strconv.Itoa(i); string(r.ID) != want || string(r.Result) != want {
				t.Errorf("answer %d: id %s result %s", i, r.ID, r.Result)
			}
		}
	})
}

func TestServeBoundsParallelism(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var running, most atomic.Int64
		m := muxOf("work", func(context.Context, nth) (int, error) {
			n := running.Add(1)
			defer running.Add(-1)
			for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
			}
			<-time.After(time.Second)
			return 0, nil
		})
		start := time.Now()
		m.Serve(t.Context(), batch("work", 40), jsonrpc.Options{})
		if got := most.Load(); got != jsonrpc.DefaultParallel {
			t.Errorf("%d ran at once, want %d", got, jsonrpc.DefaultParallel)
		}
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("40 seconds of work took %v, want 5s", took)
		}
	})
}

func TestServeContainsPanics(t *testing.T) {
	t.Parallel()
	m := muxOf("sometimes", func(_ context.Context, p nth) (int, error) {
		if p.N == 1 {
			panic("the secret is hunter2")
		}
		return p.N, nil
	})
	var mu sync.Mutex
	var causes []error
	opt := jsonrpc.Options{RequestID: "req_test", After: func(_ context.Context, _ string, _ time.Duration, err *errs.Error) {
		if err != nil {
			mu.Lock()
			defer mu.Unlock()
			causes = append(causes, err)
		}
	}}
	got := m.Serve(t.Context(), batch("sometimes", 3), opt)
	rs := responses(t, got.Body)
	if rs[0].Error != nil || rs[2].Error != nil {
		t.Errorf("neighbours of a panic failed: %s", got.Body)
	}
	if rs[1].Error == nil || rs[1].Error.Code != -32603 || strings.Contains(string(got.Body), "hunter2") {
		t.Errorf("answer = %s, want -32603 and no panic text", got.Body)
	}
	var p *jsonrpc.PanicError
	if len(causes) != 1 || !errors.As(causes[0], &p) || len(p.Stack) == 0 {
		t.Errorf("After saw %v, want the panic and its stack", causes)
	}
}

func TestServeAsksBeforeForEveryMember(t *testing.T) {
	t.Parallel()
	m := muxOf("ok", func(context.Context, nth) (string, error) { return "done", nil })
	tests := []struct {
		name, frame string
		want        []string
	}{
		{"call", call(1, "ok"), []string{"ok"}},
		{"notification", `{"jsonrpc":"2.0","method":"ok"}`, []string{"ok"}},
		{"unknown method", call(1, "nope"), []string{"nope"}},
		{"invalid", `{}`, []string{""}},
		{"unreadable", `{`, []string{""}},
		{"too many", string(batch("ok", 51)), []string{""}},
		{"batch", "[" + call(1, "ok") + `,1,{"jsonrpc":"2.0","method":"ok"},` + call(2, "nope") + "]", []string{"ok", "", "ok", "nope"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var asked []string
			m.Serve(t.Context(), []byte(tt.frame), jsonrpc.Options{Before: func(_ context.Context, method string) error {
				asked = append(asked, method)
				return nil
			}})
			if diff := cmp.Diff(tt.want, asked); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
		})
	}
}

func TestServeRefusedByBefore(t *testing.T) {
	t.Parallel()
	var ran atomic.Int64
	m := muxOf("ok", func(context.Context, nth) (string, error) { ran.Add(1); return "done", nil })
	left := 2
	limit := jsonrpc.Options{Before: func(context.Context, string) error {
		if left--; left < 0 {
			return errs.New(errs.RateLimited, "").With("retry_after_ms", 1000)
		}
		return nil
	}}
	rs := responses(t, m.Serve(t.Context(), batch("ok", 4), limit).Body)
	for i, r := range rs {
		if limited := r.Error != nil && r.Error.Code == -32006; limited != (i >= 2) {
			t.Errorf("member %d: %+v", i, r.Error)
		}
	}
	if ran.Load() != 2 {
		t.Errorf("%d members ran, want 2", ran.Load())
	}
	single := m.Serve(t.Context(), []byte(call(1, "ok")), limit)
	if single.Err == nil || single.Err.Code != errs.RateLimited || single.Status() != http.StatusTooManyRequests {
		t.Errorf("single: err %v status %d", single.Err, single.Status())
	}
}

func TestServeStatus(t *testing.T) {
	t.Parallel()
	for _, row := range errs.Registry {
		if row.Scope != errs.Request {
			continue
		}
		m := muxOf("fail", func(context.Context, nth) (any, error) { return nil, errs.New(row.Code, "") })
		want := http.StatusOK
		if row.Envelope {
			want = row.HTTP
		}
		if got := m.Serve(t.Context(), []byte(call(1, "fail")), jsonrpc.Options{}).Status(); got != want {
			t.Errorf("%s: single is %d, want %d", row.Code, got, want)
		}
		if got := m.Serve(t.Context(), batch("fail", 2), jsonrpc.Options{}).Status(); got != http.StatusOK {
			t.Errorf("%s: batch is %d, want 200", row.Code, got)
		}
	}
	m := muxOf("ok", func(context.Context, none) (any, error) { return nil, nil })
	if got := m.Serve(t.Context(), []byte(`{"jsonrpc":"2.0","method":"ok"}`), jsonrpc.Options{}).Status(); got != http.StatusNoContent {
		t.Errorf("notification is %d, want 204", got)
	}
}

func TestServeClassifiesTheEndOfTheContext(t *testing.T) {
	t.Parallel()
	wait := func(ctx context.Context, _ none) (any, error) {
		<-ctx.Done()
		return nil, fmt.Errorf("store: get: %w", ctx.Err())
	}
	frame := []byte(`{"jsonrpc":"2.0","id":1,"method":"wait"}`)

	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if got := muxOf("wait", wait).Serve(cancelled, frame, jsonrpc.Options{}); got.Err == nil || got.Err.Code != errs.Overloaded {
		t.Errorf("cancelled: %v, want overloaded", got.Err)
	}
	expired, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	if got := muxOf("wait", wait).Serve(expired, frame, jsonrpc.Options{}); got.Err == nil || got.Err.Code != errs.DeadlineExceeded {
		t.Errorf("expired: %v, want deadline_exceeded", got.Err)
	}
}

func TestServeStopsDispatchingWhenTheContextEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	var ran atomic.Int64
	m := muxOf("wait", func(ctx context.Context, _ nth) (any, error) {
		ran.Add(1)
		cancel()
		<-ctx.Done()
		return "done", nil
	})
	rs := responses(t, m.Serve(ctx, batch("wait", 50), jsonrpc.Options{Parallel: 1}).Body)
	if len(rs) != 50 {
		t.Fatalf("%d answers, want 50", len(rs))
	}
	// select picks at random when both a slot and the end are there, so some may still run.
	overloaded := 0
	for _, r := range rs {
		if r.Error != nil && r.Error.Code == -32001 {
			overloaded++
		}
	}
	if overloaded+int(ran.Load()) != 50 {
		t.Errorf("%d ran and %d were refused, want 50 together", ran.Load(), overloaded)
	}
}

func TestServeCarriesTheRequestID(t *testing.T) {
	t.Parallel()
	m := muxOf("whoami", func(ctx context.Context, _ none) (string, error) { return jsonrpc.RequestID(ctx), nil })
	frame := []byte(`{"jsonrpc":"2.0","id":1,"method":"whoami"}`)
	if r := responses(t, m.Serve(t.Context(), frame, jsonrpc.Options{RequestID: "req_x"}).Body)[0]; string(r.Result) != `"req_x"` {
		t.Errorf("request id = %s", r.Result)
	}
	a := responses(t, m.Serve(t.Context(), frame, jsonrpc.Options{}).Body)[0]
	b := responses(t, m.Serve(t.Context(), frame, jsonrpc.Options{}).Body)[0]
	if string(a.Result) == string(b.Result) || !strings.HasPrefix(string(a.Result), `"req_`) {
		t.Errorf("made-up ids %s and %s, want two different ones", a.Result, b.Result)
	}
}

func TestServeEncodesResults(t *testing.T) {
	t.Parallel()
	type result struct {
		List    []string          `json:"list"`
		Map     map[string]string `json:"map"`
		Zero    int               `json:"zero,omitempty"`
		Raw     json.RawMessage   `json:"raw,omitempty"`
		Text    string            `json:"text"`
		Pointer *int              `json:"pointer,omitempty"`
	}
	m := muxOf("get", func(context.Context, none) (result, error) { return result{Text: "<&>\u2028"}, nil })
	got := m.Serve(t.Context(), []byte(`{"jsonrpc":"2.0","id":1,"method":"get"}`), jsonrpc.Options{})
	if want := "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"list\":[],\"map\":{},\"text\":\"<&>\u2028\"}}"; string(got.Body) != want {
		t.Errorf("answer = %s\nwant     %s", got.Body, want)
	}

	unencodable := muxOf("get", func(context.Context, none) (any, error) { return func() {}, nil })
	if r := unencodable.Serve(t.Context(), []byte(`{"jsonrpc":"2.0","id":1,"method":"get"}`), jsonrpc.Options{}); r.Err == nil || r.Err.Code != errs.Internal {
		t.Errorf("unencodable result: %v, want internal", r.Err)
	}
}

func TestRegisterDescribesTypes(t *testing.T) {
	t.Parallel()
	m := jsonrpc.NewMux()
	jsonrpc.Register(m, "b", jsonrpc.MethodDoc{Summary: "s", Scope: "jobs:read"}, func(context.Context, nth) (string, error) { return "", nil })
	jsonrpc.Register(m, "a", jsonrpc.MethodDoc{Results: []any{nth{}, ""}}, func(context.Context, none) (any, error) { return nil, nil })
	if diff := cmp.Diff([]string{"a", "b"}, m.Methods()); diff != "" {
		t.Errorf("methods:\n%s", diff)
	}
	got, ok := m.Lookup("b")
	want := jsonrpc.MethodDoc{Summary: "s", Scope: "jobs:read", Params: nth{}, Results: []any{""}}
	if diff := cmp.Diff(want, got.Doc); !ok || diff != "" {
		t.Errorf("doc:\n%s", diff)
	}
	defer func() {
		if recover() == nil {
			t.Error("registering a name twice did not panic")
		}
	}()
	jsonrpc.Register(m, "a", jsonrpc.MethodDoc{}, func(context.Context, none) (any, error) { return nil, nil })
}

// TestPanicOfAHookReachesTheCaller: a hook runs in the goroutine of a batch's
// member, where a panic would end the process; the transport, which knows how to
// contain it, must see it.
func TestPanicOfAHookReachesTheCaller(t *testing.T) {
	t.Parallel()
	mux := jsonrpc.NewMux()
	jsonrpc.Register(mux, "ping", jsonrpc.MethodDoc{}, func(context.Context, struct{}) (string, error) { return "pong", nil })
	defer func() {
		p, ok := recover().(*jsonrpc.PanicError)
		if !ok || p.Value != "hook" || len(p.Stack) == 0 {
			t.Errorf("%v, want the hook's panic with its stack", p)
		}
	}()
	mux.Serve(t.Context(), []byte(`[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":2,"method":"ping"}]`), jsonrpc.Options{
		After: func(context.Context, string, time.Duration, *errs.Error) { panic("hook") },
	})
	t.Error("Serve returned")
}
