package execjson

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/pkg/eventlog"
)

var update = flag.Bool("update", false, "write the golden files")

const (
	onThread  = `{"threadId":"thr_1","turnId":"turn_1"`
	turnBegan = `{"threadId":"thr_1","turn":{"id":"turn_1","status":"inProgress","items":[]}}`
	command   = `"item":{"type":"commandExecution","id":"call_1","command":"make","status":"inProgress"}}`
)

// What a job's log has beyond a turn of Codex, and what Codex 0.169 could not be
// made to say; the files are the wire.
func TestLinesOfWhatOnlyJobsHave(t *testing.T) {
	t.Parallel()
	queued, started := stored(eventlog.TypeQueued, `{}`), stored(eventlog.TypeStarted, `{"attempt":1,"worker":"wrk_1"}`)
	completed := stored(eventlog.TypeCompleted, `{"status":"completed","usage":{"input_tokens":1}}`)
	message := said("item/completed", onThread+`,"item":{"type":"agentMessage","id":"msg_1","text":"Hello."}}`)
	turnFailed := func(turnError string) json.RawMessage {
		return said("turn/completed", `{"threadId":"thr_1","turn":{"id":"turn_1","status":"failed","items":[],"error":`+turnError+`}}`)
	}
	jobFailed := stored(eventlog.TypeFailed, `{"status":"failed","error":{"code":"stalled","message":"Codex made no progress for too long.","retryable":true}}`)
	for name, events := range map[string][]json.RawMessage{
		"failed before the turn": {queued, started, stored(eventlog.TypeFailed,
			`{"status":"failed","error":{"code":"repo_unreachable","message":"The repository could not be reached.","retryable":true}}`)},
		"failed without a reason": {queued, started, stored(eventlog.TypeFailed, `{"status":"failed"}`)},
		"failed in the turn by the gateway": {
			queued, started, said("turn/started", turnBegan), message,
			said("turn/completed", `{"threadId":"thr_1","turn":{"id":"turn_1","status":"interrupted","items":[]}}`), jobFailed,
		},
		"failed in the turn without an error line": {queued, started, said("turn/started", turnBegan), turnFailed(`{"message":"It broke","additionalDetails":"badly"}`), jobFailed},
		"failed in the turn without an error":      {queued, started, said("turn/started", turnBegan), said("error", onThread+`,"error":{"message":"It broke"},"willRetry":false}`), turnFailed("null"), jobFailed},
		"failed after the turn": {
			queued, started, said("turn/started", turnBegan), message,
			said("turn/completed", `{"threadId":"thr_1","turn":{"id":"turn_1","status":"completed","items":[]}}`),
			stored(eventlog.TypeFailed, `{"status":"failed","error":{"code":"storage_unavailable","message":"The job's files could not be stored or read."}}`),
		},
		"cancelled before it started": {queued, stored(eventlog.TypeCancelled, `{"status":"cancelled"}`)},
		"cancelled in the turn": {
			queued, started, said("turn/started", turnBegan), said("item/started", onThread+","+command),
			said("turn/completed", `{"threadId":"thr_1","turn":{"id":"turn_1","status":"interrupted","items":[]}}`),
			stored(eventlog.TypeCancelled, `{"status":"cancelled"}`),
		},
		"timed out": {queued, started, said("turn/started", turnBegan), message, stored(eventlog.TypeTimedOut, `{"status":"timed_out"}`)},
		"lost worker": {
			queued, started, said("turn/started", turnBegan), message, said("item/started", onThread+","+command),
			said("turn/plan/updated", onThread+`,"plan":[{"step":"one","status":"inProgress"}]}`),
			stored(eventlog.TypeRetrying, `{"next_attempt":2,"reason":"worker_lost"}`), stored(eventlog.TypeStarted, `{"attempt":2,"worker":"wrk_2"}`),
			said("turn/started", strings.ReplaceAll(turnBegan, "thr_1", "thr_2")),
			said("item/started", strings.ReplaceAll(onThread, "thr_1", "thr_2")+","+command),
			said("item/completed", `{"threadId":"thr_1","item":{"type":"agentMessage","id":"msg_2","text":"from the thread that is gone"}}`),
			said("thread/tokenUsage/updated", `{"threadId":"thr_2","tokenUsage":{"total":{"inputTokens":7,"cachedInputTokens":1,"cacheWriteInputTokens":2,"outputTokens":3,"reasoningOutputTokens":4}}}`),
			completed,
		},
		"handed over before the turn": {
			queued, started, stored(eventlog.TypeRetrying, `{"next_attempt":1,"reason":"shutdown"}`), started,
			said("turn/started", turnBegan), message, completed,
		},
		"error of an earlier attempt is said again": {
			queued, started, said("turn/started", turnBegan), said("error", onThread+`,"error":{"message":"It broke"},"willRetry":true}`),
			stored(eventlog.TypeRetrying, `{"next_attempt":2,"reason":"worker_lost"}`),
			said("turn/started", turnBegan), turnFailed(`{"message":"It broke"}`), jobFailed,
		},
		"no attempt left": {queued, started, said("turn/started", turnBegan), stored(eventlog.TypeFailed,
			`{"status":"failed","error":{"code":"worker_lost","message":"The worker was lost and no attempt is left."}}`)},
		"waiting for an answer": {queued, started, said("turn/started", turnBegan), stored(eventlog.TypeWaiting, `{}`), stored(eventlog.TypeResumed, `{}`), message, completed},
		"to-do list": {
			queued, started, said("turn/started", turnBegan),
			said("turn/plan/updated", onThread+`,"explanation":null,"plan":[{"step":"look","status":"inProgress"},{"step":"do","status":"pending"}]}`),
			message,
			said("turn/plan/updated", onThread+`,"explanation":null,"plan":[{"step":"look","status":"completed"},{"step":"do","status":"inProgress"}]}`),
			said("turn/plan/updated", onThread+`,"explanation":null,"plan":[]}`),
			said("turn/completed", `{"threadId":"thr_1","turn":{"id":"turn_1","status":"completed","items":[]}}`), completed,
		},
		"item complete only with the turn": {
			queued, started, said("turn/started", turnBegan), said("item/started", onThread+","+command), message,
			said("turn/completed", `{"threadId":"thr_1","turn":{"id":"turn_1","status":"completed","items":[`+
				`{"type":"commandExecution","id":"call_1","command":"make","status":"completed","exitCode":0,"aggregatedOutput":"ok"},`+
				`{"type":"agentMessage","id":"msg_1","text":"Hello."}]}}`), completed,
		},
		"notices": {
			queued, started,
			said("configWarning", `{"summary":"The config is odd.","details":"line 3"}`),
			said("deprecationNotice", `{"summary":"It is old.","details":null}`),
			said("warning", `{"threadId":null,"message":"Mind the gap."}`),
			said("turn/started", turnBegan),
			said("warning", `{"threadId":"thr_other","message":"Not ours."}`),
			said("model/rerouted", onThread+`,"fromModel":"a","toModel":"b","reason":"highRiskCyberActivity"}`), completed,
		},
		"item too large for the log": {queued, started, said("turn/started", turnBegan), said("item/completed", onThread+`,"itemId":"call_1","omitted_bytes":20971520}`), completed},
		"declined": {
			queued, started, said("turn/started", turnBegan),
			said("item/completed", onThread+`,"item":{"type":"commandExecution","id":"call_1","command":"rm","status":"declined","aggregatedOutput":null,"exitCode":null}}`),
			said("item/completed", onThread+`,"item":{"type":"fileChange","id":"call_2","changes":[{"path":"/w/a","kind":{"type":"update","move_path":null},"diff":"secret"}],"status":"declined"}}`),
			completed,
		},
		"agents": {
			queued, started, said("turn/started", turnBegan),
			said("item/completed", onThread+`,"item":{"type":"collabAgentToolCall","id":"c1","tool":"resumeAgent","status":"completed","senderThreadId":"thr_1","agentsStates":{"thr_2":{"status":"notFound","message":"gone"}}}}`),
			said("item/completed", onThread+`,"item":{"type":"collabAgentToolCall","id":"c2","tool":"listAgents","status":"completed"}}`),
			said("item/completed", onThread+`,"item":{"type":"collabAgentToolCall","id":"c3","tool":"wait","status":"interrupted"}}`),
			completed,
		},
		"what nobody knows": {
			queued, started, stored("job.dreaming", `{}`), said("turn/started", turnBegan), said("item/dreamt", onThread+`}`),
			said("item/completed", onThread+`,"item":{"type":"dream","id":"d1","text":"a"}}`),
			said("item/completed", onThread+`,"message":{"of":"another type"},"item":{"type":"agentMessage","id":"m","text":"Still here."}}`),
			said("item/started", onThread+`}`), said("turn/completed", `{"threadId":"thr_1"}`), completed,
		},
		"nothing after the end": {queued, started, said("turn/started", turnBegan), completed, message, completed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := told(events...)
			path := filepath.Join("testdata", "golden", strings.ReplaceAll(name, " ", "-")+".jsonl")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
			if err := wellFormed([]byte(got)); err != nil {
				t.Error(err)
			}
		})
	}
}

