package ratelimit

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"codexgateway.dev/pkg/docstore"
)

// Collection holds the ledgers.
const Collection = "ratelimits"

// keep is how long a ledger stays after its last write. It is far longer than
// anything in it counts, so that a clock that is wrong removes nothing too early.
const keep = time.Hour

// Schema declares the ledgers.
func Schema() docstore.Collection {
	return docstore.Collection{
		Name:    Collection,
		Fields:  []docstore.Field{{Name: "expires_at", Kind: docstore.Int}},
		Indexes: []docstore.Index{{Name: docstore.IndexExpiry, Order: "expires_at"}},
		Expires: "expires_at",
	}
}

// Key is whose calls are counted.
type Key struct {
	Tenant string
	// ID is the key's id within the tenant.
	ID string
}

// docKey spreads the documents evenly and takes any tenant's name.
func (k Key) docKey() docstore.Key {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d:%s:%s", len(k.Tenant), k.Tenant, k.ID))
	return docstore.Key{Collection: Collection, ID: hex.EncodeToString(sum[:])}
}

// ledger is the document of one key.
type ledger struct {
	// Epoch names the document: one that was removed and made anew begins to
	// count its revisions again.
	Epoch string `json:"epoch"`
	// Rev counts the writes.
	Rev    int64   `json:"rev"`
	Groups []group `json:"groups,omitempty"`
}

// group is what one write added: tokens that its writer had used, and tokens that
// it took. Rev names it. The moment of a group is when its write was sent: before
// any of the tokens it took could be used, and after those it had used.
type group struct {
	Rev int64 `json:"rev"`
	// Age is how long ago the moment was when the ledger was written, at least,
	// in milliseconds.
	Age int64 `json:"age_ms"`
	// At is the moment by the writer's clock, in Unix milliseconds.
	At int64 `json:"at_ms"`
	// Held tokens were taken By somebody and may be used, for a lease.
	By   string `json:"by,omitempty"`
	Held int    `json:"held,omitempty"`
	// Used are tokens used before the moment: pairs of milliseconds before it, at
	// most, and how many.
	Used [][2]int64 `json:"used,omitempty"`

	// since is the moment on the clock of whoever read this, or later.
	since time.Time
}

// rules are the times that a limit is made of, as any clock measures them.
type rules struct {
	// lease is how long tokens may be used after they were asked for.
	lease time.Duration
	// window is how long a used token counts after its use, and hold how long one
	// that may have been used counts after it was asked for.
	window, hold time.Duration
	// skew is how much two clocks may differ.
	skew time.Duration
}

// slower is how long a clock that is too fast must measure so that d has passed.
func slower(d time.Duration) time.Duration { return d + d/driftPart }

func standardRules() rules {
	return rules{
		lease: lease, window: slower(Window) + time.Millisecond,
		// The lease was measured by a clock that was too slow, this is by one that is too fast.
		hold: slower(slower(slower(lease))+Window) + 2*time.Millisecond,
		skew: 2 * MaxSkew,
	}
}

// read decodes a ledger that was received at now, and keeps what an earlier one
// said better.
func read(data []byte, now time.Time, earlier *ledger, r rules) (*ledger, error) {
	var l ledger
	if err := json.Unmarshal(data, &l); err != nil {
		return nil, fmt.Errorf("ratelimit: decode: %w", err)
	}
	known := make(map[int64]time.Time)
	if earlier != nil && earlier.Epoch == l.Epoch {
		for i := range earlier.Groups {
			known[earlier.Groups[i].Rev] = earlier.Groups[i].since
		}
	}
	for i := range l.Groups {
		g := &l.Groups[i]
		age := max(time.Duration(g.Age)*time.Millisecond, now.Sub(time.UnixMilli(g.At))-r.skew)
		g.since = now.Add(-age)
		if before, ok := known[g.Rev]; ok && before.Before(g.since) {
			g.since = before
		}
	}
	return &l, nil
}

// encode is the ledger as written at now.
func (l *ledger) encode(now time.Time) ([]byte, error) {
	for i := range l.Groups {
		g := &l.Groups[i]
		g.Age = now.Sub(g.since).Milliseconds()
	}
	b, err := json.Marshal(l)
	if err != nil {
		return nil, fmt.Errorf("ratelimit: encode: %w", err)
	}
	return b, nil
}

