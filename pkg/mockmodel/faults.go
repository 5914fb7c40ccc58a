package mockmodel

import "sync"

// maxCounters bounds the fault counters; the oldest is forgotten first.
const maxCounters = 4096

// faultKey names the counter of one fault in one conversation.
type faultKey struct {
	cacheKey string
	message  int
	index    int
}

// counters count how often each fault was played.
type counters struct {
	mu    sync.Mutex
	seen  map[faultKey]int
	order []faultKey // insertion order, a ring once full
	next  int
}

// due reports whether a fault with the repeat count still has to be played, and
// counts it if so.
func (c *counters) due(k faultKey, times int) bool {
	if times == endless {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n, known := c.seen[k]
	if n >= times {
		return false
	}
	if !known {
		c.insert(k)
	}
	c.seen[k] = n + 1
	return true
}

func (c *counters) insert(k faultKey) {
	if c.seen == nil {
		c.seen = make(map[faultKey]int)
	}
	if len(c.order) < maxCounters {
		c.order = append(c.order, k)
		return
	}
	delete(c.seen, c.order[c.next])
	c.order[c.next] = k
	c.next = (c.next + 1) % maxCounters
}