// An item that begins and never ends must not cost memory without a bound.
func TestOpenItemsAreBounded(t *testing.T) {
	t.Parallel()
	var tr Translator
	for i := range maxOpen + 100 {
		tr.Event(nil, said("item/started", fmt.Sprintf(`{"item":{"type":"commandExecution","id":"call_%d","status":"inProgress"}}`, i)))
	}
	if len(tr.open) != maxOpen {
		t.Errorf("%d open items are kept, want %d", len(tr.open), maxOpen)
	}
	end := `{"item":{"type":"commandExecution","id":"call_%d","status":"completed"}}`
	known, unknown := tr.Event(nil, said("item/completed", fmt.Sprintf(end, 5))), tr.Event(nil, said("item/completed", fmt.Sprintf(end, maxOpen+5)))
	if !bytes.Contains(known, []byte(`"id":"item_5"`)) || !bytes.Contains(unknown, fmt.Appendf(nil, `"id":"item_%d"`, maxOpen+100)) {
		t.Errorf("%s%s", known, unknown)
	}
}

// wellFormed checks what is true of the lines of every log.
func wellFormed(text []byte) error {
	kinds := map[string]bool{
		"thread.started": true, "turn.started": true, "item.started": true, "item.updated": true,
		"item.completed": true, "error": true, "turn.completed": true, "turn.failed": true,
	}
	lines := bytes.Split(text, []byte("\n"))
	if n := len(lines); n < 2 || len(lines[n-1]) != 0 {
		return fmt.Errorf("no newline at the end of %q", text)
	}
	turns, over := 0, false
	for i, raw := range lines[:len(lines)-1] {
		var l struct {
			Type string `json:"type"`
			Item *struct {
				ID   string `json:"id"`
				Type string `json:"type"`
			} `json:"item"`
		}
		if err := json.Unmarshal(raw, &l); err != nil {
			return fmt.Errorf("line %d, %q: %w", i, raw, err)
		}
		isItem := strings.HasPrefix(l.Type, "item.")
		switch {
		case !kinds[l.Type]:
			return fmt.Errorf("line %d has the type %q", i, l.Type)
		case (i == 0) != (l.Type == "thread.started"):
			return fmt.Errorf("line %d is %q", i, raw)
		case over:
			return fmt.Errorf("line %d, %q, is after the end", i, raw)
		case isItem && (l.Item == nil || !strings.HasPrefix(l.Item.ID, "item_") || l.Item.Type == ""), !isItem && l.Item != nil:
			return fmt.Errorf("line %d has no item or a wrong one: %q", i, raw)
		}
		if l.Type == "turn.started" {
			turns++
		}
		over = l.Type == "turn.completed" || l.Type == "turn.failed"
		if turns > 1 || over && turns != 1 {
			return fmt.Errorf("line %d, %q, after %d turn.started", i, raw, turns)
		}
	}
	return nil
}

