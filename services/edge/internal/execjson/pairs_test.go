package execjson

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/pkg/eventlog"
)

// stored is an event as the log has it.
func stored(kind, data string) json.RawMessage {
	return json.RawMessage(`{"job_id":"job_1","seq":1,"attempt":1,"time":"2026-01-02T03:04:05.000Z","type":"` + kind + `","data":` + data + `}`)
}

// said is a notification of Codex as the log has it.
func said(method, params string) json.RawMessage {
	return stored(eventlog.TypeCodex, `{"method":"`+method+`","params":`+params+`}`)
}

// logOf is the log of a job in which Codex said the notifications of a file, one
// a line.
func logOf(t *testing.T, file string) []json.RawMessage {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	events := []json.RawMessage{stored(eventlog.TypeQueued, `{}`), stored(eventlog.TypeStarted, `{"attempt":1,"worker":"wrk_1"}`)}
	end := stored(eventlog.TypeCompleted, `{"status":"completed"}`)
	for l := range strings.Lines(string(raw)) {
		events = append(events, stored(eventlog.TypeCodex, strings.TrimSpace(l)))
		if strings.Contains(l, `"turn/completed"`) && strings.Contains(l, `"status":"failed"`) {
			end = stored(eventlog.TypeFailed, `{"error":{"code":"model_unavailable","message":"as the gateway puts it"}}`)
		}
	}
	return append(events, end)
}

// told is the lines of a log.
func told(events ...json.RawMessage) string {
	var tr Translator
	b := tr.Begin(nil, "conv_1")
	for _, e := range events {
		b = tr.Event(b, e)
	}
	return string(b)
}

// threads gives the threads of a text names by their order.
func threads(t *testing.T, text string) string {
	t.Helper()
	for raw := range strings.Lines(text) {
		var l struct {
			ThreadID string `json:"thread_id"`
			Item     struct {
				Receivers []string `json:"receiver_thread_ids"`
				Sender    string   `json:"sender_thread_id"`
			} `json:"item"`
		}
		if err := json.Unmarshal([]byte(raw), &l); err != nil {
			t.Fatalf("%q: %v", raw, err)
		}
		if l.ThreadID != "" {
			text = strings.ReplaceAll(text, l.ThreadID, "THREAD")
		}
		if l.Item.Sender != "" {
			text = strings.ReplaceAll(text, l.Item.Sender, "THREAD") // the conversation's id is not Codex's
		}
		for _, id := range l.Item.Receivers {
			text = strings.ReplaceAll(text, id, "AGENT")
		}
	}
	return text
}

// withoutSecondID leaves out the member that codex exec writes twice.
func withoutSecondID(text string) string {
	var b strings.Builder
	for l := range strings.Lines(text) {
		if before, after, found := strings.Cut(l, `"type":"web_search","id":"`); found {
			_, after, _ = strings.Cut(after, `",`)
			l = before + `"type":"web_search",` + after
		}
		b.WriteString(l)
	}
	return b.String()
}

// compact writes each line without blanks between its tokens.
func compact(t *testing.T, text []byte) string {
	t.Helper()
	var b bytes.Buffer
	for l := range bytes.Lines(text) {
		if err := json.Compact(&b, l); err != nil {
			t.Fatal(err)
		}
		b.WriteByte('\n')
	}
	return strings.ReplaceAll(b.String(), "\u2028", `\u2028`) // as Go writes it
}

// Each directory of testdata/pairs has what the real Codex 0.169 said to an app
// server's client and what codex exec --json printed, for the same prompt and
// the same answers of the model.
func TestLinesAreThoseOfCodexExec(t *testing.T) {
	t.Parallel()
	pairs, err := filepath.Glob(filepath.Join("testdata", "pairs", "*"))
	if err != nil || len(pairs) == 0 {
		t.Fatalf("no recordings: %v", err)
	}
	for _, dir := range pairs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			t.Parallel()
			recorded, err := os.ReadFile(filepath.Join(dir, "exec.jsonl"))
			if err != nil {
				t.Fatal(err)
			}
			got := told(logOf(t, filepath.Join(dir, "app-server.jsonl"))...)
			want := withoutSecondID(compact(t, recorded))
			if d := cmp.Diff(strings.Split(threads(t, want), "\n"), strings.Split(threads(t, got), "\n")); d != "" {
				t.Errorf("(-codex exec +translated)\n%s", d)
			}
		})
	}
}
