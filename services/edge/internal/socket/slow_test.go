package socket_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"codexgateway.dev/pkg/job"
	"codexgateway.dev/services/edge/internal/edgetest"
	"codexgateway.dev/services/edge/internal/hub"
	"codexgateway.dev/services/edge/internal/socket"
	"codexgateway.dev/services/edge/internal/streams"
)

// closed reads until the connection ends; the error is how.
func closed(t *testing.T, ws *websocket.Conn) websocket.CloseError {
	t.Helper()
	for {
		if _, _, err := ws.Read(t.Context()); err != nil {
			var c websocket.CloseError
			errors.As(err, &c)
			return c
		}
	}
}

// seqOf is the seq of a job.event.
func seqOf(t *testing.T, frame string) int64 {
	t.Helper()
	var m struct {
		Params struct {
			Seq int64 `json:"seq"`
		} `json:"params"`
	}
	if err := json.Unmarshal([]byte(frame), &m); err != nil {
		t.Fatal(err)
	}
	return m.Params.Seq
}

// A peer that reads, but slower than its job goes on, is told to come back and
// what it has; it resumes there without a gap.
func TestPeerSlowerThanItsJobIsClosed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := edgetest.NewPipes()
		b := openHub(t, socket.Options{}, hub.Options{RingBytes: 4 << 10, SlowAfter: 3 * time.Second}, l, l.Dial)
		jobID, h := b.running()
		ws := b.dial()
		subscribe(t, ws, jobID)
		edgetest.Say(t, h, "item/started", `{}`)
		read(t, ws)
		synctest.Wait() // live
		hush := edgetest.Chatter(t, h, "item/started", `{"text":"`+strings.Repeat("x", 2<<10)+`"}`)
		var last int64
		var end websocket.CloseError
		for began := time.Now(); time.Since(began) < 5*time.Minute; pass(100 * time.Millisecond) {
			_, frame, err := ws.Read(t.Context())
			if err != nil {
				errors.As(err, &end)
				break
			}
			last = seqOf(t, string(frame))
		}
		hush()
		if end.Code != 4308 {
			t.Fatalf("closed with %d %q, want 4308", end.Code, end.Reason)
		}
		var hint struct {
			LastSeq map[string]int64 `json:"last_seq"`
		}
		if err := json.Unmarshal([]byte(end.Reason), &hint); err != nil || len(hint.LastSeq) != 1 {
			t.Fatalf("reason %q: %v", end.Reason, err)
		}
		for _, seq := range hint.LastSeq {
			if seq != last {
				t.Errorf("the reason says %d, the last event that came is %d", seq, last)
			}
		}
		again := b.dial()
		write(t, again, fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"job.subscribe","params":{"job_id":%q,"after":%d}}`, jobID, last))
		read(t, again)
		if got := seqOf(t, read(t, again)); got != last+1 {
			t.Errorf("resumed at %d, want %d", got, last+1)
		}
	})
}

// A reason longer than a close frame takes would end the connection without its
// code.
func TestReasonOfManySubscriptionsFits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		jobID, h := b.running()
		ws := b.dial()
		for range 10 {
			subscribe(t, ws, jobID)
		}
		edgetest.Say(t, h, "item/started", `{}`)
		synctest.Wait()
		pass(12 * time.Second)
		if c := closed(t, ws); c.Code != 4308 || len(c.Reason) > 123 || !strings.HasPrefix(c.Reason, `{"last_seq":{"sub_`) {
			t.Errorf("closed with %d %q", c.Code, c.Reason)
		}
	})
}

// One peer that is stuck costs the others nothing, not even a moment.
func TestStuckPeerDelaysNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		jobID, h := b.running()
		stuck := b.dial()
		subscribe(t, stuck, jobID)
		const others, n = 50, 20
		var done sync.WaitGroup
		for range others {
			ws := b.dial()
			subscribe(t, ws, jobID)
			done.Go(func() {
				for i := range int64(n) {
					began := time.Now()
					if got := seqOf(t, read(t, ws)); got != i+3 {
						t.Errorf("seq %d, want %d", got, i+3)
					}
					if waited := time.Since(began); waited > time.Second {
						t.Errorf("event %d came after %s", i+3, waited)
					}
				}
			})
		}
		for range n {
			pass(time.Second)
			edgetest.Say(t, h, "item/started", `{}`)
		}
		done.Wait()
	})
}

// While a write is stuck a ping can neither be sent nor answered: that must not
// end the connection before the write's own limit, which says why.
func TestPingDoesNotCutAPeerThatIsWrittenTo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := edgetest.NewPipes()
		b := openOn(t, socket.Options{PingEvery: 2 * time.Second, PongWait: 2 * time.Second}, l, l.Dial)
		jobID, h := b.running()
		ws := b.dial()
		subscribe(t, ws, jobID)
		edgetest.Say(t, h, "item/started", `{}`)
		synctest.Wait()
		pass(9 * time.Second)
		if got := seqOf(t, read(t, ws)); got != 3 {
			t.Errorf("seq %d, want 3", got)
		}
		edgetest.Say(t, h, "item/started", `{}`)
		if got := seqOf(t, read(t, ws)); got != 4 {
			t.Errorf("seq %d, want 4", got)
		}
	})
}

// A stop sends its clients back at different moments.
func TestDrainHintsAreSpread(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := open(t)
		const peers = 40
		hints := make(chan time.Duration, peers)
		for range peers {
			ws := b.dial()
			go func() {
				c := closed(t, ws)
				var hint struct {
					RetryAfterMS int64 `json:"retry_after_ms"`
				}
				if err := json.Unmarshal([]byte(c.Reason), &hint); err != nil || c.Code != 4301 {
					t.Errorf("closed with %d %q", c.Code, c.Reason)
				}
				hints <- time.Duration(hint.RetryAfterMS) * time.Millisecond
			}()
		}
		b.open.Drain()
		early := 0
		for range peers {
			hint := <-hints
			if hint < streams.RetryFrom || hint >= streams.RetryTo {
				t.Errorf("hint %s", hint)
			}
			if hint < (streams.RetryFrom+streams.RetryTo)/2 {
				early++
			}
		}
		if early < 5 || early > peers-5 { // by chance once in five million runs
			t.Errorf("%d of %d hints in the first half", early, peers)
		}
	})
}

// A burst is more than one write buffer, and arrives whole and in order.
func TestBurstArrivesInOrder(t *testing.T) {
	t.Parallel()
	b := openTCP(t, socket.Options{})
	j := b.Submit(t, job.Submission{})
	h := b.Claim(t, j.ID)
	const n = 500
	for i := range n {
		edgetest.Say(t, h, "item/started", `{"text":"`+strings.Repeat("x", i*97%40_000)+`"}`)
	}
	ws := b.dial()
	subscribe(t, ws, j.ID)
	for i := range int64(n) {
		if got := seqOf(t, read(t, ws)); got != i+3 {
			t.Fatalf("seq %d, want %d", got, i+3)
		}
	}
}
