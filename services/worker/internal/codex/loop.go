package codex

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// readLoop reads stdout to its end. Answers go to their callers at once, the
// rest through the queue to the handlers.
func (c *Client) readLoop(out io.Reader) {
	lines := newLineReader(out, c.opt.MaxLine)
	for {
		line, err := lines.next()
		if err == nil {
			err = c.handleLine(line)
		}
		if err == nil {
			continue
		}
		c.end(c.causeOf(err))
		// Nobody listens any more, yet stdin must end and stdout be read, or
		// Codex would hang on a full pipe instead of exiting.
		if closeErr := c.Close(); closeErr != nil {
			c.opt.Logger.Debug("codex stdin close", slog.Any("error", closeErr))
		}
		if _, drainErr := io.Copy(io.Discard, out); drainErr != nil {
			c.opt.Logger.Debug("codex stdout drain", slog.Any("error", drainErr))
		}
		return
	}
}

// causeOf turns the error that ended reading into what calls and Err say; nil
// after a Close.
func (c *Client) causeOf(err error) error {
	if errors.Is(err, errLineTooLong) || errors.Is(err, ErrProtocol) {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	select {
	case <-c.closing:
		return nil
	default:
	}
	if errors.Is(err, io.EOF) {
		return ErrExited
	}
	return fmt.Errorf("%w: read: %w", ErrExited, err)
}

// handleLine decodes one line and passes it on; an error ends the conversation.
func (c *Client) handleLine(line []byte) error {
	if len(line) == 0 {
		return nil
	}
	m, err := decodeLine(line)
	if err != nil {
		return c.countMalformed(len(line))
	}
	if m.isResponse() {
		c.answer(&m)
		return nil
	}
	if m.ID != nil {
		c.queue.push(delivery{req: newServerRequest(c, &m), size: len(line)})
		return nil
	}
	n := newNotification(&m)
	c.queue.push(delivery{note: &n, size: len(line)})
	return nil
}

// countMalformed skips a line that is not a message. Its content may be
// anything a repository prints, so only its size is logged.
func (c *Client) countMalformed(size int) error {
	n := c.malformed.Add(1)
	c.opt.Logger.Debug("codex line skipped", slog.Int64("malformed_lines", n), slog.Int("size_bytes", size))
	if n >= int64(c.opt.MaxMalformed) {
		return fmt.Errorf("%w: %d malformed lines", ErrProtocol, n)
	}
	return nil
}

// dispatchLoop calls the handlers, in order, until the queue is closed and
// empty, then ends what turns are left.
func (c *Client) dispatchLoop() {
	for {
		batch := c.queue.take()
		if batch == nil {
			break
		}
		for _, d := range batch {
			if d.note != nil {
				c.deliver(*d.note)
			} else {
				c.deliverRequest(d.req)
			}
			c.queue.done(d.size)
		}
	}
	c.conclude()
}

// conclude gives the verdict. Only here is it known which turns never ended:
// their last notification may have stood in the queue when the output ended.
func (c *Client) conclude() {
	c.mu.Lock()
	open := c.turns
	c.turns = nil
	c.err = c.cause
	if len(open) > 0 && !errors.Is(c.cause, ErrProtocol) {
		c.err = ErrCrashed
	}
	err := c.err
	c.mu.Unlock()
	if err != nil {
		c.opt.Logger.Debug("codex conversation ended", slog.Any("error", err), slog.Int64("malformed_lines", c.Malformed()))
	}
	for _, t := range open {
		t.lose(err)
	}
	close(c.done)
}

// deliver feeds the turn first, because it decides whether a repeated diff is
// relayed, then the handler, and only then ends the turn: whoever waits for the
// turn may rely on the handler having seen everything.
func (c *Client) deliver(n Notification) {
	t := c.turnOf(&n)
	if t != nil {
		n.Relay = t.observe(&n) && n.Relay
	}
	c.opt.OnNotification(n)
	if t != nil && t.isOver() {
		// Forgotten first: whoever waits may start the thread's next turn at once.
		c.forget(t)
		t.finish()
	}
}

// deliverRequest hands a request to the handler. What nobody can decide on is
// refused right here: Codex reads its stdin whether or not its stdout is read, so
// the write does not wait for this goroutine.
func (c *Client) deliverRequest(r *ServerRequest) {
	if c.opt.OnServerRequest != nil && r.Kind != RequestUnknown {
		c.opt.OnServerRequest(r)
		return
	}
	if err := r.Decline(context.Background()); err != nil {
		c.opt.Logger.Debug("codex request not declined", slog.String("method", r.Method), slog.Any("error", err))
	}
}

// turnOf finds the tracked turn a notification belongs to. A review announces
// turn/started under another id and names the tracked one as its root.
func (c *Client) turnOf(n *Notification) *Turn {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.turns[n.TurnID]; t != nil {
		return t
	}
	return c.turns[n.rootTurnID]
}

func (c *Client) forget(t *Turn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.turns, t.id)
}
