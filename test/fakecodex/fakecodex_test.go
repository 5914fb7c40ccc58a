package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// client drives one app-server in this process.
type client struct {
	t      *testing.T
	in     *io.PipeWriter
	out    *bufio.Reader
	term   chan os.Signal
	exit   chan int
	stderr bytes.Buffer
	nextID int
}

// line is a message of the server.
type line struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error"`
}

func start(t *testing.T, name, home string) *client {
	t.Helper()
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	c := &client{t: t, in: inW, out: bufio.NewReader(outR), term: make(chan os.Signal), exit: make(chan int, 1)}
	go func() {
		c.exit <- run(t.Context(), &process{name: name, args: []string{"app-server"}, home: home, stdin: inR, stdout: outW, stderr: &c.stderr, term: c.term})
		_ = outW.Close()
		_ = inR.Close()
	}()
	t.Cleanup(func() {
		_ = inW.Close()
		_ = outR.Close()
	})
	return c
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.in, s+"\n"); err != nil {
		c.t.Fatal(err)
	}
}

// next reads one message; ok is false for a line that is none.
func (c *client) next() (l line, ok bool) {
	c.t.Helper()
	raw, err := c.out.ReadBytes('\n')
	if err != nil {
		c.t.Fatalf("output ended: %v", err)
	}
	return l, json.Unmarshal(raw, &l) == nil
}

// call sends a request and returns its answer, passing by what comes before it.
func (c *client) call(method string, params any) line {
	c.t.Helper()
	c.nextID++
	b, err := json.Marshal(object{"method": method, "id": c.nextID, "params": params})
	if err != nil {
		c.t.Fatal(err)
	}
	c.send(string(b))
	for {
		if l, ok := c.next(); ok && l.Method == "" && string(l.ID) == string(mustJSON(c.nextID)) {
			return l
		}
	}
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func (c *client) initialize() {
	c.t.Helper()
	if l := c.call("initialize", object{"clientInfo": object{"name": "codexgw", "version": "0"}}); l.Error != nil || !strings.Contains(string(l.Result), "codexgw/0.169.0 ") {
		c.t.Fatalf("initialize: %s", l.Result)
	}
	c.send(`{"method":"initialized"}`)
}

// thread starts a thread and returns its id.
func (c *client) thread(cwd string) string {
	c.t.Helper()
	return c.threadID(c.call("thread/start", object{"cwd": cwd, "permissions": "job"}))
}

func (c *client) threadID(l line) string {
	c.t.Helper()
	var r struct {
		Thread  struct{ ID string }
		Profile struct{ ID string } `json:"activePermissionProfile"`
	}
	if err := json.Unmarshal(l.Result, &r); err != nil || r.Thread.ID == "" || r.Profile.ID != "job" {
		c.t.Fatalf("thread: %s %v", l.Result, l.Error)
	}
	return r.Thread.ID
}

// begin starts a turn and returns its id.
func (c *client) begin(thread, prompt string) string {
	c.t.Helper()
	l := c.call("turn/start", object{"threadId": thread, "input": []any{object{"type": "text", "text": prompt}}})
	var r struct{ Turn struct{ ID string } }
	if err := json.Unmarshal(l.Result, &r); err != nil || r.Turn.ID == "" {
		c.t.Fatalf("turn/start: %s %v", l.Result, l.Error)
	}
	return r.Turn.ID
}

// turn is what a client sees of a turn.
type seenTurn struct {
	methods []string
	status  string
	message string
	deltas  string
	lost    int
	info    json.RawMessage
}

// watch reads a turn to its end, answering approvals with the decision.
func (c *client) watch(decision string) seenTurn {
	c.t.Helper()
	var seen seenTurn
	for {
		l, ok := c.next()
		if !ok {
			seen.lost++
			continue
		}
		if l.Method == "" {
			continue
		}
		var p struct {
			Delta string
			Item  struct{ Type, Text string }
			Turn  struct {
				Status string
				Error  struct {
					Info json.RawMessage `json:"codexErrorInfo"`
				}
			}
		}
		if err := json.Unmarshal(l.Params, &p); err != nil {
			c.t.Fatal(err)
		}
		name := l.Method
		if p.Item.Type != "" {
			name += " " + p.Item.Type
		}
		if n := len(seen.methods); n == 0 || seen.methods[n-1] != name {
			seen.methods = append(seen.methods, name)
		}
		seen.deltas += p.Delta
		switch {
		case l.ID != nil && decision == "":
			return seen
		case l.ID != nil:
			c.send(`{"id":` + string(l.ID) + `,"result":{"decision":"` + decision + `"}}`)
		case name == "item/completed agentMessage":
			seen.message = p.Item.Text
		case name == "turn/completed":
			seen.status, seen.info = p.Turn.Status, p.Turn.Error.Info
			return seen
		}
	}
}

func TestHelloComesInCodexOrder(t *testing.T) {
	t.Parallel()
	c := start(t, "codex", t.TempDir())
	c.initialize()
	c.begin(c.thread("/"), "say hello")
	got := c.watch("")
	want := []string{
		"thread/status/changed", "turn/started",
		"item/started userMessage", "item/completed userMessage",
		"item/started agentMessage", "item/agentMessage/delta", "item/completed agentMessage",
		"thread/tokenUsage/updated", "thread/status/changed", "turn/completed",
	}
	if diff := cmp.Diff(want, got.methods); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
	if got.status != "completed" || got.message != greeting || got.deltas != greeting {
		t.Errorf("turn %+v", got)
	}
}

func TestScenarios(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		prompt, decision string
		check            func(s seenTurn) bool
	}{
		{"please fake:say some words", "", func(s seenTurn) bool { return s.message == "some words" }},
		{"first line\nfake:many-deltas 500", "", func(s seenTurn) bool { return s.deltas == strings.Repeat("x ", 499)+"x" }},
		{"fake:slow 3 1", "", func(s seenTurn) bool { return s.message == "x x x" }},
		{"fake:fail usageLimitExceeded", "", func(s seenTurn) bool { return s.status == "failed" && string(s.info) == `"usageLimitExceeded"` }},
		{"fake:fail httpConnectionFailed 503", "", func(s seenTurn) bool {
			return string(s.info) == `{"httpConnectionFailed":{"httpStatusCode":503}}`
		}},
		{"fake:garbage 7", "", func(s seenTurn) bool { return s.lost == 7 && s.message == greeting }},
		{"fake:huge-line 3MB", "", func(s seenTurn) bool { return s.message == greeting }},
		{"fake:retry", "", func(s seenTurn) bool { return s.status == "completed" && s.message == greeting }},
		{"fake:unknown", "decline", func(s seenTurn) bool { return s.message == greeting }},
		{"fake:approval rm x", "accept", func(s seenTurn) bool { return s.message == "It is done." }},
		{"fake:approval rm x", "decline", func(s seenTurn) bool { return s.message == "I was not allowed to." }},
		{"fake:approval rm x", "cancel", func(s seenTurn) bool { return s.status == "interrupted" }},
		{"a word:fake:fail is none", "", func(s seenTurn) bool { return s.message == greeting }},
	} {
		t.Run(tc.prompt+" "+tc.decision, func(t *testing.T) {
			t.Parallel()
			c := start(t, "codex", t.TempDir())
			c.initialize()
			c.begin(c.thread("/"), tc.prompt)
			if got := c.watch(tc.decision); !tc.check(got) {
				got.deltas = ""
				t.Errorf("turn %+v", got)
			}
		})
	}
}

