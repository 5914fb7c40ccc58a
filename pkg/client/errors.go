package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"

	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/jsonrpc"
)

// ErrUnreachable means that no gateway answered: the connection failed, timed
// out or broke, or something that is no gateway answered at the URL.
var ErrUnreachable = errors.New("cannot reach the gateway")

// ErrChecksum means that a downloaded artifact is not what the gateway stored.
var ErrChecksum = errors.New("client: the artifact's sha256 does not match")

// Error is an error answer of the gateway.
type Error struct {
	// RPC is the JSON-RPC number, 0 when the answer was not JSON-RPC.
	RPC int
	// Code is the registered code, the thing to decide by.
	Code errs.Code
	// Message is the gateway's sentence for people.
	Message string
	// Field is the path of the offending parameter, if one is at fault.
	Field string
	// Retryable is true when the same call may succeed later.
	Retryable bool
	// RequestID names the request in the gateway's log.
	RequestID string
	// HTTPStatus is the status of the HTTP answer, 0 over a WebSocket.
	HTTPStatus int
	// RetryAfter is how long the gateway asks to wait, 0 when it does not say.
	RetryAfter time.Duration
}

// Error implements error.
func (e *Error) Error() string {
	s := string(e.Code) + ": " + e.Message
	if e.Field != "" {
		s += " (" + e.Field + ")"
	}
	if e.RequestID != "" {
		s += " [request " + e.RequestID + "]"
	}
	return s
}

// Is makes errors.Is match two errors of the same code.
func (e *Error) Is(target error) bool {
	var t *Error
	return errors.As(target, &t) && t.Code == e.Code
}

// SequenceError is a broken promise of the gateway: an event of a job's log is
// missing (Got > Want), came twice (Got < Want), or the log ended early (Got 0).
type SequenceError struct {
	JobID string
	// Want is the seq that was due, Got the one that came.
	Want, Got int64
}

// Error implements error.
func (e *SequenceError) Error() string {
	switch {
	case e.Got == 0:
		return fmt.Sprintf("client: %s: the stream ended before event %d", e.JobID, e.Want)
	case e.Got < e.Want:
		return fmt.Sprintf("client: %s: event %d came twice", e.JobID, e.Got)
	default:
		return fmt.Sprintf("client: %s: events %d to %d are missing", e.JobID, e.Want, e.Got-1)
	}
}

// CloseError means that the gateway closed the WebSocket with a code that says
// stop (4500 to 4999).
type CloseError struct {
	Code   errs.CloseCode
	Reason string
}

// Error implements error.
func (e *CloseError) Error() string {
	return fmt.Sprintf("client: the gateway closed the connection (%d) %s", e.Code, e.Reason)
}

// unreachable wraps a failure to get any answer.
func unreachable(op string, err error) error {
	return fmt.Errorf("%w: %s: %w", ErrUnreachable, op, err)
}

// fromRPC builds the Error of a JSON-RPC error object. status is 0 on a socket.
func fromRPC(e *jsonrpc.Error, status int, header http.Header) *Error {
	out := &Error{RPC: e.Code, Message: e.Message, HTTPStatus: status, RetryAfter: retryAfter(header)}
	known := e.Err()
	out.Code, out.Field = known.Code, known.Field
	out.Retryable = errs.Lookup(known.Code).Retryable
	var data struct {
		Retryable    *bool   `json:"retryable"`
		RequestID    string  `json:"request_id"`
		RetryAfterMS float64 `json:"retry_after_ms"`
	}
	if json.Unmarshal(e.Data, &data) == nil {
		out.RequestID = data.RequestID
		if data.Retryable != nil {
			out.Retryable = *data.Retryable
		}
		if d := millis(data.RetryAfterMS); d > 0 {
			out.RetryAfter = d
		}
	}
	return out
}

// maxRetryAfter bounds what a peer may make a client wait.
const maxRetryAfter = 5 * time.Minute

// millis is a peer's number of milliseconds, kept within sense.
func millis(ms float64) time.Duration {
	if !(ms > 0) { // also false for NaN
		return 0
	}
	return time.Duration(min(ms, float64(maxRetryAfter/time.Millisecond))) * time.Millisecond
}

// retryAfter reads Retry-After in seconds; the date form is ignored.
func retryAfter(header http.Header) time.Duration {
	s, err := strconv.ParseFloat(header.Get("Retry-After"), 64)
	if err != nil {
		return 0
	}
	return millis(s * 1000)
}

// maxErrorBody bounds what is read of an answer that is no result.
const maxErrorBody = 64 << 10

// fromHTTP builds the error of an answer that is not a JSON-RPC one: an Error
// for a problem document of the gateway (RFC 9457) or a JSON-RPC error, and
// ErrUnreachable for anything else, which is not the gateway's.
func fromHTTP(op string, resp *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	if err != nil {
		return unreachable(op, err)
	}
	return decodeHTTPError(op, resp.StatusCode, resp.Header, body)
}

func decodeHTTPError(op string, status int, header http.Header, body []byte) error {
	media, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil {
		media = ""
	}
	switch media {
	case "application/problem+json":
		var p struct {
			Title, Detail, Code, Field string
			RequestID                  string `json:"request_id"`
			Retryable                  *bool
		}
		if json.Unmarshal(body, &p) != nil {
			break
		}
		row := errs.Lookup(httpCode(errs.Code(p.Code), status))
		e := &Error{
			Code: row.Code, Message: p.Detail, Field: p.Field, Retryable: row.Retryable,
			RequestID: p.RequestID, HTTPStatus: status, RetryAfter: retryAfter(header),
		}
		if e.Message == "" {
			e.Message = p.Title
		}
		if p.Retryable != nil {
			e.Retryable = *p.Retryable
		}
		return e
	case "application/json":
		messages, err := jsonrpc.DecodeMessages(body)
		if err != nil || len(messages) != 1 || messages[0].Response == nil || messages[0].Response.Error == nil {
			break
		}
		return fromRPC(messages[0].Response.Error, status, header)
	}
	return unreachable(op, fmt.Errorf("the answer is HTTP %d %q, not a gateway's", status, media))
}

// httpCode is the code of a problem document: its own, or the one its status
// stands for.
func httpCode(code errs.Code, status int) errs.Code {
	if errs.Lookup(code).Code == code {
		return code
	}
	for _, row := range errs.Registry {
		if row.Scope == errs.Request && row.HTTP == status {
			return row.Code
		}
	}
	if status >= http.StatusInternalServerError {
		return errs.Internal
	}
	return errs.InvalidRequest
}
