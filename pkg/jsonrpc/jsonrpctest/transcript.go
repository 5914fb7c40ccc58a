package jsonrpctest

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"codexgateway.dev/pkg/jsonrpc"
)

//go:embed testdata/*.txtar
var scripts embed.FS

// Dir is where the transcripts are, from the directory of package jsonrpc.
const Dir = "jsonrpctest/testdata"

// Unsayable is what an [Exchange] returns for a frame that its transport does not
// carry: text that is no UTF-8 on a WebSocket.
const Unsayable = "(unsayable)"

// Exchange sends one frame and returns what came back; nil: nothing did.
type Exchange func(t *testing.T, frame []byte) []byte

// Marks of the lines of a transcript. What follows belongs to the mark until
// the next one.
const (
	markFrame  = "--> "
	markQuoted = "==> "
	markAnswer = "<-- "
	markSpec   = "<== "
	nothing    = "(nothing)"
)

// Register adds the methods that the transcripts call.
func Register(m *jsonrpc.Mux) {
	type operands struct {
		Minuend    int `json:"minuend"`
		Subtrahend int `json:"subtrahend"`
	}
	type point struct {
		X int `json:"x"`
		Y int `json:"y"`
	}
	type steps struct {
		To point   `json:"to"`
		By []point `json:"by"`
	}
	jsonrpc.Register(m, "subtract", jsonrpc.MethodDoc{}, func(_ context.Context, p operands) (int, error) {
		return p.Minuend - p.Subtrahend, nil
	})
	jsonrpc.Register(m, "sum", jsonrpc.MethodDoc{}, func(_ context.Context, values []int) (int, error) {
		sum := 0
		for _, v := range values {
			sum += v
		}
		return sum, nil
	})
	jsonrpc.Register(m, "get_data", jsonrpc.MethodDoc{}, func(context.Context, struct{}) ([]any, error) {
		return []any{"hello", 5}, nil
	})
	jsonrpc.Register(m, "move", jsonrpc.MethodDoc{}, func(_ context.Context, p steps) (point, error) {
		for _, by := range p.By {
			p.To.X, p.To.Y = p.To.X+by.X, p.To.Y+by.Y
		}
		return p.To, nil
	})
	for _, name := range []string{"update", "notify_hello", "notify_sum"} {
		jsonrpc.Register(m, name, jsonrpc.MethodDoc{}, func(context.Context, []int) (any, error) { return nil, nil })
	}
}

// Run holds a server to every transcript.
func Run(t *testing.T, send Exchange) {
	t.Helper()
	names, err := fs.Glob(scripts, "testdata/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, name := range names {
		script, err := scripts.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(path.Base(name), func(t *testing.T) {
			if diff := cmp.Diff(string(script), string(Replay(t, script, send))); diff != "" {
				t.Errorf("transcript (-want +got):\n%s", diff)
			}
		})
	}
}

// Replay sends every frame of a transcript and returns the transcript with what
// came back. An answer that is not the specification's fails the test.
func Replay(t *testing.T, script []byte, send Exchange) []byte {
	t.Helper()
	archive := txtar.Parse(script)
	for i := range archive.Files {
		file := &archive.Files[i]
		var out bytes.Buffer
		var last string
		sent, keep := 0, false
		for _, block := range blocks(string(file.Data)) {
			mark, text := block[:len(markFrame)], block[len(markFrame):]
			switch mark {
			case markAnswer:
				if !keep {
					continue // written anew
				}
			case markSpec:
				agree(t, file.Name, text, last)
			case markFrame, markQuoted:
				sent++
				frame := text
				if mark == markQuoted {
					var err error
					if frame, err = strconv.Unquote(text); err != nil {
						t.Fatalf("%s: %s: %v", file.Name, text, err)
					}
				}
				last = nothing
				answer := send(t, []byte(frame))
				if keep = string(answer) == Unsayable; keep {
					break
				}
				if answer != nil {
					last = constant(answer)
				}
				out.WriteString(block + "\n" + markAnswer + last + "\n")
				continue
			}
			out.WriteString(block + "\n")
		}
		if sent == 0 {
			t.Errorf("%s sends nothing", file.Name)
		}
		file.Data = out.Bytes()
	}
	return txtar.Format(archive)
}

// blocks splits a file before each line with a mark.
func blocks(text string) []string {
	var out []string
	for line := range strings.Lines(strings.TrimSuffix(text, "\n")) {
		line = strings.TrimSuffix(line, "\n")
		if marked.MatchString(line) || len(out) == 0 {
			out = append(out, line)
			continue
		}
		out[len(out)-1] += "\n" + line
	}
	return out
}

var (
	marked  = regexp.MustCompile(`^(-->|==>|<--|<==) `)
	request = regexp.MustCompile(`"request_id":"[^"]*"`)
	known   = regexp.MustCompile(`"available_methods":\[[^\]]*\]`)
)

// constant is an answer without what differs between servers and runs.
func constant(answer []byte) string {
	answer = request.ReplaceAll(answer, []byte(`"request_id":"req_test"`))
	return string(known.ReplaceAll(answer, []byte(`"available_methods":["…"]`)))
}

// agree compares an answer with the specification's: all but the message and the
// data of an error.
func agree(t *testing.T, name, spec, got string) {
	t.Helper()
	if spec == nothing || got == nothing {
		if spec != got {
			t.Errorf("%s: %s, the specification says %s", name, got, spec)
		}
		return
	}
	if diff := cmp.Diff(essence(t, spec), essence(t, got)); diff != "" {
		t.Errorf("%s (-specification +got):\n%s", name, diff)
	}
}

func essence(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	all, isBatch := v.([]any)
	if !isBatch {
		all = []any{v}
	}
	for _, one := range all {
		answer, _ := one.(map[string]any)
		if failure, ok := answer["error"].(map[string]any); ok {
			delete(failure, "message")
			delete(failure, "data")
		}
	}
	return v
}
