package httpapi

import (
	"net/http"

	"codexgateway.dev/pkg/jsonrpc"
)

// HandlerWith is Handler with more methods on POST /jsonrpc.
func HandlerWith(d Deps, opt Options, more func(*jsonrpc.Mux)) (http.Handler, error) {
	a, err := build(d, opt)
	if err != nil {
		return nil, err
	}
	more(a.calls)
	return http.HandlerFunc(a.serve), nil
}
