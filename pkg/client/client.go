package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"codexgateway.dev/pkg/jsonrpc"
	"codexgateway.dev/pkg/secret"
)

const (
	// defaultTimeout is how long a call may take; a prompt that waits gets its
	// wait on top.
	defaultTimeout = 30 * time.Second
	// maxAnswer bounds an answer. A job's content and a page of events are the
	// largest; both are far below.
	maxAnswer = 64 << 20
)

// Options say which gateway to call and how.
type Options struct {
	// URL is the gateway's base URL, e.g. http://127.0.0.1:8080; a path is kept.
	URL string
	// Key is the API key, sent as X-API-Key.
	Key secret.Value
	// HTTPClient carries every request; nil means one of its own. It is copied
	// and never follows redirects, which would carry the key elsewhere.
	HTTPClient *http.Client
	// Logger hears of reconnects and broken promises; nil means nobody does.
	Logger *slog.Logger
	// UserAgent names the program; empty means "codexgateway-go".
	UserAgent string
	// Timeout is the deadline of one call; 0 means 30 s.
	Timeout time.Duration
	// GiveUpAfter is how long Watch tries to get a lost connection back; 0
	// means 5 minutes.
	GiveUpAfter time.Duration
	// Backoff is the wait before the nth attempt in a row (from 1) to connect
	// again; nil means exponential with full jitter, 5 s at most.
	Backoff func(attempt int) time.Duration
	// OnSequenceError hears of each gap and duplicate that Watch meets; nil
	// means that they are only logged.
	OnSequenceError func(*SequenceError)
}

// Client calls one gateway. It is safe for concurrent use.
type Client struct {
	opt    Options
	base   *url.URL
	http   *http.Client
	plain  *http.Client
	lastID atomic.Int64
}

// New returns a client. It does not connect; it only refuses a URL that cannot
// be one of a gateway.
func New(opt Options) (*Client, error) {
	base, err := url.Parse(opt.URL)
	if err != nil || base.Host == "" || (base.Scheme != "http" && base.Scheme != "https") {
		return nil, fmt.Errorf("client: %q is not an http or https URL", redactURL(opt.URL))
	}
	if base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return nil, fmt.Errorf("client: the URL %q must have no user, query or fragment", redactURL(opt.URL))
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.UserAgent == "" {
		opt.UserAgent = "codexgateway-go"
	}
	if opt.Timeout <= 0 {
		opt.Timeout = defaultTimeout
	}
	if opt.GiveUpAfter <= 0 {
		opt.GiveUpAfter = defaultGiveUp
	}
	if opt.Backoff == nil {
		opt.Backoff = backoff
	}
	hc := http.Client{}
	if opt.HTTPClient != nil {
		hc = *opt.HTTPClient
	} else if t, ok := http.DefaultTransport.(*http.Transport); ok {
		hc.Transport = t.Clone() // of its own, so that Close closes no one else's connections
	}
	plain := hc
	hc.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{opt: opt, base: base, http: &hc, plain: &plain}, nil
}

// redactURL is a URL without what may be a secret in it.
func redactURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "the given URL"
	}
	return u.Scheme + "://" + u.Host + u.Path
}

// URL is the base URL of the gateway.
func (c *Client) URL() string { return c.base.String() }

// Close closes idle connections. Calls that are under way go on.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Call calls one method and decodes its result into result, which may be nil.
// params nil means none. Errors are an *Error, ErrUnreachable or ctx's cause.
func (c *Client) Call(ctx context.Context, method string, params, result any) error {
	_, err := c.call(ctx, c.opt.Timeout, method, params, result)
	return err
}

// call is Call with a deadline; it also returns the answer's header.
func (c *Client) call(ctx context.Context, timeout time.Duration, method string, params, result any) (http.Header, error) {
	callID := jsonrpc.IntID(c.lastID.Add(1))
	body, err := jsonrpc.EncodeCall(callID, method, params)
	if err != nil {
		return nil, fmt.Errorf("client: %s: %w", method, err)
	}
	callCtx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no answer within %s", timeout))
	defer cancel()
	req, err := c.request(callCtx, http.MethodPost, "jsonrpc", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.transportError(ctx, callCtx, method, err)
	}
	defer resp.Body.Close()
	if media := resp.Header.Get("Content-Type"); !strings.HasPrefix(media, "application/json") {
		return nil, fromHTTP(method, resp)
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, c.transportError(ctx, callCtx, method, err)
	}
	if len(raw) > maxAnswer {
		return nil, fmt.Errorf("client: %s: the answer is larger than %d bytes", method, maxAnswer)
	}
	return resp.Header, decodeAnswer(method, callID, raw, resp, result)
}

// decodeAnswer reads the one answer of a call.
func decodeAnswer(method string, callID jsonrpc.ID, raw []byte, resp *http.Response, result any) error {
	messages, err := jsonrpc.DecodeMessages(raw)
	if err != nil || len(messages) != 1 || messages[0].Response == nil {
		return unreachable(method, errors.New("the answer is not JSON-RPC 2.0"))
	}
	answer := messages[0].Response
	if answer.Error != nil {
		return fromRPC(answer.Error, resp.StatusCode, resp.Header)
	}
	if answer.ID != callID {
		return unreachable(method, fmt.Errorf("the answer has the id %s, not %s", answer.ID, callID))
	}
	return decodeResult(method, answer.Result, result)
}

// decodeResult decodes a result; nil takes none and *json.RawMessage all of it.
func decodeResult(method string, raw json.RawMessage, result any) error {
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(raw, result); err != nil {
		return fmt.Errorf("client: %s: decode result: %w", method, err)
	}
	return nil
}

// request builds a request to a path below the base URL, with the key.
func (c *Client) request(ctx context.Context, method, path string, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base.JoinPath(path).String(), body)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	c.setHeader(req.Header)
	return req, nil
}

func (c *Client) setHeader(h http.Header) {
	h.Set("User-Agent", c.opt.UserAgent)
	if !c.opt.Key.Empty() {
		h.Set("X-Api-Key", c.opt.Key.Reveal())
	}
}

// transportError tells the caller's own end of ctx from an unreachable gateway.
// callCtx is ctx with the call's own deadline.
func (c *Client) transportError(ctx, callCtx context.Context, op string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("client: %s: %w", op, context.Cause(ctx))
	}
	if callCtx.Err() != nil {
		err = context.Cause(callCtx)
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err // the URL is known and only makes the sentence long
	}
	return unreachable(op, err)
}
