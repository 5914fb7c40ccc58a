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
	"time"

	"github.com/gin-gonic/gin"

	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/id"
	"codexgateway.dev/services/edge/internal/call"
)

const headerRequestID = "X-Request-Id"

// requestIDForm is what a client may choose as its request id: it ends up in
// logs and headers.
var requestIDForm = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,128}$`)

type requestIDKey struct{}

// requestID is the id of the request.
func requestID(c *gin.Context) string {
	s, _ := c.Request.Context().Value(requestIDKey{}).(string)
	return s
}

// identify gives the request its id and logs its end.
func (a *api) identify(c *gin.Context) {
	began := time.Now()
	rid := c.GetHeader(headerRequestID)
	if !requestIDForm.MatchString(rid) {
		rid = id.New(id.Request)
	}
	c.Header(headerRequestID, rid)
	c.Request = c.Request.WithContext(context.WithValue(c.Request.Context(), requestIDKey{}, rid))
	c.Next()
	a.Logger.LogAttrs(c.Request.Context(), slog.LevelDebug, "request served",
		slog.String("request_id", rid), slog.String("route", c.FullPath()),
		slog.Int("status", c.Writer.Status()), slog.Duration("took", time.Since(began)))
}

// recover turns a panic into a 500, or into a cut connection once an answer
// has begun.
func (a *api) recover(c *gin.Context) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(v)
		}
		a.Logger.LogAttrs(c.Request.Context(), slog.LevelError, "request panicked",
			slog.String("request_id", requestID(c)), slog.String("route", c.FullPath()),
			slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
		if c.Writer.Written() {
			panic(http.ErrAbortHandler)
		}
		a.refuse(c, http.StatusInternalServerError, errs.New(errs.Internal, ""))
	}()
	c.Next()
}

// authenticate finds out who asks, before anything of the body is read.
func (a *api) authenticate(c *gin.Context) {
	p, err := a.Auth.Authenticate(c.Request.Context(), c.Request)
	if err != nil {
		a.failAs(c, err)
		return
	}
	info := &call.Info{
		Principal: p, BaseURL: a.baseURL(c.Request),
		IdempotencyKey: unquote(c.GetHeader("Idempotency-Key")),
	}
	c.Request = c.Request.WithContext(call.With(c.Request.Context(), info))
}

// failAs is fail in the language of the route.
func (a *api) failAs(c *gin.Context, err error) {
	e := errs.From(err)
	if row := errs.Lookup(e.Code); c.FullPath() == routeRPC && row.Envelope {
		a.refuseRPC(c, row.HTTP, e)
		return
	}
	a.fail(c, err)
}

// unquote takes the quotes off an Idempotency-Key: its draft makes it a string
// of RFC 8941, most clients send it bare.
func unquote(s string) string {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		return s[1 : len(s)-1]
	}
	return s
}

// baseURL is the gateway as this client sees it. What a client claims here is
// only ever told to that client.
func (a *api) baseURL(r *http.Request) string {
	if a.opt.PublicURL != "" {
		return strings.TrimRight(a.opt.PublicURL, "/")
	}
	scheme := "http"
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}

// isBatch reports whether a body is a JSON array.
func isBatch(body []byte) bool { return bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("[")) }
