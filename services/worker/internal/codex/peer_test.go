package codex

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
)

// peer is the other end of a client's pipes.
type peer struct {
	t      testing.TB
	client *Client
	stdin  *bufio.Reader
	out    *io.PipeWriter
	err    *io.PipeWriter

	mu    sync.Mutex
	notes []Notification
	reqs  chan *ServerRequest
}

// newPeer starts a client whose handlers record what they get, unless opt has
// its own. Both ends are closed when the test is over.
func newPeer(tb testing.TB, opt Options) *peer {
	tb.Helper()
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	errR, errW := io.Pipe()
	p := &peer{t: tb, stdin: bufio.NewReader(inR), out: outW, err: errW, reqs: make(chan *ServerRequest, 16)}
	if opt.OnNotification == nil {
		opt.OnNotification = func(n Notification) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.notes = append(p.notes, n)
		}
	}
	if opt.OnServerRequest == nil {
		opt.OnServerRequest = func(r *ServerRequest) { p.reqs <- r }
	}
	p.client = NewClient(Transport{In: inW, Out: outR, Err: errR}, opt)
	tb.Cleanup(func() {
		// The reader's end first: a writer nobody reads would block the close.
		_ = inR.Close()
		p.exit()
		<-p.client.Done()
	})
	return p
}

// exit is the death of the process: its output ends.
func (p *peer) exit() {
	_ = p.out.Close()
	_ = p.err.Close()
}

// say writes one line of Codex.
func (p *peer) say(line string) {
	p.t.Helper()
	if _, err := io.WriteString(p.out, line+"\n"); err != nil {
		p.t.Errorf("client does not read: %v", err)
	}
}

// sayf is say with a format.
func (p *peer) sayf(format string, args ...any) {
	p.t.Helper()
	p.say(fmt.Sprintf(format, args...))
}

// heard is one line of the client.
type heard struct {
	Method string          `json:"method"`
	ID     json.RawMessage `json:"id"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *RPCError       `json:"error"`
}

// hear reads one line of the client.
func (p *peer) hear() heard {
	p.t.Helper()
	line, err := p.stdin.ReadBytes('\n')
	if err != nil {
		p.t.Fatalf("client says nothing: %v", err)
	}
	var h heard
	if err := json.Unmarshal(line, &h); err != nil {
		p.t.Fatalf("client line %q: %v", line, err)
	}
	return h
}

// seen is what the notification handler got.
func (p *peer) seen() []Notification {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Notification(nil), p.notes...)
}

// begin runs a call of the client and answers it with result.
func begin[T any](p *peer, call func() (T, error), result string) T {
	p.t.Helper()
	type outcome struct {
		v   T
		err error
	}
	c := make(chan outcome, 1)
	go func() {
		v, err := call()
		if err != nil {
			// The call may have failed before it wrote anything: hear must not wait.
			p.t.Errorf("call: %v", err)
			_ = p.client.Close()
		}
		c <- outcome{v, err}
	}()
	h := p.hear()
	p.sayf(`{"id":%s,"result":%s}`, h.ID, result)
	o := <-c
	if o.err != nil {
		p.t.FailNow()
	}
	return o.v
}

// turn starts the turn U of thread T.
func (p *peer) turn() *Turn {
	p.t.Helper()
	return begin(p, func() (*Turn, error) {
		return p.client.StartTurn(p.t.Context(), TurnParams{ThreadID: "T", Input: []Input{Text("hi")}})
	}, `{"turn":{"id":"U"}}`)
}

func asRPC(err error, target **RPCError) bool { return errors.As(err, target) }

func newReader(r io.Reader) *bufio.Reader { return bufio.NewReader(r) }

func isNoRollout(err error) bool { return errors.Is(err, ErrNoRollout) }
