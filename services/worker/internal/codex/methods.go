package codex

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
)

var (
	// ErrTurnActive refuses a turn while another of the same thread is open: Codex
	// would take it as steering, cutting the answer that is being written.
	ErrTurnActive = errors.New("codex: a turn of this thread is active")
	// ErrProfileIgnored is a thread that Codex opened under another permission
	// profile than the one asked for. It must not be used.
	ErrProfileIgnored = errors.New("codex: permission profile not applied")
)

// ServerInfo is what Codex says of itself.
type ServerInfo struct {
	// UserAgent is "codexgw/0.169.0 (Debian 12.0.0; x86_64) …".
	UserAgent string `json:"userAgent"`
	CodexHome string `json:"codexHome"`
}

// Version is the version in the user agent, "" if there is none. The protocol
// has no other version.
func (s ServerInfo) Version() string {
	_, rest, ok := strings.Cut(s.UserAgent, "/")
	if !ok {
		return ""
	}
	version, _, _ := strings.Cut(rest, " ")
	return version
}

// Initialize opens the conversation. version is the gateway's own.
func (c *Client) Initialize(ctx context.Context, version string) (ServerInfo, error) {
	type clientInfo struct {
		Name    string `json:"name"`
		Title   string `json:"title"`
		Version string `json:"version"`
	}
	type capabilities struct {
		ExperimentalAPI bool     `json:"experimentalApi"`
		RequestAttest   bool     `json:"requestAttestation"`
		OptOutOfMethods []string `json:"optOutNotificationMethods"`
	}
	params := struct {
		ClientInfo   clientInfo   `json:"clientInfo"`
		Capabilities capabilities `json:"capabilities"`
	}{
		ClientInfo: clientInfo{Name: "codexgw", Title: "Codex Gateway", Version: version},
		// Without experimentalApi Codex refuses permission profiles and
		// thread/backgroundTerminals/clean.
		Capabilities: capabilities{
			ExperimentalAPI: true,
			OptOutOfMethods: []string{"account/rateLimits/updated", "remoteControl/status/changed"},
		},
	}
	var info ServerInfo
	if err := c.do(ctx, "initialize", params, &info, nil); err != nil {
		return ServerInfo{}, err
	}
	line, err := encodeLine(outNotification{Method: "initialized"})
	if err != nil {
		return ServerInfo{}, err
	}
	if err := c.write(ctx, line); err != nil {
		return ServerInfo{}, fmt.Errorf("codex: initialized: %w", err)
	}
	return info, nil
}

// Thread is an open conversation inside Codex.
type Thread struct {
	ID string
	// Path is the rollout file, which appears with the first turn. It is the
	// whole conversation.
	Path  string
	Model string
	// Profile is the permission profile in force, "" for none.
	Profile string
}

type threadResult struct {
	Thread struct {
		ID   string `json:"id"`
		Path string `json:"path"`
	} `json:"thread"`
	Model   string `json:"model"`
	Profile *struct {
		ID string `json:"id"`
	} `json:"activePermissionProfile"`
}

// StartThread opens a new thread; see JobConfig for the params.
func (c *Client) StartThread(ctx context.Context, p ThreadParams) (Thread, error) {
	return c.openThread(ctx, "thread/start", p, p)
}

// ResumeThread opens the thread whose rollout file lies in CODEX_HOME/sessions.
// Everything in p counts as for a new thread, because none of it is in the
// rollout: cwd, policy, provider and token must be given again. ErrNoRollout and
// ErrThreadBusy are the refusals to expect.
func (c *Client) ResumeThread(ctx context.Context, threadID string, p ThreadParams) (Thread, error) {
	// The old turns are not asked for: Codex would send a deprecation notice and
	// the whole history in one line.
	return c.openThread(ctx, "thread/resume", p, struct {
		ThreadParams
		ThreadID     string `json:"threadId"`
		ExcludeTurns bool   `json:"excludeTurns"`
	}{p, threadID, true})
}

