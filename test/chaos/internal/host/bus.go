package host

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/bus"
	"codexgateway.dev/test/chaos/internal/wire"
)

// publish takes a message and lets the dice decide what becomes of it. The
// publisher is always told that it was taken.
func (h *Host) publish(ctx context.Context, r *wire.PublishRequest) wire.Reply {
	f := h.dice.message()
	var err error
	if !f.lost {
		err = h.publishAfter(ctx, f.delay, r.Topic, r.Event.Event())
	}
	if f.doubled {
		err = errors.Join(err, h.publishAfter(ctx, f.delayTwin, r.Topic, r.Event.Event()))
	}
	return wire.Reply{Err: wire.FromError(err)}
}

func (h *Host) publishAfter(ctx context.Context, delay time.Duration, topic string, ev events.Event) error {
	if delay == 0 {
		return h.opt.Bus.Publish(ctx, topic, ev)
	}
	h.later.Go(func() {
		if !pause(h.life, delay) {
			return
		}
		if err := h.opt.Bus.Publish(h.life, topic, ev); err != nil {
			h.opt.Logger.WarnContext(h.life, "delayed message not published", slog.Any("error", err))
		}
	})
	return nil
}

// receiver is one open PathReceive.
type receiver struct {
	// stop ends the subscription in an orderly way.
	stop context.CancelFunc
	// conn ends with the caller's connection.
	conn context.Context //nolint:containedctx // the receiver lives as long as its connection

	mu   sync.Mutex // guards out and what follows
	out  *gob.Encoder
	push func() error
	next uint64
	open map[uint64]chan bus.Verdict
}

// receive opens a subscription for as long as the caller's connection lives.
func (h *Host) receive(w http.ResponseWriter, r *http.Request) {
	var in wire.ReceiveRequest
	if err := gob.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	ctx, stop := context.WithCancel(r.Context())
	defer stop()
	rcv := &receiver{
		stop: stop, conn: r.Context(), out: gob.NewEncoder(w), push: http.NewResponseController(w).Flush,
		open: map[uint64]chan bus.Verdict{},
	}
	h.mu.Lock()
	h.receivers[in.Receiver] = rcv
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		delete(h.receivers, in.Receiver)
		h.mu.Unlock()
	}()
	ready, over := make(chan struct{}), make(chan struct{})
	var told sync.WaitGroup
	told.Go(func() {
		select {
		case <-ready:
			rcv.send(wire.Frame{Ready: true})
		case <-over:
		}
	})
	err := h.opt.Bus.Receive(ctx, in.Subscription, bus.ReceiveOptions{MaxOutstanding: in.MaxOutstanding, Ready: ready}, rcv.handle)
	close(over)
	told.Wait()
	if err != nil {
		rcv.send(wire.Frame{Err: wire.FromError(err)})
	}
}

// handle hands a message to the caller and waits for its answer. Without a
// connection nobody will answer: the message goes to another.
func (r *receiver) handle(ctx context.Context, d *bus.Delivery) bus.Outcome {
	answer := make(chan bus.Verdict, 1)
	r.mu.Lock()
	r.next++
	id := r.next
	r.open[id] = answer
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.open, id)
		r.mu.Unlock()
	}()
	sent := r.send(wire.Frame{Delivery: &wire.Delivery{
		ID: id, Event: wire.FromEvent(&d.Event), Attempt: d.Attempt, PublishedAt: d.PublishedAt,
	}})
	if !sent {
		return bus.Outcome{Verdict: bus.Retry}
	}
	ended := ctx.Done()
	for {
		select {
		case v := <-answer:
			return bus.Outcome{Verdict: v}
		case <-r.conn.Done():
			return bus.Outcome{Verdict: bus.Retry}
		case <-ended:
			ended = nil
			if errors.Is(context.Cause(ctx), bus.ErrLeaseLost) {
				r.send(wire.Frame{Lost: id})
				return bus.Outcome{Verdict: bus.Retry}
			}
			// The receiver stops; what is under way may still be answered.
		}
	}
}

// send writes one frame; false: the caller is gone.
func (r *receiver) send(f wire.Frame) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.Encode(&f) == nil && r.push() == nil
}

func (h *Host) receiver(name string) (*receiver, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r := h.receivers[name]; r != nil {
		return r, nil
	}
	return nil, fmt.Errorf("host: no receiver %s: %w", name, bus.ErrUnavailable)
}

// settle answers a delivery; one that is no longer the caller's is forgotten.
func (h *Host) settle(_ context.Context, in *wire.SettleRequest) wire.Reply {
	r, err := h.receiver(in.Receiver)
	if err != nil {
		return wire.Reply{Err: wire.FromError(err)}
	}
	r.mu.Lock()
	answer := r.open[in.ID]
	r.mu.Unlock()
	if answer != nil {
		select {
		case answer <- in.Verdict:
		default: // answered already
		}
	}
	return wire.Reply{}
}

func (h *Host) stop(_ context.Context, in *wire.StopRequest) wire.Reply {
	r, err := h.receiver(in.Receiver)
	if err == nil {
		r.stop()
	}
	return wire.Reply{Err: wire.FromError(err)}
}
