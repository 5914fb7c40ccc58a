package watch

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// Transports are the names of the ways to follow a job.
var Transports = []string{"websocket", "sse", "ndjson", "long_poll", "job_events"}

// read follows a job after one seq over one connection, or by polling, and hands
// over each event. nil: the gateway says that the log has ended.
type read func(ctx context.Context, g *Gateway, jobID string, after int64, fn func(Event)) error

var reads = map[string]read{
	"websocket":  readSocket,
	"sse":        readSSE,
	"ndjson":     readNDJSON,
	"long_poll":  readPoll,
	"job_events": readPages,
}

var (
	errCut     = errors.New("watch: the stream ended before the log")
	errMisread = errors.New("watch: the gateway contradicts itself")
)

// open asks for a job's events in one form. A nil body: there is nothing left.
func (g *Gateway) open(ctx context.Context, jobID, query, accept, lastID string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.pick()+"/v1/jobs/"+jobID+"/events"+query, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("watch: %w", err)
	}
	req.Header.Set("X-Api-Key", g.Key)
	req.Header.Set("Accept", accept)
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	resp, err := g.HTTP.Do(req)
	if err != nil {
		return nil, fmt.Errorf("watch: %w", err)
	}
	switch resp.StatusCode {
	case http.StatusOK:
		return resp.Body, nil
	case http.StatusNoContent:
		return nil, resp.Body.Close()
	default:
		return nil, errors.Join(&StatusError{Status: resp.StatusCode}, resp.Body.Close())
	}
}

// readSSE resumes as a browser does. The stream just ends after the terminal
// event; what comes after it would be read too.
func readSSE(ctx context.Context, g *Gateway, jobID string, after int64, fn func(Event)) error {
	lastID := ""
	if after > 0 {
		lastID = strconv.FormatInt(after, 10)
	}
	body, err := g.open(ctx, jobID, "", "text/event-stream", lastID)
	if err != nil || body == nil {
		return err
	}
	defer body.Close()
	id, ended := "", false
	err = lines(body, func(line string) error {
		if rest, ok := strings.CutPrefix(line, "id: "); ok {
			id = rest
		}
		rest, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			return nil
		}
		e, err := parse([]byte(rest))
		if err != nil {
			return err
		}
		if id != strconv.FormatInt(e.Seq, 10) {
			return fmt.Errorf("%w: event %d has the id %s", errMisread, e.Seq, id)
		}
		ended = Terminal(e.Type)
		fn(e)
		return nil
	})
	return over(err, ended)
}

func readNDJSON(ctx context.Context, g *Gateway, jobID string, after int64, fn func(Event)) error {
	body, err := g.open(ctx, jobID, fmt.Sprintf("?after=%d", after), "application/x-ndjson", "")
	if err != nil || body == nil {
		return err
	}
	defer body.Close()
	ended, some := false, false
	err = lines(body, func(line string) error {
		e, err := parse([]byte(line))
		if err == nil {
			ended, some = Terminal(e.Type), true
			fn(e)
		}
		return err
	})
	// A log that had ended before has no line and is no cut; a stream that the
	// edge ended because it leaves looks the same, so the caller asks again.
	return over(err, ended || !some)
}

// over is how a stream ended.
func over(err error, ended bool) error {
	if err == nil && !ended {
		return errCut
	}
	return err
}

// lines reads lines of any length; the end of the stream is no error.
func lines(r io.Reader, fn func(line string) error) error {
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadString('\n')
		switch {
		case errors.Is(err, io.EOF) && line == "":
			return nil
		case err != nil:
			return fmt.Errorf("watch: %w", err) // half a line is no event
		}
		if err := fn(strings.TrimSuffix(line, "\n")); err != nil {
			return err
		}
	}
}

// readPoll polls until the answer says done.
func readPoll(ctx context.Context, g *Gateway, jobID string, after int64, fn func(Event)) error {
	for {
		body, err := g.open(ctx, jobID, fmt.Sprintf("?after=%d&wait=10", after), "application/json", "")
		if err != nil || body == nil {
			return err
		}
		var p page
		err = json.NewDecoder(body).Decode(&p)
		_ = body.Close()
		if err != nil {
			return fmt.Errorf("watch: %w", err)
		}
		if done, err := tell(&p, &after, fn); done || err != nil {
			return err
		}
	}
}

// pagesPause is between two questions about a log that has nothing new.
const pagesPause = 400 * time.Millisecond

// readPages asks for small pages.
func readPages(ctx context.Context, g *Gateway, jobID string, after int64, fn func(Event)) error {
	for {
		var p page
		if err := g.Call(ctx, "job.events", eventsParams{JobID: jobID, After: after, Limit: 37}, &p); err != nil {
			return err
		}
		if done, err := tell(&p, &after, fn); done || err != nil {
			return err
		}
		if len(p.Events) == 0 && !pause(ctx, pagesPause) {
			return context.Cause(ctx)
		}
	}
}

// tell hands over a page and moves on.
func tell(p *page, after *int64, fn func(Event)) (done bool, err error) {
	last := *after
	for _, raw := range p.Events {
		e, err := parse(raw)
		if err != nil {
			return false, err
		}
		last = e.Seq
		fn(e)
	}
	if p.Next != last {
		return false, fmt.Errorf("%w: next is %d after %d", errMisread, p.Next, last)
	}
	*after = last
	return p.Done, nil
}

type subscribeParams struct {
	JobID string `json:"job_id"`
	After int64  `json:"after"`
}

// readSocket subscribes on a WebSocket.
func readSocket(ctx context.Context, g *Gateway, jobID string, after int64, fn func(Event)) error {
	conn, resp, err := websocket.Dial(ctx, g.pick()+"/ws", &websocket.DialOptions{
		HTTPClient: g.HTTP, HTTPHeader: http.Header{"X-Api-Key": {g.Key}},
	})
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	if resp.Body != nil {
		_ = resp.Body.Close()
	}
	defer func() { _ = conn.CloseNow() }()
	conn.SetReadLimit(maxAnswer)
	call, err := json.Marshal(rpcCall{Version: "2.0", ID: 1, Method: "job.subscribe", Params: subscribeParams{JobID: jobID, After: after}})
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	if err := conn.Write(ctx, websocket.MessageText, call); err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	for {
		_, raw, err := conn.Read(ctx)
		if err != nil {
			return fmt.Errorf("watch: %w", err)
		}
		var m rpcAnswer
		if err := json.Unmarshal(raw, &m); err != nil {
			return fmt.Errorf("watch: %w", err)
		}
		switch {
		case m.Error != nil:
			return m.Error
		case m.Method == "job.event":
			e, err := parse(m.Params)
			if err != nil {
				return err
			}
			fn(e)
		case m.Method == "job.subscription_closed":
			var p struct {
				Reason string `json:"reason"`
			}
			if err := json.Unmarshal(m.Params, &p); err != nil || p.Reason != "finished" {
				return fmt.Errorf("%w: subscription closed: %s", errCut, p.Reason)
			}
			return nil
		}
	}
}
