package host

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"codexgateway.dev/test/chaos/internal/wire"
)

// dice decide what goes wrong. They are safe for concurrent use; with one seed
// and one order of calls they fall the same way.
type dice struct {
	mu     sync.Mutex
	rng    *rand.Rand
	faults wire.Faults
}

func newDice(seed uint64, f wire.Faults) *dice {
	return &dice{rng: rand.New(rand.NewPCG(seed, 0x686f7374)), faults: f}
}

func (d *dice) set(f wire.Faults) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults = f
}

// fate of one published message.
type fate struct {
	lost, doubled bool
	// delay and delayTwin are how late the message and its double come.
	delay, delayTwin time.Duration
}

func (d *dice) message() fate {
	d.mu.Lock()
	defer d.mu.Unlock()
	return fate{
		lost: d.hit(d.faults.Lose), doubled: d.hit(d.faults.Duplicate),
		delay: d.late(), delayTwin: d.late(),
	}
}

// late is how late a message comes; mostly it does not. The lock is held.
func (d *dice) late() time.Duration {
	if !d.hit(d.faults.Delay) {
		return 0
	}
	return d.upTo(d.faults.MaxDelay)
}

// read is how long a read takes longer and whether it then fails.
func (d *dice) read() (wait time.Duration, fails bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.upTo(d.faults.Slow), d.hit(d.faults.NoRead)
}

// trouble is what befalls one commit.
type trouble struct {
	wait                      time.Duration
	full, refused, unanswered bool
}

func (d *dice) commit() trouble {
	d.mu.Lock()
	defer d.mu.Unlock()
	return trouble{
		wait: d.upTo(d.faults.Slow), full: d.faults.Full,
		refused: d.hit(d.faults.Refuse), unanswered: d.hit(d.faults.Unanswered),
	}
}

func (d *dice) hit(p float64) bool { return p > 0 && d.rng.Float64() < p }

func (d *dice) upTo(most time.Duration) time.Duration {
	if most <= 0 {
		return 0
	}
	return time.Duration(d.rng.Int64N(int64(most)))
}

// pause waits d or until ctx ends, and reports whether it waited.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
