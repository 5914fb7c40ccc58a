package main

import (
	"context"
	"errors"
	"time"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/jsonrpc"
)

const (
	submitRate    = 200
	submitSeconds = 15
	submitP50MS   = 5
	submitP99MS   = 25
	// submitWarm opens the connections; it is not counted.
	submitWarm = time.Second
	// submitConns share the rate: 32 take turns, each every 160 ms.
	submitConns = 32
)

// measureSubmit submits at a fixed rate whatever the gateway does, and takes
// each latency from the moment the submit was due: one that had to wait because
// an earlier one was slow counts with its wait.
func measureSubmit(ctx context.Context, b *bench) (_ []figure, err error) {
	g, err := b.startEdge(ctx, "submit")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	l, err := newSubmits(g, submitConns)
	if err != nil {
		return nil, err
	}
	if _, err := l.open(ctx, submitRate, submitWarm); err != nil {
		return nil, err
	}
	total, err := l.open(ctx, submitRate, submitSeconds*time.Second)
	if err != nil {
		return nil, err
	}
	detail := func() map[string]any {
		d := total.spread()
		d["rate_per_s"] = submitRate
		return d
	}
	return []figure{
		atMost(submitP50MS, "submit_ack_p50", millis(total.at(0.5)), "ms", len(total), detail()),
		atMost(submitP99MS, "submit_ack_p99", millis(total.at(0.99)), "ms", len(total), detail()),
	}, nil
}

// newSubmits is a load of submits, each of which must be answered with a job.
func newSubmits(g *gateway, conns int) (*load, error) {
	body, err := jsonrpc.EncodeCall(jsonrpc.IntID(1), apiv1.MethodConversationPrompt, apiv1.PromptParams{Prompt: prompt})
	if err != nil {
		return nil, err
	}
	return newLoad(g, body, `"job_id":"job_`, conns)
}
