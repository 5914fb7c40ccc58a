package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/eventlog"
	"codexgateway.dev/pkg/mockmodel"
)

const (
	// helloPairs is how often each side runs; helloWarm more are not counted.
	helloPairs = 20
	helloWarm  = 2
	// helloLimit ends one run that hangs.
	helloLimit = 60 * time.Second
	helloRatio = 0.6
)

// hello is one job through the gateway as its client sees it.
type hello struct {
	// acked, running and first are until the answer to the submit, job.started and
	// the first event of Codex itself.
	acked, running, first, total time.Duration
}

// measureHello compares a job through the gateway with a codex exec of the same
// prompt. Both talk to one mock model in this process, and run by turns; who
// begins a pair alternates. After each run it waits until the gateway has
// refilled its pool, because that start would otherwise slow whoever is next.
func measureHello(ctx context.Context, b *bench) (_ []figure, err error) {
	model, err := mockmodel.Start(ctx, mockmodel.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, model.Stop(context.WithoutCancel(ctx))) }()
	exec, err := newNative(b, model.BaseURL())
	if err != nil {
		return nil, err
	}
	g, err := b.up(ctx, filepath.Join(b.dir, "hello"), "127.0.0.1:0", []string{
		"CODEXGW_MODEL_BASE_URL=" + model.BaseURL(), "CODEXGW_SECRET_OPENAI_API_KEY=mock",
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	s, err := dial(ctx, &g.endpoint)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()

	var viaGateway, viaExec, execTurn, acked, first times
	runs := []func() error{
		func() error {
			h, err := s.hello(ctx)
			viaGateway, acked, first = append(viaGateway, h.total), append(acked, h.acked), append(first, h.first)
			return err
		},
		func() error {
			total, turn, err := exec.run(ctx)
			viaExec, execTurn = append(viaExec, total), append(execTurn, turn)
			return err
		},
	}
	var waits times
	for pair := range helloPairs + helloWarm {
		if pair == helloWarm {
			viaGateway, viaExec, execTurn, acked, first, waits = nil, nil, nil, nil, nil, nil
		}
		for i := range runs {
			waited, err := settle(ctx, g.cmd.Process.Pid)
			if err != nil {
				return nil, err
			}
			waits = append(waits, waited)
			if err := runs[(pair+i)%len(runs)](); err != nil {
				return nil, err
			}
		}
	}
	ratio := float64(viaGateway.median()) / float64(viaExec.median())
	return []figure{
		atMost(helloRatio, "hello_ratio", ratio, "ratio", helloPairs, map[string]any{
			"gateway": viaGateway.spread(), "exec": viaExec.spread(),
			"exec_until_turn_completed": execTurn.spread(), "settle": waits.spread(),
		}),
		informative("hello_first_codex_event", millis(first.median()), "ms", helloPairs, map[string]any{
			"first_codex_event": first.spread(), "submit_ack": acked.spread(),
		}),
	}, nil
}

// hello submits the prompt and watches the job to its end on the same socket.
func (s *socket) hello(ctx context.Context) (h hello, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, helloLimit, fmt.Errorf("job not finished within %s", helloLimit))
	defer cancel()
	begin := time.Now()
	var job apiv1.Accepted
	if err := s.call(ctx, apiv1.MethodConversationPrompt, apiv1.PromptParams{Prompt: prompt}, &job); err != nil {
		return h, err
	}
	h.acked = time.Since(begin)
	if err := s.call(ctx, apiv1.MethodJobSubscribe, apiv1.SubscribeParams{JobID: job.JobID}, nil); err != nil {
		return h, err
	}
	for {
		ev, at, err := s.event(ctx)
		if err != nil {
			return h, err
		}
		if ev.Type == eventlog.TypeStarted && h.running == 0 {
			h.running = at.Sub(begin)
		}
		if ev.Type == eventlog.TypeCodex && h.first == 0 {
			h.first = at.Sub(begin)
		}
		if !eventlog.Terminal(ev.Type) {
			continue
		}
		h.total = at.Sub(begin)
		if ev.Type != eventlog.TypeCompleted {
			return h, fmt.Errorf("the job ended as %s: %s", ev.Type, ev.Data)
		}
		return h, nil
	}
}
