package broker

import (
	"context"
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
	long := strings.Repeat("x", maxLine)
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
		{"after a line too long to count", "event: response.completed\ndata: " + long + "\n\n" + finalLine + "\n\n", want},
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

// TestMeterMemoryIsBounded: a line without end is not collected.
func TestMeterMemoryIsBounded(t *testing.T) {
	t.Parallel()
	m := meter{found: func(tokens) {}}
	chunk := []byte("data: " + strings.Repeat("x", 1<<20))
	for range 64 {
		m.write(chunk)
		if cap(m.line) > 2*maxLine {
			t.Fatalf("the line buffer has %d bytes", cap(m.line))
		}
	}
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
