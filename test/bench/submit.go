package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/jsonrpc"
	"codexgateway.dev/pkg/wait"
)

const (
	submitRate    = 200
	submitSeconds = 15
	submitP50MS   = 5
	submitP99MS   = 25
	// submitWarm opens the connections; it is not counted.
	submitWarm = time.Second
	// submitConns bounds the connections kept open. Far fewer are used unless
	// the gateway falls behind.
	submitConns = 256
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
	body, err := jsonrpc.EncodeCall(jsonrpc.IntID(1), apiv1.MethodConversationPrompt, apiv1.PromptParams{Prompt: prompt})
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{MaxIdleConnsPerHost: submitConns}
	defer transport.CloseIdleConnections()
	load := &openLoop{url: g.URL + "/jsonrpc", key: g.key, body: body, client: &http.Client{Transport: transport, Timeout: 30 * time.Second}}
	if _, _, err := load.run(ctx, submitWarm); err != nil {
		return nil, err
	}
	total, late, err := load.run(ctx, submitSeconds*time.Second)
	if err != nil {
		return nil, err
	}
	detail := func() map[string]any {
		d := total.spread()
		d["rate_per_s"] = submitRate
		d["generator_late_p99_ms"] = millis(late.at(0.99))
		return d
	}
	return []figure{
		atMost(submitP50MS, "submit_ack_p50", millis(total.at(0.5)), "ms", len(total), detail()),
		atMost(submitP99MS, "submit_ack_p99", millis(total.at(0.99)), "ms", len(total), detail()),
	}, nil
}

// openLoop sends one request again and again.
type openLoop struct {
	url, key string
	body     []byte
	client   *http.Client
}

// run sends for a time and returns each request's latency since it was due, and
// how late it was sent, which is the fault of this process.
func (l *openLoop) run(ctx context.Context, d time.Duration) (total, late times, err error) {
	n := int(d.Seconds() * submitRate)
	total, late = make(times, n), make(times, n)
	failed := make([]error, n)
	var sent sync.WaitGroup
	begin := time.Now()
	for i := range n {
		due := begin.Add(time.Duration(i) * time.Second / submitRate)
		if !wait.For(ctx, time.Until(due)) {
			err = context.Cause(ctx)
			break
		}
		sent.Go(func() {
			late[i] = time.Since(due)
			failed[i] = l.send(ctx)
			total[i] = time.Since(due)
		})
	}
	sent.Wait()
	return total, late, errors.Join(err, errors.Join(failed...))
}

// send submits once and checks that a job was accepted.
func (l *openLoop) send(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.url, bytes.NewReader(l.body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Api-Key", l.key)
	resp, err := l.client.Do(req)
	if err != nil {
		return err
	}
	raw, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return err
	}
	var got struct {
		Result apiv1.Accepted `json:"result"`
	}
	if err := json.Unmarshal(raw, &got); err != nil || got.Result.JobID == "" {
		return fmt.Errorf("not accepted: %s %s", resp.Status, raw)
	}
	return nil
}