func TestWriteWrites(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := start(t, "codex", t.TempDir())
	c.initialize()
	c.begin(c.thread(dir), "fake:write sub/a.txt some text")
	if got := c.watch(""); got.message != "File written." {
		t.Errorf("turn %+v", got)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "sub", "a.txt")); err != nil || string(b) != "some text\n" {
		t.Errorf("file %q, %v", b, err)
	}
}

func TestSilenceUntilInterrupted(t *testing.T) {
	t.Parallel()
	c := start(t, "codex", t.TempDir())
	c.initialize()
	thread := c.thread("/")
	turn := c.begin(thread, "fake:silence")
	if l := c.call("turn/interrupt", object{"threadId": thread, "turnId": "another"}); l.Error == nil {
		t.Error("interrupt of another turn was taken")
	}
	c.call("turn/interrupt", object{"threadId": thread, "turnId": turn})
	if got := c.watch(""); got.status != "interrupted" {
		t.Errorf("turn %+v", got)
	}
}

func TestSteerCutsTheMessage(t *testing.T) {
	t.Parallel()
	c := start(t, "codex", t.TempDir())
	c.initialize()
	thread := c.thread("/")
	turn := c.begin(thread, "fake:slow 10000 5")
	c.call("turn/steer", object{"threadId": thread, "expectedTurnId": turn, "input": []any{object{"type": "text", "text": "stop"}}})
	if got := c.watch(""); got.message != "Steered: stop" {
		t.Errorf("turn %+v", got)
	}
}

