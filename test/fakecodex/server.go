package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"codexgateway.dev/pkg/wait"
)

// codeInvalidRequest is the code of nearly all of Codex's refusals.
const codeInvalidRequest = -32600

// slowInit is how long a process named slow-init takes to initialize.
const slowInit = 2 * time.Second

// request is a line of the client: a request, a notification, or its answer to
// a request of ours.
type request struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  json.RawMessage `json:"error"`
}

// server is one app-server process.
type server struct {
	p    *process
	die  chan int      // exit status asked for by a scenario
	stop chan struct{} // closed when the process is about to end

	out *outbox

	mu          sync.Mutex
	initialized bool
	stubborn    bool // neither SIGTERM nor the end of stdin ends it
	threads     map[string]*thread
	questions   map[int]chan json.RawMessage // our requests by id
	nextAsk     int
}

func newServer(p *process) *server {
	return &server{
		p:         p,
		out:       newOutbox(p.stdout, p.stderr),
		die:       make(chan int, 1),
		stop:      make(chan struct{}),
		threads:   make(map[string]*thread),
		questions: make(map[int]chan json.RawMessage),
	}
}

// serve runs until stdin ends, SIGTERM comes or a scenario ends it. Like Codex,
// it tells nobody about the turns it leaves behind.
func (s *server) serve(ctx context.Context) int {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.read(ctx)
	}()
	status := s.wait(ctx, ended)
	close(s.stop)
	cancel()
	s.out.close()
	return status
}

func (s *server) wait(ctx context.Context, ended <-chan struct{}) int {
	for {
		select {
		case status := <-s.die:
			return status
		case <-ctx.Done():
			return 0
		case <-s.p.term:
			if !s.isStubborn() {
				return 0
			}
		case <-ended:
			if !s.isStubborn() {
				return 0
			}
			ended = nil
		}
	}
}

func (s *server) isStubborn() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stubborn
}

// exit makes serve return; what was written before goes out first.
func (s *server) exit(status int) {
	select {
	case s.die <- status:
	default:
	}
}

// read handles the client's lines. Like Codex it ignores what it cannot parse.
func (s *server) read(ctx context.Context) {
	in := bufio.NewReader(s.p.stdin)
	for {
		line, err := in.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			var r request
			if jsonErr := json.Unmarshal(line, &r); jsonErr != nil {
				fmt.Fprintf(s.p.stderr, "fakecodex: malformed line: %v\n", jsonErr)
			} else {
				s.handle(ctx, &r)
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				fmt.Fprintf(s.p.stderr, "fakecodex: stdin: %v\n", err)
			}
			return
		}
	}
}

func (s *server) handle(ctx context.Context, r *request) {
	switch {
	case r.Method == "":
		s.answered(r)
	case r.ID == nil: // initialized is the one notification there is
	case r.Method == "initialize":
		s.initialize(ctx, r)
	case !s.isInitialized():
		s.refuse(r, "Not initialized")
	default:
		s.call(ctx, r)
	}
}

func (s *server) isInitialized() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.initialized
}

func (s *server) initialize(ctx context.Context, r *request) {
	s.mu.Lock()
	again := s.initialized
	s.initialized = true
	s.mu.Unlock()
	if again {
		s.refuse(r, "Already initialized")
		return
	}
	if s.p.named("no-init") {
		return
	}
	if s.p.named("crash-init") {
		s.exit(101)
		return
	}
	if s.p.named("slow-init") && !wait.For(ctx, slowInit) {
		return
	}
	var params struct {
		ClientInfo struct {
			Name string `json:"name"`
		} `json:"clientInfo"`
	}
	if json.Unmarshal(r.Params, &params) != nil || params.ClientInfo.Name == "" {
		s.refuse(r, "Invalid request: missing field `clientInfo`")
		return
	}
	s.answer(r, object{
		"userAgent":      params.ClientInfo.Name + "/" + version + " (fakecodex)",
		"codexHome":      s.p.home,
		"platformFamily": "unix",
		"platformOs":     "linux",
	})
}

// newID makes an id of the shape that Codex's have.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// object is a JSON object.
type object map[string]any

func (s *server) answer(r *request, result any) {
	s.send(object{"id": r.ID, "result": result})
}

func (s *server) refuse(r *request, message string) {
	s.send(object{"id": r.ID, "error": object{"code": codeInvalidRequest, "message": message}})
}

func (s *server) notify(method string, params any) {
	s.send(object{"method": method, "params": params, "emittedAtMs": time.Now().UnixMilli()})
}

func (s *server) send(v any) {
	line, err := json.Marshal(v)
	if err != nil {
		fmt.Fprintf(s.p.stderr, "fakecodex: encode: %v\n", err)
		return
	}
	s.out.add(append(line, '\n'))
}

// ask sends a request to the client and waits for its result; nil when there is
// none: an error, an interrupt, the end.
func (s *server) ask(ctx context.Context, method string, params object) (id int, result json.RawMessage) {
	got := make(chan json.RawMessage, 1)
	s.mu.Lock()
	id = s.nextAsk
	s.nextAsk++
	s.questions[id] = got
	s.mu.Unlock()
	s.send(object{"method": method, "id": id, "params": params})
	select {
	case result = <-got:
	case <-ctx.Done():
	}
	return id, result
}

// answered passes the client's answer to whoever asks.
func (s *server) answered(r *request) {
	var id int
	if json.Unmarshal(r.ID, &id) != nil {
		return
	}
	s.mu.Lock()
	got := s.questions[id]
	delete(s.questions, id)
	s.mu.Unlock()
	if got != nil {
		got <- r.Result
	}
}