// claim is one thing that counts, until it does not.
type claim struct {
	n     int
	until time.Time
}

// claims lists what counts at now.
func (l *ledger) claims(now time.Time, r rules) []claim {
	var out []claim
	add := func(n int, until time.Time) {
		if now.Before(until) {
			out = append(out, claim{n, until})
		}
	}
	for i := range l.Groups {
		g := &l.Groups[i]
		if g.Held > 0 {
			add(g.Held, g.since.Add(r.hold))
		}
		for _, u := range g.Used {
			add(int(u[1]), g.since.Add(r.window-time.Duration(u[0])*time.Millisecond))
		}
	}
	return out
}

// count is how many tokens the claims are together.
func count(claims []claim) (n int) {
	for _, c := range claims {
		n += c.n
	}
	return n
}

// freeAt is when want of the limit's tokens will not be claimed; limit if want is more.
func freeAt(claims []claim, limit, want int, now time.Time) time.Time {
	slices.SortFunc(claims, func(a, b claim) int { return a.until.Compare(b.until) })
	free := limit - count(claims)
	for _, c := range claims {
		if free >= want {
			break
		}
		free += c.n
		now = c.until
	}
	return now
}

// next is the ledger that follows at now: without what no longer counts and
// without what own holds, whose uses are written down instead. own is nil for
// whoever holds nothing; settled is false when the ledger held nothing of by.
func (l *ledger) next(now time.Time, by string, own *holding, r rules) (next *ledger, used group, settled bool) {
	next = &ledger{Epoch: l.Epoch, Rev: l.Rev + 1, Groups: make([]group, 0, len(l.Groups)+1)}
	used = group{Rev: next.Rev, At: now.UnixMilli(), since: now}
	for i := range l.Groups {
		g := l.Groups[i]
		elapsed := now.Sub(g.since)
		if g.By == by && g.Held > 0 {
			settled = true
			if own != nil && own.epoch == l.Epoch && own.rev == g.Rev {
				used.Used = own.used(now, r)
			} // else it is of an answer that was lost: nobody used it
			g.Held, g.By = 0, ""
		}
		if elapsed >= r.hold {
			g.Held, g.By = 0, ""
		}
		g.Used = slices.DeleteFunc(slices.Clone(g.Used), func(u [2]int64) bool {
			return elapsed+time.Duration(u[0])*time.Millisecond >= r.window
		})
		if g.Held > 0 || len(g.Used) > 0 {
			next.Groups = append(next.Groups, g)
		}
	}
	return next, used, settled
}

// bucketSpan is how far apart the uses may be that are counted as one: at the
// time of the last of them.
const bucketSpan = time.Second

// bucket is some uses.
type bucket struct {
	first, last time.Time
	n           int
}

// holding is a lease in hand.
type holding struct {
	epoch string
	rev   int64
	// n were taken, left are not used.
	n, left int
	// asked is the moment of the group, on the holder's clock.
	asked time.Time
	uses  []bucket
}

// good reports whether the tokens may be used at now. Both clocks are asked: the
// monotonic one stands still while a machine sleeps, the other may be set.
func (h *holding) good(now time.Time, lease time.Duration) bool {
	return now.Sub(h.asked) < lease && now.UnixNano()-h.asked.UnixNano() < int64(lease)
}

// use takes one of the tokens left.
func (h *holding) use(now time.Time) {
	h.left--
	if last := len(h.uses) - 1; last >= 0 && now.Sub(h.uses[last].first) < bucketSpan {
		h.uses[last].n++
		if now.After(h.uses[last].last) {
			h.uses[last].last = now
		}
		return
	}
	h.uses = append(h.uses, bucket{first: now, last: now, n: 1})
}

// used is what was used and still counts at now.
func (h *holding) used(now time.Time, r rules) [][2]int64 {
	var out [][2]int64
	for _, b := range h.uses {
		if ago := now.Sub(b.last); ago < r.window {
			out = append(out, [2]int64{ago.Milliseconds(), int64(b.n)})
		}
	}
	return out
}
