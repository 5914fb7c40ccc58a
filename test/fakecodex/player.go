package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"codexgateway.dev/pkg/wait"
)

// player emits one turn: its frame here, what happens inside in scenarios.go.
type player struct {
	s      *server
	t      *thread
	u      *turn
	prompt string
	last   object // the last finished agent message
}

// outcome is how a scenario ended.
type outcome int

const (
	completed outcome = iota
	interrupted
	failed
	// vanished leaves the turn open: the process is about to end.
	vanished
)

// play emits a whole turn in the order of Codex.
func (p *player) play(ctx context.Context, sc scenario) {
	p.status("active")
	p.notify("turn/started", object{"turn": turnObject(p.u.id, "inProgress")})
	p.userMessage(p.prompt)
	if err := p.t.append(object{"type": "user", "turn": p.u.id, "text": p.prompt}); err != nil {
		fmt.Fprintf(p.s.p.stderr, "fakecodex: rollout: %v\n", err)
	}
	end, turnError := p.run(ctx, sc)
	select {
	case <-p.s.stop:
		// Codex, when told to exit, leaves its turns without an end.
		end = vanished
	default:
	}
	if end == vanished {
		return
	}
	if end == completed {
		p.usage()
	}
	p.finish(end, turnError)
}

func (p *player) finish(end outcome, turnError any) {
	word := map[outcome]string{completed: "completed", interrupted: "interrupted", failed: "failed", vanished: ""}[end]
	if end == failed {
		p.notify("error", object{"error": turnError, "willRetry": false, "turnId": p.u.id})
		p.status("systemError")
	} else {
		p.status("idle")
	}
	if err := p.t.append(object{"type": "turn_" + word, "turn": p.u.id}); err != nil {
		fmt.Fprintf(p.s.p.stderr, "fakecodex: rollout: %v\n", err)
	}
	o := turnObject(p.u.id, word)
	o["startedAt"], o["completedAt"] = p.u.startedAt.Unix(), time.Now().Unix()
	o["durationMs"] = time.Since(p.u.startedAt).Milliseconds()
	o["error"] = turnError
	if end == completed && p.last != nil {
		o["items"], o["itemsView"] = []any{p.last}, "summary"
	}
	// Over before it is told: who reads the end may start the next turn at once.
	p.t.mu.Lock()
	p.t.turn = nil
	p.t.mu.Unlock()
	p.notify("turn/completed", object{"turn": o})
}

// notify sends a notification of this thread.
func (p *player) notify(method string, params object) {
	params["threadId"] = p.t.id
	p.s.notify(method, params)
}

func (p *player) status(kind string) {
	status := object{"type": kind}
	if kind == "active" {
		status["activeFlags"] = []string{}
	}
	p.notify("thread/status/changed", object{"status": status})
}

func (p *player) item(method string, item object) {
	key := "startedAtMs"
	if method == "item/completed" {
		key = "completedAtMs"
	}
	p.notify(method, object{"item": item, "turnId": p.u.id, key: time.Now().UnixMilli()})
}

func (p *player) userMessage(text string) {
	item := object{
		"type": "userMessage", "id": newID(), "clientId": nil,
		"content": []any{object{"type": "text", "text": text, "text_elements": []any{}}},
	}
	p.item("item/started", item)
	p.item("item/completed", item)
}

// openMessage starts an agent message and returns its id.
func (p *player) openMessage() string {
	id := "msg_" + newID()
	p.item("item/started", object{"type": "agentMessage", "id": id, "text": "", "phase": nil})
	return id
}

func (p *player) delta(id, text string) {
	p.notify("item/agentMessage/delta", object{"turnId": p.u.id, "itemId": id, "delta": text})
}

func (p *player) closeMessage(id, text string) {
	p.last = object{"type": "agentMessage", "id": id, "text": text, "phase": nil}
	p.item("item/completed", p.last)
	if err := p.t.append(object{"type": "agent", "turn": p.u.id, "text": text}); err != nil {
		fmt.Fprintf(p.s.p.stderr, "fakecodex: rollout: %v\n", err)
	}
}

// say emits a message word by word, waiting between the words if told to. It
// ends early when the turn is interrupted, and starts anew when it is steered,
// leaving the item open as Codex does.
func (p *player) say(ctx context.Context, text string, every time.Duration) outcome {
	id := p.openMessage()
	for _, word := range strings.SplitAfter(text, " ") {
		select {
		case <-ctx.Done():
			return interrupted
		case more := <-p.u.steer:
			p.userMessage(more)
			return p.say(ctx, "Steered: "+more, 0)
		default:
		}
		if every > 0 && !wait.For(ctx, every) {
			return interrupted
		}
		p.delta(id, word)
	}
	p.closeMessage(id, text)
	return completed
}

// usage counts a fixed step of the model.
func (p *player) usage() {
	const in, out = 1000, 50
	p.t.mu.Lock()
	p.t.tokens += in + out
	steps := p.t.tokens / (in + out)
	p.t.mu.Unlock()
	count := func(n int64) object {
		return object{"totalTokens": n * (in + out), "inputTokens": n * in, "cachedInputTokens": 0, "cacheWriteInputTokens": 0, "outputTokens": n * out, "reasoningOutputTokens": 0}
	}
	p.notify("thread/tokenUsage/updated", object{
		"turnId":     p.u.id,
		"tokenUsage": object{"total": count(steps), "last": count(1), "modelContextWindow": 258400},
	})
}
