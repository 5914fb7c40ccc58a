package remote

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/bus"
	"codexgateway.dev/test/chaos/internal/wire"
)

// settleTimeout bounds the answer to one delivery; without it the message comes
// again.
const settleTimeout = 5 * time.Second

// reopenMin and reopenMax bound the pause before a broken subscription is opened
// again.
const reopenMin, reopenMax = 20 * time.Millisecond, 200 * time.Millisecond

// Bus is the host's bus.
type Bus struct {
	host *Host
	life context.Context //nolint:containedctx // the life of the bus, not of a call
	end  context.CancelCauseFunc

	mu     sync.Mutex
	active sync.WaitGroup
}

var _ bus.Driver = (*Bus)(nil)

// Bus returns a driver of the host's bus. Closing it does not close the host.
func (h *Host) Bus() *Bus {
	b := &Bus{host: h}
	b.life, b.end = context.WithCancelCause(context.Background())
	return b
}

// Publish implements bus.Driver.
func (b *Bus) Publish(ctx context.Context, topic string, ev events.Event) error {
	if b.life.Err() != nil {
		return fmt.Errorf("remote: publish: %w", bus.ErrClosed)
	}
	var out wire.Reply
	if err := b.host.call(ctx, wire.PathPublish, wire.PublishRequest{Topic: topic, Event: wire.FromEvent(&ev)}, &out); err != nil {
		return errors.Join(bus.ErrUnavailable, err)
	}
	return out.Err.Err()
}

// Ping implements bus.Driver.
func (b *Bus) Ping(ctx context.Context) error {
	if err := b.host.Ping(ctx); err != nil {
		return errors.Join(bus.ErrUnavailable, err)
	}
	return nil
}

// Close implements bus.Driver.
func (b *Bus) Close() error {
	b.mu.Lock()
	b.end(bus.ErrClosed)
	b.mu.Unlock()
	b.active.Wait()
	return nil
}

// Receive implements bus.Driver. What is under way when a connection breaks
// still holds its slots, so that at most MaxOutstanding handlers run: of a
// shared subscription the free ones are opened again at once, one of an
// instance's own, whose handlers are short, waits for all.
func (b *Bus) Receive(ctx context.Context, subscription string, opt bus.ReceiveOptions, h bus.Handler) error {
	b.mu.Lock()
	if b.life.Err() != nil {
		b.mu.Unlock()
		return fmt.Errorf("remote: receive: %w", bus.ErrClosed)
	}
	b.active.Add(1)
	b.mu.Unlock()
	defer b.active.Done()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(b.life, func() { cancel(bus.ErrClosed) })() //nolint:contextcheck // the bus outlives the call

	r := &reception{bus: b, subscription: subscription, handler: h, ready: opt.Ready, slots: make(chan struct{}, opt.MaxOutstanding)}
	for range opt.MaxOutstanding {
		r.slots <- struct{}{}
	}
	least := 1
	if perInstance(subscription) {
		least = opt.MaxOutstanding
	}
	err := r.run(ctx, least)
	cancel(nil)
	r.handlers.Wait()
	if errors.Is(context.Cause(ctx), bus.ErrClosed) {
		return fmt.Errorf("remote: receive: %w", bus.ErrClosed)
	}
	return err
}

func perInstance(subscription string) bool {
	return slices.ContainsFunc(events.Subscriptions, func(s events.Subscription) bool {
		return s.Name == subscription && s.Mode == events.PerInstance
	})
}

// reception is one Receive.
type reception struct {
	bus          *Bus
	subscription string
	handler      bus.Handler
	ready        chan<- struct{}
	once         sync.Once
	slots        chan struct{} // free ones
	handlers     sync.WaitGroup
}

// run opens a stream for the slots that are free, and again when it broke.
func (r *reception) run(ctx context.Context, least int) error {
	for {
		n := 0
		for n < cap(r.slots) {
			if n < least {
				select {
				case <-r.slots:
					n++
					continue
				case <-ctx.Done():
					return nil
				}
			}
			select {
			case <-r.slots:
				n++
				continue
			default:
			}
			break
		}
		err := r.stream(ctx, n)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // whatever broke, the stop was asked for
		}
		for _, fatal := range []error{bus.ErrUnknownTopic, bus.ErrInvalid} {
			if errors.Is(err, fatal) {
				return err
			}
		}
		wait := time.NewTimer(reopenMin + rand.N(reopenMax-reopenMin))
		select {
		case <-wait.C:
		case <-ctx.Done():
		}
		wait.Stop()
	}
}

