package jsonrpc_test

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/pkg/jsonrpc"
)

var update = flag.Bool("update", false, "rewrite the answers of the transcripts")

const nothing = "(nothing)"

// specMux is the table that the examples of the specification call.
func specMux() *jsonrpc.Mux {
	type values struct {
		Values []int `json:"values"`
	}
	type operands struct {
		Minuend    int `json:"minuend"`
		Subtrahend int `json:"subtrahend"`
	}
	ignore := func(context.Context, values) (any, error) { return nil, nil }
	m := jsonrpc.NewMux()
	jsonrpc.Register(m, "subtract", jsonrpc.MethodDoc{}, func(_ context.Context, p operands) (int, error) {
		return p.Minuend - p.Subtrahend, nil
	})
	jsonrpc.Register(m, "sum", jsonrpc.MethodDoc{}, func(_ context.Context, p values) (int, error) {
		sum := 0
		for _, v := range p.Values {
			sum += v
		}
		return sum, nil
	})
	jsonrpc.Register(m, "get_data", jsonrpc.MethodDoc{}, func(context.Context, struct{}) ([]any, error) {
		return []any{"hello", 5}, nil
	})
	jsonrpc.Register(m, "update", jsonrpc.MethodDoc{}, ignore)
	jsonrpc.Register(m, "notify_hello", jsonrpc.MethodDoc{}, ignore)
	return m
}

func TestTranscripts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			before, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			after := replay(t, before)
			if *update {
				if err := os.WriteFile(file, after, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(before), string(after)); diff != "" {
				t.Errorf("transcript (-want +got):\n%s", diff)
			}
		})
	}
}

// replay serves every --> line and writes what came back in place of its <-- line.
func replay(t *testing.T, script []byte) []byte {
	t.Helper()
	mux := specMux()
	var out bytes.Buffer
	lines := bufio.NewScanner(bytes.NewReader(script))
	sent := 0
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "<-- ") {
			continue
		}
		out.WriteString(line + "\n")
		frame, isFrame := strings.CutPrefix(line, "--> ")
		if !isFrame {
			continue
		}
		sent++
		answer := mux.Serve(t.Context(), []byte(frame), jsonrpc.Options{RequestID: "req_test"})
		body := nothing
		if answer.Body != nil {
			body = string(answer.Body)
		}
		out.WriteString("<-- " + body + "\n")
	}
	if sent == 0 {
		t.Fatal("the transcript sends nothing")
	}
	return out.Bytes()
}
