package main

import (
	"context"
	"errors"
	"sync"
)

const (
	idleSockets   = 2000
	idleSocketKiB = 20
	// warmSockets are opened and closed first: code that never ran and pools that
	// never grew are no cost of a connection.
	warmSockets = 200
)

// crowd is many open WebSockets of one gateway.
type crowd struct {
	conns []*lean
	done  sync.WaitGroup
}

// open adds n connections; each is read until it ends.
func (c *crowd) open(ctx context.Context, e *endpoint, n int) error {
	for range n {
		l, err := dialLean(ctx, e, 512)
		if err != nil {
			return err
		}
		c.conns = append(c.conns, l)
	}
	return nil
}

// subscribe subscribes all; from then on they are read.
func (c *crowd) subscribe(jobID string) error {
	for _, l := range c.conns {
		if err := l.subscribe(jobID, 2); err != nil {
			return err
		}
	}
	for _, l := range c.conns {
		c.done.Go(func() {
			for _, err := l.next(); err == nil; _, err = l.next() {
			}
		})
	}
	return nil
}

func (c *crowd) close() error {
	errs := make([]error, 0, len(c.conns))
	for _, l := range c.conns {
		errs = append(errs, l.close())
	}
	c.done.Wait()
	return errors.Join(errs...)
}

// measureIdleSockets takes what an open WebSocket without traffic costs in
// memory: without a subscription, and with one to a quiet job.
func measureIdleSockets(ctx context.Context, b *bench) (_ []figure, err error) {
	g, err := b.startEdge(ctx, "sockets")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	var jobID string
	if err := errors.Join(g.say("quiet"), answer(ctx, g, &jobID)); err != nil {
		return nil, err
	}
	var warm crowd
	err = warm.open(ctx, &g.endpoint, warmSockets)
	if err == nil {
		err = warm.subscribe(jobID)
	}
	if err := errors.Join(err, warm.close()); err != nil {
		return nil, err
	}
	look := func() (f footprint, err error) {
		return f, errors.Join(g.say("memory"), answer(ctx, g, &f))
	}
	before, err := look()
	if err != nil {
		return nil, err
	}
	var all crowd
	defer func() { err = errors.Join(err, all.close()) }()
	if err := all.open(ctx, &g.endpoint, idleSockets); err != nil {
		return nil, err
	}
	bare, err := look()
	if err != nil {
		return nil, err
	}
	if err := all.subscribe(jobID); err != nil {
		return nil, err
	}
	subscribed, err := look()
	if err != nil {
		return nil, err
	}
	of := func(name string, after footprint) figure {
		return atMost(idleSocketKiB, name, (after.RSS-before.RSS)/idleSockets, "KiB", idleSockets, after.per(idleSockets, before))
	}
	return []figure{of("idle_ws", bare), of("idle_ws_subscribed", subscribed)}, nil
}
