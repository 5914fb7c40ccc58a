package codex

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func TestLineReader(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 200<<10)
	for _, tc := range []struct {
		name, in string
		want     []string
		end      error
	}{
		{"lines with either end", "a\nb\r\n\nc", []string{"a", "b", "", "c"}, io.EOF},
		{"lines longer than the buffer", long + "\ny\n" + long, []string{long, "y", long}, io.EOF},
		{"nothing", "", nil, io.EOF},
		{"a line over the cap", "a\n" + long + long + "\n", []string{"a"}, errLineTooLong},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newLineReader(iotest.HalfReader(strings.NewReader(tc.in)), 300<<10)
			var got []string
			var err error
			for {
				var line []byte
				if line, err = r.next(); err != nil {
					break
				}
				got = append(got, string(line))
			}
			if !errors.Is(err, tc.end) {
				t.Errorf("ended with %v, want %v", err, tc.end)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("lines (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeLineOwnsItsMemory(t *testing.T) {
	t.Parallel()
	line := []byte(`{"method":"m","params":{"a":1}}`)
	m, err := decodeLine(line)
	if err != nil {
		t.Fatal(err)
	}
	clear(line)
	if string(m.Params) != `{"a":1}` {
		t.Errorf("params %q changed with the line", m.Params)
	}
}

func FuzzDecodeLine(f *testing.F) {
	for _, s := range []string{
		`{"id":1,"result":{"userAgent":"codexgw/0.169.0"}}`,
		`{"id":4,"error":{"code":-32600,"message":"no active turn to steer"}}`,
		`{"method":"item/agentMessage/delta","params":{"threadId":"T","turnId":"U","itemId":"i","delta":"x"},"emittedAtMs":1795371879052}`,
		`{"method":"item/commandExecution/requestApproval","id":0,"params":{"threadId":"T"}}`,
		`{"method":"turn/started","params":{"turn":{"id":"U","rootTurnId":"R"}}}`,
		`{"method":"m","params":[]}`, `{"method":"m","params":null}`, `{"id":"s","method":""}`, `{"id":{},"result":1}`, ``, `null`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		m, err := decodeLine(line)
		if err != nil {
			if !errors.Is(err, errMalformed) {
				t.Fatalf("error %v is not errMalformed", err)
			}
			return
		}
		if len(m.Params) > 0 && (!json.Valid(m.Params) || !bytes.Contains(line, m.Params)) {
			t.Fatalf("params %q are not those of %q", m.Params, line)
		}
		n := newNotification(&m)
		if !json.Valid(n.Params) {
			t.Fatalf("notification params %q", n.Params)
		}
		turn := newTurn("T", "U")
		turn.observe(&n)
	})
}

// BenchmarkDeltas is the whole way of a delta: line, decode, queue, handler.
func BenchmarkDeltas(b *testing.B) {
	r, w := io.Pipe()
	in, clientIn := io.Pipe()
	go func() { _, _ = io.Copy(io.Discard, in) }()
	n := 0
	c := NewClient(Transport{In: clientIn, Out: r}, Options{OnNotification: func(Notification) { n++ }})
	line := []byte(`{"method":"item/agentMessage/delta","params":{"threadId":"01a20480-ca0c-7be2-8c8c-c39961862c8c","turnId":"01a20480-ca26-7612-928e-b5bada66a1d8","itemId":"msg_6_0","delta":"Hello "},"emittedAtMs":1795371879052}` + "\n")
	batch := bytes.Repeat(line, 100)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%100 == 0 {
			if _, err := w.Write(batch); err != nil {
				b.Fatal(err)
			}
		}
	}
	_ = w.Close()
	<-c.Done()
	if n == 0 {
		b.Fatal("nothing arrived")
	}
}

func BenchmarkHugeLine(b *testing.B) {
	line := fmt.Appendf(nil, `{"method":"item/completed","params":{"item":{"type":"commandExecution","aggregatedOutput":%q},"turnId":"U"}}`, strings.Repeat("output line\n", 4<<20/12))
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		m, err := decodeLine(line)
		if err != nil {
			b.Fatal(err)
		}
		n := newNotification(&m)
		newTurn("T", "U").observe(&n)
	}
}