func FuzzTranslator(f *testing.F) {
	pairs, err := filepath.Glob(filepath.Join("testdata", "pairs", "*", "app-server.jsonl"))
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range pairs {
		raw, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		var log bytes.Buffer
		for l := range bytes.Lines(raw) {
			log.Write(stored(eventlog.TypeCodex, string(bytes.TrimSpace(l))))
			log.WriteByte('\n')
		}
		log.Write(stored(eventlog.TypeRetrying, `{"next_attempt":2,"reason":"worker_lost"}`))
		f.Add(log.Bytes())
	}
	f.Add([]byte(`{"type":"job.failed","data":{"error":{"message":"\ud800","code":"x"}}}`))
	f.Add([]byte("{\"type\":\"codex\",\"data\":{\"method\":\"error\",\"params\":{\"error\":{\"message\":\"\xff\"}}}}"))
	f.Add([]byte(`{"type":"codex","data":{"method":"item/completed","params":{"item":{"type":"mcpToolCall","result":{"content":[null,{"a":"b"}],"_meta":"null"}}}}}`))
	f.Fuzz(func(t *testing.T, log []byte) {
		var tr Translator
		b := tr.Begin(nil, "conv_1")
		for raw := range bytes.Lines(log) {
			b = tr.Event(b, raw)
		}
		if err := wellFormed(b); err != nil {
			t.Error(err)
		}
		wasDone := tr.Done()
		n := len(b)
		b = tr.Event(b, stored(eventlog.TypeCancelled, `{}`))
		if err := wellFormed(b); err != nil || !tr.Done() || wasDone != (len(b) == n) {
			t.Errorf("end: %v, done %t before and %t after, %q", err, wasDone, tr.Done(), b[n:])
		}
	})
}
