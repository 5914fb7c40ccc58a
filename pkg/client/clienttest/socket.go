package clienttest

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/coder/websocket"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/eventlog"
	"codexgateway.dev/pkg/jsonrpc"
)

// Connection says how one WebSocket connection misbehaves.
type Connection struct {
	// Refuse answers the handshake with this error instead.
	Refuse error
	// RefuseSubscribe answers job.subscribe with this error.
	RefuseSubscribe error
	// Events is how many events are sent before the connection ends; 0 with a
	// Close or Drop means none, otherwise all.
	Events int
	// Close is the close code then sent, with Reason.
	Close  int
	Reason string
	// Drop ends the connection without a word instead.
	Drop bool
	// Skip leaves out the event of this seq; Repeat sends it twice.
	Skip, Repeat int64
	// ClosedReason ends the subscription with this reason instead of events.
	ClosedReason string
	// Hang keeps the connection open and silent after Events events, until the
	// client leaves.
	Hang bool
}

func (c *Connection) ends() bool { return c.Close != 0 || c.Drop || c.Hang }

func (g *Gateway) serveSocket(w http.ResponseWriter, r *http.Request) {
	if !g.authorized(w, r) {
		return
	}
	var script Connection
	g.mu.Lock()
	if g.connections < len(g.Connections) {
		script = g.Connections[g.connections]
	}
	g.connections++
	g.open.Add(1)
	g.mu.Unlock()
	defer g.open.Done()
	if script.Refuse != nil {
		e := errs.From(script.Refuse)
		resp := jsonrpc.Response{Error: jsonrpc.Render(e, "req_test")}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(errs.Lookup(e.Code).HTTP)
		_, _ = w.Write(resp.Encode())
		return
	}
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer conn.CloseNow() //nolint:errcheck // the connection is gone either way
	_, frame, err := conn.Read(r.Context())
	if err != nil {
		return
	}
	g.subscription(r.Context(), conn, frame, &script)
}

// subscription serves the one job.subscribe of a connection.
func (g *Gateway) subscription(ctx context.Context, conn *websocket.Conn, frame []byte, script *Connection) {
	messages, err := jsonrpc.DecodeMessages(frame)
	if err != nil || len(messages) != 1 || messages[0].Notification == nil {
		return
	}
	call := messages[0].Notification // on this side of the wire a call
	var params apiv1.SubscribeParams
	if json.Unmarshal(call.Params, &params) != nil {
		return
	}
	g.mu.Lock()
	g.subscribed = append(g.subscribed, params)
	g.mu.Unlock()

	j, err := g.job(params.JobID)
	if script.RefuseSubscribe != nil {
		err = script.RefuseSubscribe
	}
	if err != nil {
		resp := jsonrpc.Response{ID: call.ID, Error: jsonrpc.Render(err, "req_test")}
		_ = conn.Write(ctx, websocket.MessageText, resp.Encode())
		_, _, _ = conn.Read(ctx) // the socket stays open
		return
	}
	const subscriptionID = "sub_test"
	result, err := json.Marshal(apiv1.SubscribeResult{SubscriptionID: subscriptionID, JobID: params.JobID, After: params.After})
	if err != nil {
		return
	}
	resp := jsonrpc.Response{ID: call.ID, Result: result}
	if conn.Write(ctx, websocket.MessageText, resp.Encode()) != nil {
		return
	}
	if script.ClosedReason != "" {
		notify(ctx, conn, apiv1.NotifySubscriptionClosed, apiv1.SubscriptionClosed{
			SubscriptionID: subscriptionID, JobID: params.JobID, Reason: script.ClosedReason, LastSeq: j.LastSeq,
		})
		_, _, _ = conn.Read(ctx)
		return
	}
	g.send(ctx, conn, script, subscriptionID, params.After, &j)
}

// send sends the events as the script says.
func (g *Gateway) send(ctx context.Context, conn *websocket.Conn, script *Connection, subscriptionID string, after int64, j *Job) {
	sent := 0
	for i := range j.Events {
		e := j.Events[i]
		if e.Seq <= after || e.Seq == script.Skip {
			continue
		}
		if script.ends() && sent == script.Events {
			break
		}
		times := 1
		if e.Seq == script.Repeat {
			times = 2
		}
		for range times {
			notify(ctx, conn, apiv1.NotifyJobEvent, apiv1.JobEventNotification{SubscriptionID: subscriptionID, Event: e})
		}
		sent++
		if eventlog.Terminal(e.Type) {
			notify(ctx, conn, apiv1.NotifySubscriptionClosed, apiv1.SubscriptionClosed{
				SubscriptionID: subscriptionID, JobID: j.JobID, Reason: "finished", LastSeq: e.Seq,
			})
		}
	}
	if sent == 0 && after >= j.LastSeq {
		notify(ctx, conn, apiv1.NotifySubscriptionClosed, apiv1.SubscriptionClosed{
			SubscriptionID: subscriptionID, JobID: j.JobID, Reason: "finished", LastSeq: j.LastSeq,
		})
	}
	switch {
	case script.Drop:
		_ = conn.CloseNow()
	case script.Close != 0:
		_ = conn.Close(websocket.StatusCode(script.Close), script.Reason)
	default:
		_, _, _ = conn.Read(ctx) // until the client leaves
	}
}

func notify(ctx context.Context, conn *websocket.Conn, method string, params any) {
	frame, err := jsonrpc.EncodeNotification(method, params)
	if err != nil {
		return
	}
	_ = conn.Write(ctx, websocket.MessageText, frame)
}
