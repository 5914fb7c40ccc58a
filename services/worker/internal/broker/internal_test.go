package broker

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const finalLine = `data: {"type":"response.completed","response":{"usage":{"input_tokens":7,"output_tokens":3,"total_tokens":10}}}`

func count(stream string, chunk int) (out []tokens) {
	m := meter{found: func(t tokens) { out = append(out, t) }}
	for len(stream) > 0 {
		n := min(chunk, len(stream))
		m.write([]byte(stream[:n]))
		stream = stream[n:]
	}
	return out
}

func TestMeterFindsUsage(t *testing.T) {
	t.Parallel()
	want := []tokens{{Input: 7, Output: 3, Total: 10}}
	long := strings.Repeat("x", 5<<20)
	output := `"output":[{"type":"message","usage":{"input_tokens":1},"content":[{"text":"\"}],\"usage\":{\\` + long + `"}]}]`
	tests := []struct {
		name, stream string
		want         []tokens
	}{
		{"with event", "event: response.completed\n" + finalLine + "\n\n", want},
		{"without event", finalLine + "\n\n", want},
		{"carriage returns", "event: response.completed\r\n" + finalLine + "\r\n\r\n", want},
		{"after deltas", "event: response.output_text.delta\ndata: {}\n\nevent: response.completed\n" + finalLine + "\n\n", want},
		{"failed", strings.ReplaceAll("event: response.completed\n"+finalLine+"\n\n", "completed", "failed"), want},
		{"no newline at the end", "event: response.completed\n" + finalLine, nil},
		{"usage in an event that is not final", "event: response.created\n" + finalLine + "\n\n", nil},
		{"type that is not final", strings.Replace(finalLine, "completed", "created", 1) + "\n\n", nil},
		{"usage null", `data: {"type":"response.completed","response":{"usage":null}}` + "\n\n", nil},
		{"broken JSON", "data: {\"type\":\"response.completed\"\n\n" + finalLine + "\n\n", want},
		{"negative counts", strings.ReplaceAll(finalLine, ":7", ":-7") + "\n\n", []tokens{{Output: 3, Total: 10}}},
		{"behind an output of megabytes", strings.Replace(finalLine, `"usage"`, output+`,"usage"`, 1) + "\n\n", want},
		{"before an output of megabytes", strings.Replace(finalLine, `10}}`, `10},`+output+`}`, 1) + "\n\n", want},
		{"before the type", `data: {"response":{"usage":{"input_tokens":7,"output_tokens":3,"total_tokens":10}},"type":"response.completed"}` + "\n\n", want},
		{"not that of the response", `data: {"type":"response.completed","usage":{"input_tokens":7},"response":{"metadata":{"usage":{"input_tokens":7}}}}` + "\n\n", nil},
		{"not in an array", `data: [{"type":"response.completed","response":{"usage":{"input_tokens":7}}}]` + "\n\n", nil},
		{"after a line that is no JSON", "event: response.completed\ndata: " + long + "\n\n" + finalLine + "\n\n", want},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, chunk := range []int{7, 1 << 20} {
				if diff := cmp.Diff(tt.want, count(tt.stream, chunk)); diff != "" {
					t.Errorf("in chunks of %d (-want +got):\n%s", chunk, diff)
				}
			}
		})
	}
}

// TestMeterMemoryIsBounded: neither a line without end nor a usage without end
// is collected.
func TestMeterMemoryIsBounded(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]string{
		"data": `data: {"`, "a usage": `data: {"response":{"usage":{"`, "an event": "event: ", "nesting": "data: ",
	} {
		m := meter{found: func(tokens) {}}
		m.write([]byte(begin))
		chunk := []byte(strings.Repeat("x", 1<<20))
		if name == "nesting" {
			chunk = []byte(strings.Repeat("[", 1<<20))
		}
		for range 8 {
			m.write(chunk)
		}
		if held := cap(m.line) + cap(m.scan.text) + cap(m.scan.usage) + cap(m.scan.kind); held > 4*maxUsage {
			t.Errorf("%s: %d bytes are held", name, held)
		}
	}
}

