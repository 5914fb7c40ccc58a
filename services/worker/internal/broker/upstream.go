package broker

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"codexgateway.dev/pkg/secret"
)

const (
	// maxErrorBody bounds what is read of an answer that is not a stream.
	maxErrorBody = 64 << 10
	// chunkSize bounds one read of a stream.
	chunkSize = 32 << 10
)

// newTransport is the way to the model: no environment, no redirects (those are
// a client's), no compression that would hold bytes back.
func newTransport(opt Options) *http.Transport {
	dialer := &net.Dialer{Timeout: opt.DialTimeout}
	t := &http.Transport{
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    opt.DialTimeout,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
		DisableCompression:     true,
		MaxIdleConns:           opt.MaxInflight,
		MaxIdleConnsPerHost:    opt.MaxInflight,
		MaxConnsPerHost:        opt.MaxInflight,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: maxHeaderBytes,
	}
	if opt.Proxy != nil {
		t.Proxy = http.ProxyURL(opt.Proxy)
	}
	return t
}

// outcome is what one attempt brought: a stream, or an answer for Codex that
// may be worth another attempt first.
type outcome struct {
	stream *stream

	status int
	header http.Header
	body   []byte

	retryable bool
	reason    string // of the retry, for metrics: few values
	err       error  // for the log, nil when the model answered
}

func own(r refusal, retryable bool, reason string, err error) outcome {
	return outcome{
		status: r.status, header: http.Header{"Content-Type": {"application/json"}}, body: r.body(),
		retryable: retryable, reason: reason, err: err,
	}
}

// attempt asks the model once. The caller closes the outcome's stream.
func (b *Broker) attempt(ctx context.Context, header http.Header, body []byte) outcome {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(b.opt.HeaderTimeout, func() { cancel(errHeaderTimeout) })
	o := b.ask(ctx, header, body)
	timer.Stop()
	if o.stream == nil {
		cancel(nil)
		return o
	}
	o.stream.watch(ctx, cancel, b.opt.IdleTimeout)
	if err := o.stream.read(); err != nil && !errors.Is(err, io.EOF) && len(o.stream.chunk) == 0 {
		// The status promised a stream that never came; Codex has seen nothing.
		o.stream.close()
		return own(unreachable, true, "no_first_byte", err)
	}
	return o
}

// ask does the round trip of an attempt, up to the headers of a stream or the
// whole of another answer.
func (b *Broker) ask(ctx context.Context, header http.Header, body []byte) outcome {
	key, err := b.opt.Key(ctx)
	secretKey := strings.TrimSpace(key.Reveal()) // a key file often ends in a newline
	switch {
	case errors.Is(err, secret.ErrNotFound) || err == nil && secretKey == "":
		return own(keyMissing, false, "", err)
	case err != nil:
		return own(keyFailed, true, "key", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.target.String(), bytes.NewReader(body))
	if err != nil {
		return own(unreachable, false, "", err)
	}
	req.Header = header.Clone()
	req.Header.Set("Authorization", "Bearer "+secretKey)
	res, err := b.transport.RoundTrip(req)
	if err != nil {
		return unanswered(ctx, err)
	}
	if res.StatusCode/100 == 2 {
		return outcome{status: res.StatusCode, header: res.Header, stream: &stream{body: res.Body}}
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxErrorBody))
	if err != nil {
		return unanswered(ctx, err)
	}
	o := outcome{
		status: res.StatusCode, header: res.Header, reason: "status",
		retryable: retryableStatus(res.StatusCode, answer),
		// A model's error may repeat the key it was given.
		body: bytes.ReplaceAll(answer, []byte(secretKey), []byte("[redacted]")),
	}
	if res.StatusCode == http.StatusUnauthorized {
		// It speaks of the key, often quoting parts of it, to whom Codex is.
		o.header, o.body = http.Header{"Content-Type": {"application/json"}}, keyRefused.body()
	}
	return o
}

// unanswered is the outcome of a round trip that failed.
func unanswered(ctx context.Context, err error) outcome {
	if errors.Is(context.Cause(ctx), errHeaderTimeout) {
		return own(silent, true, "timeout", errHeaderTimeout)
	}
	if _, bad := errors.AsType[*tls.CertificateVerificationError](err); bad {
		return own(unreachable, false, "", err) // no time heals a wrong certificate
	}
	return own(unreachable, true, "connect", err)
}

// stream is a model's answer as it arrives.
type stream struct {
	body   io.ReadCloser
	chunk  []byte // what the last read brought
	buf    []byte
	ctx    context.Context // of the attempt
	cancel context.CancelCauseFunc
	idle   *time.Timer
	limit  time.Duration
}

// watch starts the idle timeout, which runs during reads only: while the client
// is slow it is not the model that is silent.
func (s *stream) watch(ctx context.Context, cancel context.CancelCauseFunc, limit time.Duration) {
	s.ctx, s.cancel, s.limit = ctx, cancel, limit
	s.buf = make([]byte, chunkSize)
	s.idle = time.AfterFunc(limit, func() { cancel(errIdle) })
}

// read waits for the next chunk. An error may come with a last chunk.
func (s *stream) read() error {
	s.idle.Reset(s.limit)
	n, err := s.body.Read(s.buf)
	s.idle.Stop()
	s.chunk = s.buf[:n]
	if err != nil && !errors.Is(err, io.EOF) {
		if cause := context.Cause(s.ctx); cause != nil {
			return cause
		}
	}
	return err
}

func (s *stream) close() {
	s.idle.Stop()
	s.cancel(nil)
	_ = s.body.Close()
}