// stream reads one connection until it breaks, or until ctx has ended and the
// host has all answers.
func (r *reception) stream(ctx context.Context, slots int) error {
	s := &stream{reception: r, name: strconv.FormatUint(rand.Uint64(), 36), idle: slots, leases: map[uint64]context.CancelCauseFunc{}}
	defer s.broken()
	// The connection outlives ctx by the answers to what is under way.
	conn, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	defer context.AfterFunc(ctx, func() { s.askToStop(conn, cut) })()
	body, err := r.bus.host.send(conn, wire.PathReceive, wire.ReceiveRequest{Receiver: s.name, Subscription: r.subscription, MaxOutstanding: slots})
	if err != nil {
		return err
	}
	defer body.Close()
	in := gob.NewDecoder(body)
	for {
		var f wire.Frame
		if err := in.Decode(&f); err != nil {
			return fmt.Errorf("remote: receive: %w", err)
		}
		switch {
		case f.Err != nil:
			return f.Err.Err()
		case f.Ready:
			if r.ready != nil {
				r.once.Do(func() { close(r.ready) })
			}
		case f.Lost != 0:
			s.lose(f.Lost)
		case f.Delivery != nil:
			s.deliver(ctx, f.Delivery)
		}
	}
}

// stream is one connection of a subscription.
type stream struct {
	*reception

	name string

	mu sync.Mutex
	// idle are this stream's slots without a handler.
	idle   int
	over   bool
	leases map[uint64]context.CancelCauseFunc
}

// askToStop tells the host that this receiver ends; if it cannot be told, the
// connection is cut.
func (s *stream) askToStop(ctx context.Context, cut func()) {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	var out wire.Reply
	if err := s.bus.host.call(ctx, wire.PathStop, wire.StopRequest{Receiver: s.name}, &out); err != nil || out.Err != nil {
		cut()
	}
}

// deliver runs the handler of one message.
func (s *stream) deliver(ctx context.Context, d *wire.Delivery) {
	ctx, cancel := context.WithCancelCause(ctx)
	s.mu.Lock()
	s.idle--
	s.leases[d.ID] = cancel
	s.mu.Unlock()
	s.handlers.Go(func() {
		defer cancel(nil)
		out := s.handler(ctx, &bus.Delivery{Event: d.Event.Event(), Attempt: d.Attempt, PublishedAt: d.PublishedAt})
		verdict := out.Verdict
		if verdict != bus.Ack {
			verdict = bus.Retry
		}
		s.settle(d.ID, verdict) //nolint:contextcheck // the answer is owed also when the receiver has ended
	})
}

// settle frees the slot and answers, if the message is still this stream's.
func (s *stream) settle(id uint64, v bus.Verdict) {
	s.mu.Lock()
	_, ours := s.leases[id]
	delete(s.leases, id)
	over := s.over
	if !over {
		s.idle++
	}
	s.mu.Unlock()
	if over {
		s.slots <- struct{}{}
	}
	if !ours || over {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
	defer cancel()
	var out wire.Reply
	// Without an answer the host is gone, and the message with it.
	_ = s.bus.host.call(ctx, wire.PathSettle, wire.SettleRequest{Receiver: s.name, ID: id, Verdict: v}, &out)
}

// lose ends the handler of a message that is somebody else's by now.
func (s *stream) lose(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cancel, ok := s.leases[id]; ok {
		cancel(bus.ErrLeaseLost)
		delete(s.leases, id)
	}
}

// broken ends the stream: nothing is this stream's any more.
func (s *stream) broken() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	for range s.idle {
		s.slots <- struct{}{}
	}
	for _, cancel := range s.leases {
		cancel(bus.ErrLeaseLost)
	}
	clear(s.leases)
}
