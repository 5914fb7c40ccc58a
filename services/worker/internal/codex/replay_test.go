package codex

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/pkg/errs"
)

// step is one line of a transcript of the real Codex.
type step struct {
	Dir string          `json:"dir"`
	Msg json.RawMessage `json:"msg"`
}

type stepMsg struct {
	Method string          `json:"method"`
	ID     json.RawMessage `json:"id"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *RPCError       `json:"error"`
}

// outcomes is the golden form of one process's life in a transcript.
type outcomes struct {
	End     string         `json:"end"`
	Refused []string       `json:"refused,omitempty"`
	Turns   []turnGolden   `json:"turns"`
	Relayed map[string]int `json:"relayed"`
	Dropped map[string]int `json:"dropped,omitempty"`
}

type turnGolden struct {
	Status       Status    `json:"status"`
	Message      string    `json:"message"`
	Usage        Usage     `json:"usage"`
	ThreadUsage  Usage     `json:"thread_usage"`
	OpenCommands []string  `json:"open_commands,omitempty"`
	Code         errs.Code `json:"code,omitempty"`
	Public       string    `json:"public,omitempty"`
}

func TestReplay(t *testing.T) {
	t.Parallel()
	for _, name := range transcripts(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := json.MarshalIndent(replay(t, name), "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", "golden", name+".json")
			if *update {
				if err := os.WriteFile(path, append(got, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.TrimSpace(string(want)), string(got)); diff != "" {
				t.Errorf("outcome (-want +got):\n%s", diff)
			}
		})
	}
}

// TestFailureCodes states what each recorded failure must become, apart from
// the golden files, which -update would rewrite.
func TestFailureCodes(t *testing.T) {
	t.Parallel()
	want := map[string]errs.Code{
		"error-400":                     errs.ModelRejected,
		"error-401":                     errs.ModelUnauthorized,
		"error-404":                     errs.ModelRejected,
		"error-429":                     errs.ModelRateLimited,
		"error-429-retryafter":          errs.ModelRateLimited,
		"error-429-usage-limit":         errs.ModelQuotaExceeded,
		"error-500":                     errs.ModelUnavailable,
		"error-503-then-ok":             "",
		"error-connect-dns":             errs.CodexCrashed,
		"error-connect-refused":         errs.CodexCrashed,
		"error-connect-refused-bounded": errs.ModelUnavailable,
		"error-ctx-overflow":            errs.ContextWindowExceeded,
		"error-drop-stream":             errs.ModelUnavailable,
		"error-response-failed":         errs.ModelUnavailable,
		"error-stall":                   errs.ModelUnavailable,
	}
	for _, name := range transcripts(t) {
		if !strings.HasPrefix(name, "error-") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, ok := want[name]
			if !ok {
				t.Fatal("transcript without an expectation")
			}
			if got := replay(t, name)[0].Turns[0].Code; got != code {
				t.Errorf("code %q, want %q", got, code)
			}
		})
	}
}

func transcripts(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "transcripts", "*.jsonl"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for i, f := range files {
		files[i] = strings.TrimSuffix(filepath.Base(f), ".jsonl")
	}
	return files
}

// player plays Codex's lines of a transcript to a client and makes the client do
// what the recorded one did.
type player struct {
	*peer
	ids     map[string]json.RawMessage // transcript id → the client's
	pending map[string]chan error      // transcript id → end of the call
	wire    []Notification             // what Codex wrote
	turns   []*Turn
	started chan *Turn
	refused []string
}

// replay returns one outcome per process of the transcript.
func replay(t *testing.T, name string) []outcomes {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "transcripts", name+".jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var all []outcomes
	p := newPlayer(t)
	for line := range bytes.Lines(data) {
		var s step
		if err := json.Unmarshal(line, &s); err != nil {
			t.Fatal(err)
		}
		if s.Dir == "note" {
			all = append(all, p.finish(false))
			p = newPlayer(t)
			continue
		}
		var m stepMsg
		if err := json.Unmarshal(s.Msg, &m); err != nil {
			t.Fatal(err)
		}
		if s.Dir == "send" {
			p.playSend(&m)
		} else {
			p.playRecv(s.Msg, &m)
		}
	}
	return append(all, p.finish(true))
}

func newPlayer(t *testing.T) *player {
	t.Helper()
	return &player{
		peer:    newPeer(t, Options{}),
		ids:     make(map[string]json.RawMessage),
		pending: make(map[string]chan error),
		started: make(chan *Turn, 1),
	}
}

// playSend makes the client do what the line says and checks what it writes.
func (p *player) playSend(m *stepMsg) {
	p.t.Helper()
	if m.Method == "initialized" {
		if h := p.hear(); h.Method != m.Method {
			p.t.Fatalf("client sent %s, want %s", h.Method, m.Method)
		}
		p.await("1")
		return
	}
	var params struct {
		ThreadID string          `json:"threadId"`
		TurnID   string          `json:"turnId"`
		Expected string          `json:"expectedTurnId"`
		Cwd      string          `json:"cwd"`
		Policy   string          `json:"approvalPolicy"`
		Input    []Input         `json:"input"`
		Schema   json.RawMessage `json:"outputSchema"`
		Target   ReviewTarget    `json:"target"`
	}
	if m.Params != nil {
		if err := json.Unmarshal(m.Params, &params); err != nil {
			p.t.Fatal(err)
		}
	}
	if m.Method == "" {
		p.playDecision(m)
		return
	}
	ctx, c := p.t.Context(), p.client
	end := make(chan error, 1)
	p.pending[string(m.ID)] = end
	go func() {
		var err error
		var turn *Turn
		thread := ThreadParams{Cwd: params.Cwd, ApprovalPolicy: ApprovalPolicy(params.Policy)}
		switch m.Method {
		case "initialize":
			_, err = c.Initialize(ctx, "0.1.0")
		case "thread/start":
			_, err = c.StartThread(ctx, thread)
		case "thread/resume":
			_, err = c.ResumeThread(ctx, params.ThreadID, thread)
		case "turn/start":
			turn, err = c.StartTurn(ctx, TurnParams{ThreadID: params.ThreadID, Input: params.Input, OutputSchema: params.Schema})
		case "review/start":
			turn, err = c.StartReview(ctx, params.ThreadID, params.Target)
		case "turn/interrupt":
			err = c.Interrupt(ctx, params.ThreadID, params.TurnID)
		case "turn/steer":
			err = c.Steer(ctx, params.ThreadID, params.Expected, params.Input)
		case "thread/backgroundTerminals/clean":
			err = c.CleanBackgroundTerminals(ctx, params.ThreadID)
		default:
			err = c.do(ctx, m.Method, m.Params, nil, nil)
		}
		if turn != nil {
			p.started <- turn
		}
		end <- err
	}()
	h := p.hear()
	p.ids[string(m.ID)] = h.ID
	if h.Method != m.Method {
		p.t.Fatalf("client sent %s, want %s", h.Method, m.Method)
	}
	p.checkParams(m, &h)
}

// checkParams compares the members that the client does not choose itself.
func (p *player) checkParams(m *stepMsg, h *heard) {
	p.t.Helper()
	if m.Method == "initialize" || m.Params == nil {
		return
	}
	var want, got map[string]any
	if err := json.Unmarshal(m.Params, &want); err != nil {
		p.t.Fatal(err)
	}
	if err := json.Unmarshal(h.Params, &got); err != nil {
		p.t.Fatal(err)
	}
	// Threads run under a profile instead of a sandbox mode, and are resumed
	// without their turns.
	delete(want, "sandbox")
	delete(got, "excludeTurns")
	if diff := cmp.Diff(want, got); diff != "" {
		p.t.Errorf("%s params (-transcript +client):\n%s", m.Method, diff)
	}
}

func (p *player) playDecision(m *stepMsg) {
	p.t.Helper()
	var r struct {
		Decision Decision `json:"decision"`
	}
	if err := json.Unmarshal(m.Result, &r); err != nil {
		p.t.Fatal(err)
	}
	req := <-p.reqs
	if req.Kind != RequestCommand && req.Kind != RequestFileChange {
		p.t.Errorf("request kind %d of %s", req.Kind, req.Method)
	}
	end := make(chan error, 1)
	go func() { end <- req.Decide(p.t.Context(), r.Decision) }()
	h := p.hear()
	if err := <-end; err != nil {
		p.t.Error(err)
	}
	if string(h.ID) != string(m.ID) || string(h.Result) != `{"decision":"`+string(r.Decision)+`"}` {
		p.t.Errorf("client answered %s with %s, want %s with %s", h.ID, h.Result, m.ID, m.Result)
	}
}

// playRecv writes what Codex wrote and waits until the client has taken it in
// where the next step depends on it.
func (p *player) playRecv(raw json.RawMessage, m *stepMsg) {
	p.t.Helper()
	if m.Method != "" {
		p.say(string(raw))
		if m.ID == nil {
			p.wire = append(p.wire, Notification{Method: m.Method, Params: m.Params})
		}
		if m.Method == "turn/completed" {
			p.awaitTurn(m.Params)
		}
		return
	}
	var whole map[string]json.RawMessage
	if err := json.Unmarshal(raw, &whole); err != nil {
		p.t.Fatal(err)
	}
	whole["id"] = p.ids[string(m.ID)]
	line, err := json.Marshal(whole)
	if err != nil {
		p.t.Fatal(err)
	}
	p.say(string(line))
	if string(m.ID) != "1" { // initialize goes on to send initialized
		p.await(string(m.ID))
	}
	select {
	case turn := <-p.started:
		p.turns = append(p.turns, turn)
	default:
	}
}

func (p *player) await(id string) {
	p.t.Helper()
	if err := <-p.pending[id]; err != nil {
		p.refused = append(p.refused, string(errs.CodeOf(Failure(err)))+": "+refusalName(err))
	}
}

func refusalName(err error) string {
	var e *RPCError
	if ok := asRPC(err, &e); ok && refusalOf(e) != nil {
		return refusalOf(e).Error()
	}
	return "other"
}

func (p *player) awaitTurn(params json.RawMessage) {
	id := addressOf(params).TurnID
	for _, turn := range p.turns {
		if turn.ID() == id {
			<-turn.Done()
		}
	}
}

// finish ends the process and checks that the handler saw every notification,
// byte for byte and in order.
func (p *player) finish(asked bool) outcomes {
	p.t.Helper()
	if asked {
		if err := p.client.Close(); err != nil {
			p.t.Error(err)
		}
	}
	p.exit()
	<-p.client.Done()
	o := outcomes{End: "closed", Refused: p.refused, Turns: []turnGolden{}, Relayed: map[string]int{}, Dropped: map[string]int{}}
	if err := p.client.Err(); err != nil {
		o.End = err.Error()
	}
	seen := p.seen()
	if len(seen) != len(p.wire) {
		p.t.Fatalf("handler saw %d notifications, Codex wrote %d", len(seen), len(p.wire))
	}
	for i, n := range seen {
		if n.Method != p.wire[i].Method || !bytes.Equal(n.Params, p.wire[i].Params) {
			p.t.Errorf("notification %d: %s differs from what Codex wrote", i, n.Method)
		}
		if n.Relay {
			o.Relayed[n.Method]++
		} else {
			o.Dropped[n.Method]++
		}
	}
	for _, turn := range p.turns {
		r, err := turn.Wait(p.t.Context())
		if err != nil {
			p.t.Fatal(err)
		}
		g := turnGolden{Status: r.Status, Message: r.Message, Usage: r.Usage, ThreadUsage: r.ThreadUsage, OpenCommands: r.OpenCommands}
		if r.Failure != nil {
			g.Code, g.Public = r.Failure.Code, r.Failure.Message()
		}
		o.Turns = append(o.Turns, g)
	}
	return o
}
