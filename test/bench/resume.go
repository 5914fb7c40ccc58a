package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	resumeEvents = 10_000
	// logBatch is how many events a document of the log has: about as many as
	// Codex says in 25 ms while it works.
	logBatch      = 4
	resumeHalf    = 5_000
	resumeRuns    = 9
	resumeLimitMS = 200
	// resumeBuffer is the read buffer of the clients.
	resumeBuffer = 64 << 10
)

// measureResume takes how long a client that lost its connection needs, from
// the dial, to the last event of a job of 10,000: by turns over WebSocket and
// SSE, with nothing seen and with half of it.
func measureResume(ctx context.Context, b *bench) (_ []figure, err error) {
	g, err := b.startEdge(ctx, "resume")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	if err := g.say(fmt.Sprintf("finished %d %d", resumeEvents, logBatch)); err != nil {
		return nil, err
	}
	var jobID string
	if err := answer(ctx, g, &jobID); err != nil {
		return nil, err
	}
	const last = resumeEvents + 3 // queued, started and completed
	took := map[string]times{}
	for i := range resumeRuns + 1 {
		for _, after := range []int64{0, resumeHalf} {
			for name, run := range map[string]func(context.Context, *endpoint, string, int64) (int64, error){"ws": resumeSocket, "sse": resumeSSE} {
				begin := time.Now()
				got, err := run(ctx, &g.endpoint, jobID, after)
				if err == nil && got != last {
					err = fmt.Errorf("the last event was %d, not %d", got, last)
				}
				if err != nil {
					return nil, fmt.Errorf("%s after %d: %w", name, after, err)
				}
				if i > 0 { // the first warms up
					key := name + strconv.FormatInt(after, 10)
					took[key] = append(took[key], time.Since(begin))
				}
			}
		}
	}
	var figures []figure
	for _, name := range []string{"ws", "sse"} {
		whole, half := took[name+"0"], took[name+strconv.Itoa(resumeHalf)]
		figures = append(figures, atMost(resumeLimitMS, "resume_"+name, millis(whole.median()), "ms", len(whole), map[string]any{
			"events": last, "all": whole.spread(), "from_the_middle": half.spread(),
		}))
	}
	return figures, nil
}

// resumeSocket reads a job's events to the end and returns the last seq.
func resumeSocket(ctx context.Context, e *endpoint, jobID string, after int64) (last int64, err error) {
	c, err := dialLean(ctx, e, resumeBuffer)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	if err := c.subscribe(jobID, after); err != nil {
		return 0, err
	}
	for {
		m, err := c.next()
		if err != nil {
			return last, err
		}
		seq, ok := seqOf(m)
		switch {
		case !ok:
			return last, nil // job.subscription_closed
		case seq != after+1:
			return last, fmt.Errorf("event %d after %d", seq, after)
		}
		after, last = seq, seq
	}
}

// resumeSSE is resumeSocket over SSE.
func resumeSSE(ctx context.Context, e *endpoint, jobID string, after int64) (last int64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/v1/jobs/%s/events?after=%d", e.URL, jobID, after), http.NoBody)
	if err != nil {
		return 0, err
	}
	req.Header.Set("X-Api-Key", e.key)
	req.Header.Set("Accept", "text/event-stream")
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, resumeBuffer), maxMessage)
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
			if last, err = strconv.ParseInt(text, 10, 64); err != nil {
				return 0, err
			}
		}
	}
	return last, lines.Err()
}
