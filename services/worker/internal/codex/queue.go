package codex

import "sync"

// delivery is one thing for the handlers: a notification or a server request.
type delivery struct {
	note *Notification
	req  *ServerRequest
	size int
}

// queue is the bounded buffer between the reader and the dispatcher. It counts
// bytes, because one notification may be 200 bytes or 50 MB; a single one larger
// than the bound passes when the queue is empty.
type queue struct {
	mu     sync.Mutex
	wake   sync.Cond
	items  []delivery
	bytes  int
	limit  int
	closed bool
}

func newQueue(limit int) *queue {
	q := &queue{limit: limit}
	q.wake.L = &q.mu
	return q
}

// push appends, waiting for room. Only the reader pushes and only the reader
// closes, so nothing is pushed into a closed queue.
func (q *queue) push(d delivery) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.bytes > 0 && q.bytes+d.size > q.limit {
		q.wake.Wait()
	}
	q.items = append(q.items, d)
	q.bytes += d.size
	q.wake.Broadcast()
}

// take removes everything there is, waiting for the first; nil means closed and
// drained. The room is given back by done, after the batch was handled, so that
// queued plus handled bytes stay under the bound.
func (q *queue) take() []delivery {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.items) == 0 && !q.closed {
		q.wake.Wait()
	}
	batch := q.items
	q.items = nil
	return batch
}

// done gives back the room of one handled delivery.
func (q *queue) done(size int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.bytes -= size
	q.wake.Broadcast()
}

// close lets the dispatcher drain what is there and then end.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.wake.Broadcast()
}
