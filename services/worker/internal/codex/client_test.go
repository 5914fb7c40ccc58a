package codex

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"codexgateway.dev/pkg/errs"
)

func TestClientEnds(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		play func(p *peer)
		want error
		code errs.Code
	}{
		{"nil after a close between turns", func(p *peer) {
			_ = p.client.Close()
			p.exit()
		}, nil, ""},
		{"exited when nobody asked", func(p *peer) { p.exit() }, ErrExited, errs.CodexCrashed},
		{"crashed while a turn is open", func(p *peer) {
			p.turn()
			p.exit()
		}, ErrCrashed, errs.CodexCrashed},
		{"crashed when closed while a turn is open", func(p *peer) {
			p.turn()
			_ = p.client.Close()
			p.exit()
		}, ErrCrashed, errs.CodexCrashed},
		{"exited once the turn is complete", func(p *peer) {
			p.turn()
			p.say(`{"method":"turn/completed","params":{"threadId":"T","turn":{"id":"U","status":"completed"}}}`)
			p.exit()
		}, ErrExited, errs.CodexCrashed},
		{"protocol after too many malformed lines", func(p *peer) {
			for range 4 {
				p.say(`garbage`)
			}
		}, ErrProtocol, errs.CodexProtocol},
		{"protocol after a line over the cap", func(p *peer) {
			p.say(`{"method":"x","params":"` + strings.Repeat("a", 200<<10) + `"}`)
		}, ErrProtocol, errs.CodexProtocol},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t, Options{MaxMalformed: 4, MaxLine: 100 << 10})
			tc.play(p)
			<-p.client.Done()
			err := p.client.Err()
			if !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %v", err, tc.want)
			}
			if err != nil && Failure(err).Code != tc.code {
				t.Errorf("code %s, want %s", Failure(err).Code, tc.code)
			}
		})
	}
}

func TestMalformedLinesAreSkippedAndCounted(t *testing.T) {
	t.Parallel()
	p := newPeer(t, Options{})
	for _, line := range []string{`{`, `[]`, `null`, `{}`, `"x"`, `{"id":null}`, "\xff", ``} {
		p.say(line)
	}
	p.say(`{"method":"thread/started","params":{"thread":{"id":"T"}}}`)
	p.exit()
	<-p.client.Done()
	if got := p.client.Malformed(); got != 7 {
		t.Errorf("%d malformed lines, want 7: an empty one is none", got)
	}
	if seen := p.seen(); len(seen) != 1 || seen[0].ThreadID != "T" {
		t.Errorf("handler saw %v, want the one message", seen)
	}
}

func TestOpenTurnIsLostWithTheProcess(t *testing.T) {
	t.Parallel()
	p := newPeer(t, Options{})
	turn := p.turn()
	p.say(`{"method":"item/completed","params":{"turnId":"U","item":{"id":"i","type":"agentMessage","text":"half"}}}`)
	p.exit()
	r, err := turn.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.Status != StatusLost || r.Message != "half" || r.Failure.Code != errs.CodexCrashed {
		t.Errorf("result %+v", r)
	}
}

func TestTurnEndsAfterTheHandlerSawItsEnd(t *testing.T) {
	t.Parallel()
	handled := make(chan string, 1)
	release := make(chan struct{})
	p := newPeer(t, Options{OnNotification: func(n Notification) {
		handled <- n.Method
		<-release
	}})
	turn := p.turn()
	p.say(`{"method":"turn/completed","params":{"turn":{"id":"U","status":"completed"}}}`)
	<-handled
	select {
	case <-turn.Done():
		t.Error("turn ended while the handler held its last notification")
	default:
	}
	close(release)
	<-turn.Done()
}

func TestSecondTurnOfAThreadIsRefused(t *testing.T) {
	t.Parallel()
	p := newPeer(t, Options{})
	p.turn()
	if _, err := p.client.StartTurn(t.Context(), TurnParams{ThreadID: "T"}); !errors.Is(err, ErrTurnActive) {
		t.Errorf("error %v, want ErrTurnActive", err)
	}
}

// TestNextTurnMayStartAtOnce starts a turn the moment the one before has ended:
// a turn that ended before the client had forgotten it was refused as active.
func TestNextTurnMayStartAtOnce(t *testing.T) {
	t.Parallel()
	p := newPeer(t, Options{})
	for range 500 {
		turn := p.turn()
		p.say(`{"method":"turn/completed","params":{"threadId":"T","turn":{"id":"U","status":"completed"}}}`)
		<-turn.Done()
	}
}

func TestCallEndsWithItsDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t, Options{CallTimeout: time.Minute})
		// The peer does not even read the request.
		start := time.Now()
		err := p.client.Interrupt(t.Context(), "T", "U")
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Minute {
			t.Errorf("error %v after %v", err, time.Since(start))
		}
	})
}

func TestLateAnswerIsIgnored(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(t, Options{CallTimeout: time.Second})
		end := make(chan error, 1)
		go func() { end <- p.client.Interrupt(t.Context(), "T", "U") }()
		h := p.hear()
		if err := <-end; !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("error %v", err)
		}
		p.sayf(`{"id":%s,"result":{}}`, h.ID)
		p.say(`{"id":"not ours","result":{}}`)
		p.exit()
		<-p.client.Done()
		if n := p.client.Malformed(); n != 0 {
			t.Errorf("%d lines taken for malformed", n)
		}
	})
}

func TestCallsFailOnceTheProcessIsGone(t *testing.T) {
	t.Parallel()
	p := newPeer(t, Options{})
	end := make(chan error, 1)
	go func() {
		_, err := p.client.Initialize(t.Context(), "0")
		end <- err
	}()
	p.hear()
	p.exit()
	if err := <-end; !errors.Is(err, ErrClosed) {
		t.Errorf("waiting call: %v, want ErrClosed", err)
	}
	<-p.client.Done()
	if err := p.client.Interrupt(t.Context(), "T", "U"); !errors.Is(err, ErrClosed) {
		t.Errorf("later call: %v, want ErrClosed", err)
	}
}

func TestSlowHandlerStopsTheReader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var handled int
		p := newPeer(t, Options{QueueBytes: 1 << 10, OnNotification: func(Notification) {
			<-release
			handled++
		}})
		written := 0
		finished := make(chan struct{})
		go func() {
			defer close(finished)
			for range 100 {
				p.say(`{"method":"m","params":{"pad":"` + strings.Repeat("x", 100) + `"}}`)
				written++
			}
		}()
		synctest.Wait()
		// 1 KiB holds seven of these lines, one more waits at the door and one is in
		// the pipe.
		if written < 5 || written > 10 {
			t.Errorf("%d lines taken while the handler slept", written)
		}
		close(release)
		<-finished
		p.exit()
		<-p.client.Done()
		if handled != 100 {
			t.Errorf("%d notifications handled, want all 100", handled)
		}
	})
}

func TestLineLargerThanTheQueuePasses(t *testing.T) {
	t.Parallel()
	p := newPeer(t, Options{QueueBytes: 1 << 10})
	big := strings.Repeat("b", 5<<20)
	p.sayf(`{"method":"item/completed","params":{"text":%q}}`, big)
	p.exit()
	<-p.client.Done()
	if seen := p.seen(); len(seen) != 1 || len(seen[0].Params) != len(big)+len(`{"text":""}`) {
		t.Errorf("handler saw %d notifications", len(seen))
	}
}

func TestServerRequests(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, method, want string }{
		{"command", "item/commandExecution/requestApproval", `result {"decision":"decline"}`},
		{"file change", "item/fileChange/requestApproval", `result {"decision":"decline"}`},
		{"permissions", "item/permissions/requestApproval", `result {"permissions":{},"scope":"turn"}`},
		{"elicitation", "mcpServer/elicitation/request", `result {"action":"decline"}`},
		{"user input", "item/tool/requestUserInput", `error -32601`},
		{"tool call", "item/tool/call", `result {"contentItems":[{"text":"There is no such tool.","type":"inputText"}],"success":false}`},
		{"token refresh", "account/chatgptAuthTokens/refresh", `error -32601`},
		{"one that does not exist yet", "item/future/request", `error -32601`},
	} {
		t.Run(tc.name+" is declined without a handler", func(t *testing.T) {
			t.Parallel()
			in, out := io.Pipe()
			stdin, clientIn := io.Pipe()
			c := NewClient(Transport{In: clientIn, Out: in}, Options{})
			p := &peer{t: t, client: c, stdin: newReader(stdin), out: out}
			p.sayf(`{"method":%q,"id":7,"params":{"threadId":"T"}}`, tc.method)
			h := p.hear()
			got := "result " + string(h.Result)
			if h.Error != nil {
				got = fmt.Sprintf("error %d", h.Error.Code)
			}
			if string(h.ID) != "7" || got != tc.want {
				t.Errorf("answer %s: %s, want %s", h.ID, got, tc.want)
			}
			_ = out.Close()
			<-c.Done()
		})
	}
}

