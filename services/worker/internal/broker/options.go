package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"strings"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"codexgateway.dev/pkg/secret"
)

// Options configure a [Broker]. BaseURL and Key are required, every other zero
// value has the default named.
type Options struct {
	// BaseURL of the model's API, http or https, e.g. https://api.openai.com/v1.
	// "/responses" is added to it.
	BaseURL string
	// Key returns the model's key. It is called before every attempt, so that a
	// rotated key is used at once; it should cache. A [secret.ErrNotFound] or an
	// empty key is reported to Codex as a missing key, any other error is
	// retried like a failed connection.
	Key func(ctx context.Context) (secret.Value, error)

	// Logger; nil: silent. Bodies, headers and keys are never logged.
	Logger *slog.Logger
	// Meter; nil: no metrics.
	Meter metric.Meter
	// Now is the clock for Retry-After dates; nil: [time.Now].
	Now func() time.Time
	// Rand returns a number in [0,1) for jitter; nil: math/rand.
	Rand func() float64
	// Sleep waits d or until ctx ends, and then returns its cause; nil: a timer.
	Sleep func(ctx context.Context, d time.Duration) error

	// Proxy for upstream requests; nil: none. The environment is not read.
	Proxy *url.URL
	// Retry is the policy towards a failing model.
	Retry Retry

	// MaxBody bounds a request's body, in bytes; 0: 64 MiB. More is a 413.
	MaxBody int64
	// MaxBuffered bounds the bodies held in memory at one time, in bytes;
	// 0: 512 MiB. More is a 429 with Retry-After.
	MaxBuffered int64
	// MaxInflight bounds the requests in progress; 0: 64. More is a 429 with
	// Retry-After.
	MaxInflight int

	// DialTimeout bounds connecting and, apart, the TLS handshake; 0: 10 s.
	DialTimeout time.Duration
	// HeaderTimeout bounds an attempt up to the response's headers; 0: 90 s.
	HeaderTimeout time.Duration
	// IdleTimeout bounds the silence between two reads of a response; 0: 5 min,
	// Codex's own default for an idle stream.
	IdleTimeout time.Duration
	// ClientTimeout bounds reading a request's body and each write to Codex;
	// 0: 30 s.
	ClientTimeout time.Duration
}

// Retry is a budget for one run of failures of a session.
type Retry struct {
	// MaxAttempts counts the first request too; 0: 6.
	MaxAttempts int
	// MaxWait bounds the sum of the waits; 0: 120 s.
	MaxWait time.Duration
	// Base is the bound of the first wait, doubled with each further one;
	// 0: 500 ms.
	Base time.Duration
	// MaxBackoff bounds a single computed wait; 0: 30 s. A Retry-After may ask
	// for more.
	MaxBackoff time.Duration
}

func orElse[T int | int64 | time.Duration](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}

// withDefaults returns a copy with every zero value filled in.
func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Meter == nil {
		o.Meter = noop.NewMeterProvider().Meter("")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Float64
	}
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	orElse(&o.Retry.MaxAttempts, 6)
	orElse(&o.Retry.MaxWait, 120*time.Second)
	orElse(&o.Retry.Base, 500*time.Millisecond)
	orElse(&o.Retry.MaxBackoff, 30*time.Second)
	orElse(&o.MaxBody, 64<<20)
	orElse(&o.MaxBuffered, 512<<20)
	orElse(&o.MaxInflight, 64)
	orElse(&o.DialTimeout, 10*time.Second)
	orElse(&o.HeaderTimeout, 90*time.Second)
	orElse(&o.IdleTimeout, 5*time.Minute)
	orElse(&o.ClientTimeout, 30*time.Second)
	return o
}

// target checks the base URL and returns the URL that requests go to. What it
// says about a bad one does not repeat it: it may hold a password.
func (o Options) target() (*url.URL, error) {
	u, err := url.Parse(o.BaseURL)
	if err != nil {
		return nil, errors.New("the model's base URL is not a URL")
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("the model's base URL must start with http:// or https:// and a host")
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("the model's base URL must not have a user, a query or a fragment")
	}
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/")+"/responses", ""
	return u, nil
}

func (o Options) validate() error {
	var errs []error
	if o.Key == nil {
		errs = append(errs, errors.New("no source for the model's key"))
	}
	if o.MaxBody < 0 || o.MaxBuffered < o.MaxBody || o.MaxInflight < 0 || o.Retry.MaxAttempts < 0 {
		errs = append(errs, fmt.Errorf("bad limits: body %d, buffered %d, in flight %d, attempts %d",
			o.MaxBody, o.MaxBuffered, o.MaxInflight, o.Retry.MaxAttempts))
	}
	return errors.Join(errs...)
}

// sleep waits d or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
