package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/coder/websocket"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/jsonrpc"
)

// socket is an open WebSocket that does one thing at a time. Package client
// opens a connection for each watch; here it must be open already.
type socket struct {
	conn *websocket.Conn
	last int64
}

// message is what a gateway sends, as far as it matters here.
type message struct {
	ID     json.RawMessage `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  json.RawMessage `json:"error"`
	Method string          `json:"method"`
	Params apiv1.Event     `json:"params"`
}

// maxMessage bounds a message; none here comes near.
const maxMessage = 16 << 20

func dial(ctx context.Context, e *endpoint) (*socket, error) {
	conn, _, err := websocket.Dial(ctx, e.URL+"/ws", &websocket.DialOptions{ //nolint:bodyclose // the library closes it
		HTTPHeader: http.Header{"X-Api-Key": {e.key}},
	})
	if err != nil {
		return nil, fmt.Errorf("open WebSocket: %w", err)
	}
	conn.SetReadLimit(maxMessage)
	return &socket{conn: conn}, nil
}

func (s *socket) close() error { return s.conn.CloseNow() }

// receive is the next message and when it was there, before it was decoded.
func (s *socket) receive(ctx context.Context) (m message, at time.Time, err error) {
	_, raw, err := s.conn.Read(ctx)
	at = time.Now()
	if err != nil {
		return m, at, err
	}
	return m, at, json.Unmarshal(raw, &m)
}

// call calls a method.
func (s *socket) call(ctx context.Context, method string, params, result any) error {
	m, err := s.ask(ctx, method, params)
	switch {
	case err != nil:
		return err
	case m.Error != nil:
		return fmt.Errorf("%s: %s", method, m.Error)
	case result == nil:
		return nil
	}
	return json.Unmarshal(m.Result, result)
}

// ask calls a method and returns the answer, an error too. Events that come
// before it are dropped: nobody is subscribed then.
func (s *socket) ask(ctx context.Context, method string, params any) (message, error) {
	s.last++
	frame, err := jsonrpc.EncodeCall(jsonrpc.IntID(s.last), method, params)
	if err != nil {
		return message{}, err
	}
	if err := s.conn.Write(ctx, websocket.MessageText, frame); err != nil {
		return message{}, err
	}
	for {
		m, _, err := s.receive(ctx)
		switch {
		case err != nil:
			return m, fmt.Errorf("%s: %w", method, err)
		case m.Method != "":
			continue
		case string(m.ID) != string(jsonrpc.IntID(s.last)):
			return m, errors.New(method + ": the answer to another call")
		}
		return m, nil
	}
}

// event is the next event of the one subscription.
func (s *socket) event(ctx context.Context) (apiv1.Event, time.Time, error) {
	for {
		m, at, err := s.receive(ctx)
		if err != nil || m.Method == apiv1.NotifyJobEvent {
			return m.Params, at, err
		}
	}
}
