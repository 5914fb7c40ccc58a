package watch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
)

// maxAnswer bounds one answer or message, in bytes.
const maxAnswer = 64 << 20

// Gateway is where the edges are. It is safe for concurrent use.
type Gateway struct {
	// URLs are the edges': "http://127.0.0.1:12345".
	URLs []string
	Key  string
	HTTP *http.Client
}

// pick chooses an edge.
func (g *Gateway) pick() string { return g.URLs[rand.IntN(len(g.URLs))] }

// RPCError is an error that a method answered.
type RPCError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Data    struct {
		Code      string `json:"code"`
		Retryable bool   `json:"retryable"`
	} `json:"data"`
}

func (e *RPCError) Error() string {
	return fmt.Sprintf("%d %s: %s", e.Code, e.Data.Code, e.Message)
}

// StatusError is an HTTP status that is no answer.
type StatusError struct{ Status int }

func (e *StatusError) Error() string { return "status " + strconv.Itoa(e.Status) }

// Final reports whether an error is an answer that no other try changes.
func Final(err error) bool {
	var rpc *RPCError
	return errors.As(err, &rpc) && !rpc.Data.Retryable && rpc.Data.Code != "internal"
}

type rpcCall struct {
	Version string `json:"jsonrpc"`
	ID      int    `json:"id"`
	Method  string `json:"method"`
	Params  any    `json:"params"`
}

type rpcAnswer struct {
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *RPCError       `json:"error"`
}

// Call calls a JSON-RPC method of any edge. Its error is an *RPCError where the
// gateway answered one; any other error leaves open whether the call was made.
func (g *Gateway) Call(ctx context.Context, method string, params, result any) error {
	body, err := json.Marshal(rpcCall{Version: "2.0", ID: 1, Method: method, Params: params})
	if err != nil {
		return fmt.Errorf("watch: encode: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.pick()+"/jsonrpc", bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Api-Key", g.Key)
	resp, err := g.HTTP.Do(req)
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	var out rpcAnswer
	if err := json.Unmarshal(raw, &out); err != nil || out.Error == nil && out.Result == nil {
		return &StatusError{Status: resp.StatusCode}
	}
	if out.Error != nil {
		return out.Error
	}
	if err := json.Unmarshal(out.Result, result); err != nil {
		return fmt.Errorf("watch: decode the result of %s: %w", method, err)
	}
	return nil
}

// page is the answer of job.events and of a long poll.
type page struct {
	Events []json.RawMessage `json:"events"`
	Next   int64             `json:"next"`
	Done   bool              `json:"done"`
}

type eventsParams struct {
	JobID string `json:"job_id"`
	After int64  `json:"after"`
	Limit int    `json:"limit"`
}

// Log reads a job's whole log with job.events. done says that the gateway calls
// it ended.
func (g *Gateway) Log(ctx context.Context, jobID string) (events []Event, done bool, err error) {
	var after int64
	for {
		var p page
		if err := g.Call(ctx, "job.events", eventsParams{JobID: jobID, After: after, Limit: 1000}, &p); err != nil {
			return nil, false, err
		}
		for _, raw := range p.Events {
			e, err := parse(raw)
			if err != nil {
				return nil, false, err
			}
			events = append(events, e)
		}
		if p.Done || len(p.Events) == 0 {
			return events, p.Done, nil
		}
		after = p.Next
	}
}