func TestProcessEndsWithAnOpenTurn(t *testing.T) {
	t.Parallel()
	for prompt, status := range map[string]int{"fake:crash-mid-turn": 101, "fake:crash-once": 101, "fake:exit-without-turn": 0} {
		t.Run(prompt, func(t *testing.T) {
			t.Parallel()
			c := start(t, "codex", t.TempDir())
			c.initialize()
			c.begin(c.thread("/"), prompt)
			rest, err := io.ReadAll(c.out)
			if err != nil || strings.Contains(string(rest), "turn/completed") {
				t.Errorf("output %s %v", rest, err)
			}
			if got := <-c.exit; got != status {
				t.Errorf("exit status %d, want %d", got, status)
			}
		})
	}
}

func TestConversationOutlivesTheProcess(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	c := start(t, "codex", home)
	c.initialize()
	thread := c.thread("/")
	if l := c.call("thread/resume", object{"threadId": thread, "permissions": "job"}); l.Error == nil {
		t.Error("a thread without a turn has no rollout, yet it was resumed")
	}
	c.begin(thread, "fake:crash-once")
	if _, err := io.Copy(io.Discard, c.out); err != nil {
		t.Fatal(err)
	}
	<-c.exit

	c = start(t, "codex", home)
	c.initialize()
	if got := c.threadID(c.call("thread/resume", object{"threadId": thread, "permissions": "job"})); got != thread {
		t.Errorf("resumed %s, want %s", got, thread)
	}
	c.begin(thread, "fake:crash-once")
	if got := c.watch(""); got.message != greeting {
		t.Errorf("turn %+v", got)
	}
}

func TestSigtermAndEOF(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		prompt string
		end    func(c *client)
		exits  bool
	}{
		"sigterm ends it":                   {"fake:silence", func(c *client) { c.term <- syscall.SIGTERM }, true},
		"the end of stdin ends it":          {"fake:silence", func(c *client) { _ = c.in.Close() }, true},
		"a stubborn one survives sigterm":   {"fake:ignore-sigterm", func(c *client) { c.term <- syscall.SIGTERM }, false},
		"a stubborn one survives stdin end": {"fake:ignore-sigterm", func(c *client) { _ = c.in.Close() }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			home := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				c := start(t, "codex", home)
				c.initialize()
				c.begin(c.thread("/"), tc.prompt)
				go func() { _, _ = io.Copy(io.Discard, c.out) }()
				tc.end(c)
				synctest.Wait()
				select {
				case status := <-c.exit:
					if !tc.exits || status != 0 {
						t.Errorf("exit status %d", status)
					}
				default:
					if tc.exits {
						t.Error("still running")
					}
				}
			})
		})
	}
}

func TestInterruptIgnored(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c := start(t, "codex", home)
		c.initialize()
		thread := c.thread("/")
		turn := c.begin(thread, "fake:interrupt-ignored")
		if l := c.call("turn/interrupt", object{"threadId": thread, "turnId": turn}); l.Error != nil {
			t.Fatal(l.Error)
		}
		var rest bytes.Buffer
		go func() { _, _ = io.Copy(&rest, c.out) }()
		synctest.Wait()
		if strings.Contains(rest.String(), "turn/completed") {
			t.Error("the turn ended")
		}
	})
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	c := start(t, "codex", t.TempDir())
	if l := c.call("thread/start", object{}); l.Error == nil || l.Error.Message != "Not initialized" {
		t.Errorf("before initialize: %+v", l)
	}
	c.initialize()
	for method, params := range map[string]object{
		"initialize":     {"clientInfo": object{"name": "x"}},
		"nope/method":    {},
		"turn/start":     {"threadId": "nope"},
		"turn/steer":     {"threadId": "nope"},
		"turn/interrupt": {"threadId": "nope"},
		"thread/resume":  {"threadId": "nope"},
	} {
		if l := c.call(method, params); l.Error == nil {
			t.Errorf("%s was taken: %s", method, l.Result)
		}
	}
	c.send("garbage") // ignored
	c.thread("/")
}

func TestNames(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, arg, out string
		status         int
	}{
		{"codex", "--version", "codex-cli 0.169.0\n", 0},
		{"codex-old-version", "--version", "codex-cli 0.100.0\n", 0},
		{"codex", "sandbox", "", 0},
		{"codex-no-sandbox", "sandbox", "", 1},
		{"codex", "exec", "", 2},
	} {
		var out bytes.Buffer
		if status := run(t.Context(), &process{name: tc.name, args: []string{tc.arg}, stdout: &out, stderr: io.Discard}); status != tc.status || out.String() != tc.out {
			t.Errorf("%s %s: status %d, %q", tc.name, tc.arg, status, out.String())
		}
	}
}

func TestSlowInit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		c := start(t, "codex-slow-init", "/nonexistent")
		c.initialize()
		if d := time.Since(began); d != slowInit {
			t.Errorf("initialized after %v", d)
		}
	})
}