func (c *Client) openThread(ctx context.Context, method string, p ThreadParams, params any) (Thread, error) {
	var r threadResult
	if err := c.do(ctx, method, params, &r, nil); err != nil {
		return Thread{}, err
	}
	t := Thread{ID: r.Thread.ID, Path: r.Thread.Path, Model: r.Model}
	if r.Profile != nil {
		t.Profile = r.Profile.ID
	}
	if t.ID == "" {
		return Thread{}, fmt.Errorf("codex: %s: %w: no thread id", method, ErrProtocol)
	}
	if p.Permissions != "" && t.Profile != p.Permissions {
		return Thread{}, fmt.Errorf("codex: %s: %w", method, ErrProfileIgnored)
	}
	return t, nil
}

// StartTurn sends the user's input and returns the turn that answers it. After
// an error other than a refusal (RPCError, ErrTurnActive) a turn may run that
// nobody tracks: close the client.
func (c *Client) StartTurn(ctx context.Context, p TurnParams) (*Turn, error) {
	return c.startTurn(ctx, "turn/start", p.ThreadID, p)
}

// StartReview starts a review of the workspace's changes; its findings are the
// turn's message.
func (c *Client) StartReview(ctx context.Context, threadID string, target ReviewTarget) (*Turn, error) {
	return c.startTurn(ctx, "review/start", threadID, struct {
		ThreadID string       `json:"threadId"`
		Target   ReviewTarget `json:"target"`
	}{threadID, target})
}

func (c *Client) startTurn(ctx context.Context, method, threadID string, params any) (*Turn, error) {
	if !c.claimThread(threadID) {
		return nil, ErrTurnActive
	}
	defer c.releaseThread(threadID)
	var turn *Turn
	err := c.do(ctx, method, params, nil, func(raw json.RawMessage) error {
		var r struct {
			Turn struct {
				ID string `json:"id"`
			} `json:"turn"`
		}
		if err := jsonv2.Unmarshal(raw, &r, lenient); err != nil || r.Turn.ID == "" {
			return fmt.Errorf("%w: no turn id", ErrProtocol)
		}
		turn = newTurn(threadID, r.Turn.ID)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.turns[turn.id] = turn
		return nil
	})
	if err != nil {
		return nil, err
	}
	return turn, nil
}

// claimThread reserves a thread for one turn/start.
func (c *Client) claimThread(threadID string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.turns {
		if t.threadID == threadID {
			return false
		}
	}
	if c.starting[threadID] {
		return false
	}
	c.starting[threadID] = true
	return true
}

func (c *Client) releaseThread(threadID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.starting, threadID)
}

// Interrupt ends a turn within some 10 ms; its running commands stay alive until
// CleanBackgroundTerminals or the end of the process. ErrNoActiveTurn means it
// had ended already.
func (c *Client) Interrupt(ctx context.Context, threadID, turnID string) error {
	return c.do(ctx, "turn/interrupt", struct {
		ThreadID string `json:"threadId"`
		TurnID   string `json:"turnId"`
	}{threadID, turnID}, nil, nil)
}

// Steer adds input to the active turn, cutting the message being written.
// ErrNoActiveTurn means that the turn is over or another one is active.
func (c *Client) Steer(ctx context.Context, threadID, turnID string, input []Input) error {
	return c.do(ctx, "turn/steer", struct {
		ThreadID       string  `json:"threadId"`
		ExpectedTurnID string  `json:"expectedTurnId"`
		Input          []Input `json:"input"`
	}{threadID, turnID, input}, nil, nil)
}

// CleanBackgroundTerminals kills the commands that outlived their turn.
func (c *Client) CleanBackgroundTerminals(ctx context.Context, threadID string) error {
	return c.do(ctx, "thread/backgroundTerminals/clean", struct {
		ThreadID string `json:"threadId"`
	}{threadID}, nil, nil)
}