func TestApprovalOfAnUnknownShapeIsRefused(t *testing.T) {
	t.Parallel()
	p := newPeer(t, Options{})
	p.say(`{"method":"item/commandExecution/requestApproval","id":0,"params":{"threadId":"T","command":["rm"]}}`)
	if h := p.hear(); h.Error == nil {
		t.Errorf("answer %s, want an error", h.Result)
	}
}

func TestServerRequestIsAnsweredOnce(t *testing.T) {
	t.Parallel()
	p := newPeer(t, Options{})
	p.say(`{"method":"item/commandExecution/requestApproval","id":0,"params":{"threadId":"T","command":"rm x","reason":"why"}}`)
	r := <-p.reqs
	if r.Approval.Command != "rm x" || r.Approval.Reason != "why" {
		t.Errorf("approval %+v", r.Approval)
	}
	end := make(chan error, 1)
	go func() { end <- r.Decide(t.Context(), DecisionAccept) }()
	p.hear()
	if err := <-end; err != nil {
		t.Fatal(err)
	}
	if err := r.Decline(t.Context()); !errors.Is(err, ErrAnswered) {
		t.Errorf("second answer: %v, want ErrAnswered", err)
	}
}

func TestThreadWithoutTheProfileIsRefused(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, profile string
		want          error
	}{
		{"the profile", `{"id":"job"}`, nil},
		{"another profile", `{"id":":danger-full-access"}`, ErrProfileIgnored},
		{"no profile", `null`, ErrProfileIgnored},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t, Options{})
			end := make(chan error, 1)
			go func() {
				_, err := p.client.StartThread(t.Context(), ThreadParams{Permissions: "job"})
				end <- err
			}()
			h := p.hear()
			p.sayf(`{"id":%s,"result":{"thread":{"id":"T"},"activePermissionProfile":%s}}`, h.ID, tc.profile)
			err := <-end
			if !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %v", err, tc.want)
			}
			if err != nil && Failure(err).Code != errs.SandboxUnavailable {
				t.Errorf("code %s", Failure(err).Code)
			}
		})
	}
}

func TestStderrKeepsItsRedactedEnd(t *testing.T) {
	t.Parallel()
	p := newPeer(t, Options{Redact: func(s string) string { return strings.ReplaceAll(s, "s3cret", "[gone]") }})
	for i := range 4000 {
		if _, err := fmt.Fprintf(p.err, "line %d with s3cret %s\n", i, strings.Repeat("x", 30)); err != nil {
			t.Fatal(err)
		}
	}
	got := p.client.Stderr()
	if strings.Contains(got, "s3cret") || !strings.Contains(got, "line 3998 with [gone]") {
		t.Errorf("stderr end: %.100s", got)
	}
	if len(got) > 64<<10 || !strings.HasPrefix(got, "line ") {
		t.Errorf("%d bytes from %.20q, want whole lines within the bound", len(got), got)
	}
}

// Why Codex did not start is on stderr, which may be read after stdout has ended.
func TestTheLastWordsComeAfterTheEnd(t *testing.T) {
	t.Parallel()
	p := newPeer(t, Options{})
	_ = p.out.Close()
	<-p.client.Done()
	select {
	case <-p.client.Said():
		t.Error("stderr has ended before it was closed")
	default:
	}
	if _, err := io.WriteString(p.err, "no such file\n"); err != nil {
		t.Fatal(err)
	}
	_ = p.err.Close()
	<-p.client.Said()
	if got := p.client.Stderr(); got != "no such file\n" {
		t.Errorf("stderr %q", got)
	}
}

func TestParamsNeverPrintTheToken(t *testing.T) {
	t.Parallel()
	p, err := JobConfig(jobOptions())
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("thread", slog.Any("config", p.Config))
	for _, s := range []string{fmt.Sprint(p), fmt.Sprintf("%+v", p), fmt.Sprintf("%#v", p), log.String()} {
		if strings.Contains(s, "job-token") {
			t.Errorf("token printed: %s", s)
		}
	}
}