// FuzzScanner compares the scan of an object with a decoder that keeps it.
func FuzzScanner(f *testing.F) {
	f.Add(strings.TrimPrefix(finalLine, "data: "))
	f.Add(`{"response":{"usage":{"input_tokens":1,"x":[{}]},"a":["\\"]},"type":"response.failed"}`)
	f.Add(`{"type":"a","type":"b","response":[{"usage":{}}]}`)
	f.Add(`{"response":{"usage":null},"a":{"type":"c"}}`)
	f.Fuzz(func(t *testing.T, object string) {
		var s scanner
		s.write([]byte(object))
		if !json.Valid([]byte(object)) {
			return // it must only not panic
		}
		var top map[string]json.RawMessage
		if json.Unmarshal([]byte(object), &top) != nil || top == nil {
			if s.whole() {
				t.Errorf("an object in %q", object)
			}
			return
		}
		if !s.whole() {
			t.Fatalf("no whole object in %q", object)
		}
		if strings.Contains(object, `\u`) || strings.Count(object, `"type"`) > 1 || strings.Count(object, `"response"`) > 1 || strings.Count(object, `"usage"`) > 1 {
			return // escaped and repeated names: the decoder has its own view of them
		}
		var kind string
		if json.Unmarshal(top["type"], &kind) == nil && len(kind) < maxName && !strings.ContainsRune(string(top["type"]), '\\') && string(s.kind) != kind {
			t.Errorf("type %q, want %q in %q", s.kind, kind, object)
		}
		var response map[string]json.RawMessage
		if json.Unmarshal(top["response"], &response) != nil {
			response = nil
		}
		want := strings.TrimSpace(string(response["usage"]))
		if !strings.HasPrefix(want, "{") || len(want) > maxUsage {
			want = ""
		}
		if string(s.usage) != want && want != "" {
			t.Errorf("usage %q, want %q in %q", s.usage, want, object)
		}
		if want == "" && response["usage"] == nil && len(s.usage) > 0 {
			t.Errorf("usage %q of nothing in %q", s.usage, object)
		}
	})
}

func FuzzMeter(f *testing.F) {
	f.Add("event: response.completed\r\n"+finalLine+"\n\n", uint8(3))
	f.Add("event: x\ndata: {}\n\n"+finalLine+"\n", uint8(1))
	f.Add("data:\n\n:comment\nevent:\n\n", uint8(2))
	f.Fuzz(func(t *testing.T, stream string, chunk uint8) {
		if diff := cmp.Diff(count(stream, 1<<20), count(stream, int(chunk)+1)); diff != "" {
			t.Errorf("the count depends on the chunks (-whole +chunked):\n%s", diff)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	tests := []struct {
		value string
		want  time.Duration
		ok    bool
	}{
		{"3", 3 * time.Second, true},
		{" 0.5 ", 500 * time.Millisecond, true},
		{"0", 0, true},
		{"-1", 0, false},
		{"", 0, false},
		{"NaN", 0, false},
		{"1e300", 100 * 365 * 24 * time.Hour, true},
		{"Thu, 01 Jan 2026 00:01:00 GMT", time.Minute, true},
		{"Thu, 01 Jan 2020 00:00:00 GMT", 0, true},
		{"later", 0, false},
	}
	for _, tt := range tests {
		got, ok := retryAfter(http.Header{"Retry-After": {tt.value}}, now)
		if got != tt.want || ok != tt.ok {
			t.Errorf("%q: %v, %v; want %v, %v", tt.value, got, ok, tt.want, tt.ok)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	f.Add("1", "")
	f.Add("Thu, 01 Jan 2026 00:01:00 GMT", "250")
	f.Add("1e999", "-0")
	f.Fuzz(func(t *testing.T, value, ms string) {
		d, ok := retryAfter(http.Header{"Retry-After": {value}, "Retry-After-Ms": {ms}}, time.Unix(0, 0))
		if d < 0 || !ok && d != 0 {
			t.Errorf("%v, %v", d, ok)
		}
	})
}

func TestBackoffIsBoundedAndJittered(t *testing.T) {
	t.Parallel()
	r := Retry{Base: time.Second, MaxBackoff: 10 * time.Second}
	for n, want := range map[int]float64{1: 1, 2: 2, 3: 4, 4: 8, 5: 10, 40: 10, 100: 10} {
		if got := r.backoff(n, 1); got.Seconds() != want {
			t.Errorf("bound after failure %d = %v, want %v s", n, got, want)
		}
		if got := r.backoff(n, 0); got != 0 {
			t.Errorf("least wait after failure %d = %v", n, got)
		}
	}
}

func TestSleep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if err := sleep(t.Context(), time.Minute); err != nil || time.Since(start) != time.Minute {
			t.Errorf("slept %v, %v", time.Since(start), err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(ErrClosed) })
		if err := sleep(ctx, time.Hour); !errors.Is(err, ErrClosed) || time.Since(start) != time.Minute+time.Second {
			t.Errorf("slept %v, %v", time.Since(start), err)
		}
	})
}
