package httpapi

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"regexp"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"codexgateway.dev/pkg/apikey"
	"codexgateway.dev/pkg/audit"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/id"
	"codexgateway.dev/pkg/jsonrpc"
	"codexgateway.dev/services/edge/internal/auth"
	"codexgateway.dev/services/edge/internal/call"
)

const headerRequestID = "X-Request-Id"

// requestIDForm is what a client may choose as its request id: it ends up in
// logs and headers.
var requestIDForm = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,128}$`)

type requestIDKey struct{}

// requestID is the id of the request.
func requestID(ctx context.Context) string {
	s, _ := ctx.Value(requestIDKey{}).(string)
	return s
}

// serve is what every request goes through, whatever its route: it gets its id,
// its writes get their deadlines, a panic costs it alone, and its end is logged.
func (a *api) serve(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	rid := r.Header.Get(headerRequestID)
	if !requestIDForm.MatchString(rid) {
		rid = id.New(id.Request)
	}
	h := w.Header()
	h.Set(headerRequestID, rid)
	h.Set("X-Content-Type-Options", "nosniff")
	if framingHidden(r) {
		h.Set("Connection", "close")
	}
	ctx := context.WithValue(r.Context(), requestIDKey{}, rid)
	r = r.WithContext(ctx)
	a.paceBody(w, r)
	paced := newPacedWriter(w, a.opt.WriteTimeout)
	a.contained(paced, r)
	paced.finish(a.opt.BodyGrace)
	a.Logger.LogAttrs(ctx, slog.LevelDebug, "request served",
		slog.String("request_id", rid), slog.String("route", r.Pattern),
		slog.Int("status", paced.status), slog.Duration("took", time.Since(began)))
}

// framingHidden reports whether nobody can know here that a proxy in front saw
// the request end at the same byte: net/http takes a Content-Length beside
// Transfer-Encoding away, and any Transfer-Encoding from HTTP/1.0; and it lets the
// preface of HTTP/2 through as a request. A connection
// that went on could serve as the next request what the proxy took for this
// one's body (RFC 9112, sections 6.1 and 11.2).
func framingHidden(r *http.Request) bool {
	return r.ProtoMajor != 1 || r.ProtoMinor == 0 || len(r.TransferEncoding) > 0
}

// contained routes the request and keeps its panic in it.
func (a *api) contained(w *pacedWriter, r *http.Request) {
	defer a.contain(w, r)
	a.route(w, r)
}

// contain is deferred: it turns a panic into a 500, or into a cut connection
// once an answer has begun.
func (a *api) contain(w *pacedWriter, r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(v)
	}
	stack := debug.Stack()
	if p, ok := v.(*jsonrpc.PanicError); ok {
		stack = p.Stack // of the member of a batch
	}
	a.Logger.LogAttrs(r.Context(), slog.LevelError, "request panicked",
		slog.String("request_id", requestID(r.Context())), slog.String("route", r.Pattern),
		slog.Any("panic", v), slog.String("stack", string(stack)))
	if w.begun() {
		panic(http.ErrAbortHandler)
	}
	a.refuse(w, r, http.StatusInternalServerError, errs.New(errs.Internal, ""))
}

// authenticate finds out who asks, before anything of the body is read.
func (a *api) authenticate(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		from := a.Proxies.Client(r)
		if after, over := a.Guard.Over(from, r.Header); over {
			a.failAs(w, r, errGuesses.With("retry_after_ms", after.Milliseconds()))
			return
		}
		if ticketMisplaced(r) {
			a.failAs(w, r, errTicketRoute)
			return
		}
		p, err := a.Auth.Authenticate(r.Context(), r)
		if err != nil {
			if errs.CodeOf(err) == errs.Unauthenticated {
				a.Guard.Failed(from, r.Header)
			}
			a.Methods.Tally.Count(r.Context(), call.Audit(call.With(r.Context(), &call.Info{Address: from.String(), RequestID: requestID(r.Context())}), audit.AuthFailure, "", err))
			a.failAs(w, r, err)
			return
		}
		a.Guard.Passed(r.Header)
		info := &call.Info{
			Principal: p, Address: from.String(), RequestID: requestID(r.Context()), BaseURL: a.baseURL(r),
			IdempotencyKey: r.Header.Values("Idempotency-Key"),
		}
		ctx := call.With(r.Context(), info)
		if auth.ShowsTicket(r.Header) {
			a.Methods.Audit.Tell(ctx, call.Audit(ctx, audit.TicketUse, r.Pattern, nil))
		}
		next(w, r.WithContext(ctx))
	}
}

// admitted lets a request through that its principal may make: one that is one
// call.
func (a *api) admitted(need apikey.Scope, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		info := call.From(ctx)
		info.Leave = sync.OnceFunc(func() { a.Gate.Leave(ctx) })
		defer info.Leave()
		err := a.Gate.Call(ctx, need)
		a.Gate.Tell(w.Header(), info)
		if err != nil {
			a.Methods.Denied(ctx, r.Pattern, err)
			a.fail(w, r, err)
			return
		}
		next(w, r)
	}
}

// counted counts a request that turned out to be no call; not ok: its key is over
// its limit, and it was answered so.
func (a *api) counted(w http.ResponseWriter, r *http.Request) (ok bool) {
	err := a.Gate.Count(r.Context())
	a.Gate.Tell(w.Header(), call.From(r.Context()))
	if err != nil {
		a.failAs(w, r, err)
	}
	return err == nil
}

// failAs is fail in the language of the route.
func (a *api) failAs(w http.ResponseWriter, r *http.Request, err error) {
	e := errs.From(err)
	if row := errs.Lookup(e.Code); r.Pattern == routeRPC && row.Envelope {
		a.refuseRPC(w, r, row.HTTP, e)
		return
	}
	a.fail(w, r, err)
}

// baseURL is the gateway as this client sees it. What a client claims here is
// only ever told to that client.
func (a *api) baseURL(r *http.Request) string {
	if a.opt.PublicURL != "" {
		return strings.TrimRight(a.opt.PublicURL, "/")
	}
	scheme := "http"
	if secure(r) {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}

// secure reports whether the client speaks TLS, as far as can be known.
func secure(r *http.Request) bool {
	return r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https"
}

// isBatch reports whether a body is a JSON array.
func isBatch(body []byte) bool { return bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("[")) }
