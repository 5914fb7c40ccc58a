package httpapi

import (
	"context"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/jsonrpc"
	"codexgateway.dev/services/edge/internal/call"
)

const routeRPC = "/jsonrpc"

// serveRPC is POST /jsonrpc.
func (a *api) serveRPC(c *gin.Context) {
	if !isJSON(c.Request.Header) {
		a.refuse(c, http.StatusUnsupportedMediaType, errMediaType)
		return
	}
	body, err := io.ReadAll(c.Request.Body)
	if err != nil {
		a.failBody(c, err)
		return
	}
	ctx := c.Request.Context()
	call.From(ctx).Batch = isBatch(body)
	answer := a.mux.Serve(ctx, body, jsonrpc.Options{
		RequestID: requestID(c),
		After: func(ctx context.Context, method string, took time.Duration, err *errs.Error) {
			call.Log(ctx, a.Logger, method, took, err)
		},
	})
	if answer.Err != nil && errs.Lookup(answer.Err.Code).Envelope {
		a.errorHeaders(c, answer.Status(), answer.Err)
	}
	a.respond(c, answer.Status(), typeJSON, answer.Body)
}

// isJSON checks the media type of a body.
func isJSON(h http.Header) bool {
	if enc := h.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		return false
	}
	mediaType, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || mediaType != typeJSON && mediaType != "application/json-rpc" {
		return false
	}
	charset, given := params["charset"]
	return !given || strings.EqualFold(charset, "utf-8")
}
