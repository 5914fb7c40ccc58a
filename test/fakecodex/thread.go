package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// thread is one conversation.
type thread struct {
	id, cwd, rollout string
	resumed          bool

	mu     sync.Mutex
	tokens int64
	turn   *turn // the active one
}

// turn is one turn while it runs.
type turn struct {
	id        string
	cancel    context.CancelFunc
	deaf      bool        // ignores interrupts
	steer     chan string // text added while it runs
	startedAt time.Time
}

// callParams is the union of what the methods take.
type callParams struct {
	ThreadID       string `json:"threadId"`
	TurnID         string `json:"turnId"`
	ExpectedTurnID string `json:"expectedTurnId"`
	Cwd            string `json:"cwd"`
	Model          string `json:"model"`
	Permissions    string `json:"permissions"`
	ApprovalPolicy string `json:"approvalPolicy"`
	Input          []struct {
		Type string `json:"type"`
		Text string `json:"text"`
	} `json:"input"`
}

func (c *callParams) text() string {
	var parts []string
	for _, in := range c.Input {
		if in.Type == "text" {
			parts = append(parts, in.Text)
		}
	}
	return strings.Join(parts, "\n")
}

func (s *server) call(ctx context.Context, r *request) {
	var p callParams
	if len(r.Params) > 0 {
		if err := json.Unmarshal(r.Params, &p); err != nil {
			s.refuse(r, "Invalid request: "+err.Error())
			return
		}
	}
	if opening := r.Method == "thread/start" || r.Method == "thread/resume"; opening && s.p.named("no-thread") {
		return
	} else if opening && s.p.named("crash-thread") {
		s.exit(101)
		return
	}
	switch r.Method {
	case "thread/start":
		s.startThread(r, &p)
	case "thread/resume":
		s.resumeThread(r, &p)
	case "turn/start", "review/start":
		s.startTurn(ctx, r, &p)
	case "turn/interrupt":
		s.interrupt(r, &p)
	case "turn/steer":
		s.steer(r, &p)
	case "thread/backgroundTerminals/clean":
		s.answer(r, object{})
	default:
		s.refuse(r, fmt.Sprintf("Invalid request: unknown variant `%s`", r.Method))
	}
}

func (s *server) startThread(r *request, p *callParams) {
	id := newID()
	now := time.Now().UTC()
	t := &thread{id: id, cwd: p.Cwd, rollout: filepath.Join(s.p.home, "sessions", now.Format("2006/01/02"),
		"rollout-"+now.Format("2006-01-02T15-04-05")+"-"+id+".jsonl")}
	s.open(r, p, t)
	s.notify("thread/started", object{"thread": object{"id": id, "cwd": t.cwd, "path": t.rollout, "turns": []any{}}})
}

func (s *server) resumeThread(r *request, p *callParams) {
	var found string
	walk := filepath.WalkDir(filepath.Join(s.p.home, "sessions"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && p.ThreadID != "" && strings.HasSuffix(d.Name(), "-"+p.ThreadID+".jsonl") {
			found = path
		}
		return err
	})
	if walk != nil || found == "" {
		s.refuse(r, "no rollout found for thread id "+p.ThreadID)
		return
	}
	s.open(r, p, &thread{id: p.ThreadID, cwd: p.Cwd, rollout: found, resumed: true})
}

func (s *server) open(r *request, p *callParams, t *thread) {
	s.mu.Lock()
	s.threads[t.id] = t
	s.mu.Unlock()
	model := p.Model
	if model == "" {
		model = "gpt-5.5"
	}
	var active any
	if p.Permissions != "" {
		active = object{"id": p.Permissions, "extends": nil}
	}
	s.answer(r, object{
		"thread":                  object{"id": t.id, "path": t.rollout, "cwd": t.cwd, "cliVersion": version, "turns": []any{}},
		"model":                   model,
		"cwd":                     t.cwd,
		"approvalPolicy":          p.ApprovalPolicy,
		"activePermissionProfile": active,
	})
}

// find returns a loaded thread or refuses.
func (s *server) find(r *request, id string) *thread {
	s.mu.Lock()
	t := s.threads[id]
	s.mu.Unlock()
	if t == nil {
		s.refuse(r, "thread not found: "+id)
	}
	return t
}

// startTurn starts the scenario in the prompt. A second turn/start steers, as
// Codex does.
func (s *server) startTurn(ctx context.Context, r *request, p *callParams) {
	t := s.find(r, p.ThreadID)
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if u := t.turn; u != nil {
		s.answer(r, object{"turn": turnObject(u.id, "inProgress")})
		u.add(p.text())
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	u := &turn{id: newID(), cancel: cancel, steer: make(chan string, 16), startedAt: time.Now()}
	sc := parse(p.text())
	u.deaf = sc.name == "interrupt-ignored" || sc.name == "ignore-sigterm"
	if sc.name == "ignore-sigterm" {
		s.mu.Lock()
		s.stubborn = true
		s.mu.Unlock()
	}
	t.turn = u
	s.answer(r, object{"turn": turnObject(u.id, "inProgress")})
	go func() { // ends with the turn or the process
		defer cancel()
		(&player{s: s, t: t, u: u, prompt: p.text()}).play(ctx, sc)
	}()
}

func (s *server) interrupt(r *request, p *callParams) {
	t := s.find(r, p.ThreadID)
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.turn == nil || t.turn.id != p.TurnID {
		s.refuse(r, "no active turn to interrupt")
		return
	}
	s.answer(r, object{})
	if !t.turn.deaf {
		t.turn.cancel()
	}
}

func (s *server) steer(r *request, p *callParams) {
	t := s.find(r, p.ThreadID)
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.turn == nil:
		s.refuse(r, "no active turn to steer")
	case t.turn.id != p.ExpectedTurnID:
		s.refuse(r, fmt.Sprintf("expected active turn id `%s` but found `%s`", p.ExpectedTurnID, t.turn.id))
	default:
		s.answer(r, object{"turnId": t.turn.id})
		t.turn.add(p.text())
	}
}

// add queues steering text; past 16 unread ones it is lost.
func (u *turn) add(text string) {
	select {
	case u.steer <- text:
	default:
	}
}

// append writes lines to the rollout, which comes into being with the first.
func (t *thread) append(entries ...object) error {
	if err := os.MkdirAll(filepath.Dir(t.rollout), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(t.rollout, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	enc := json.NewEncoder(f)
	for _, e := range entries {
		if err := enc.Encode(e); err != nil {
			_ = f.Close()
			return err
		}
	}
	return f.Close()
}

func turnObject(id, status string) object {
	return object{"id": id, "rootTurnId": id, "items": []any{}, "itemsView": "notLoaded", "status": status, "error": nil, "startedAt": nil, "completedAt": nil, "durationMs": nil}
}
