package broker

import (
	"encoding/json"
	"net/http"
)

// refusal is an answer of the broker itself, in the error shape of the API, so
// that Codex shows its message. The codes are the worker's to map to a job's
// error.
type refusal struct {
	status     int
	code       string
	message    string
	retryAfter string
}

// The broker's own answers.
var (
	refuseToken    = refusal{status: http.StatusUnauthorized, code: "invalid_job_token", message: "The job's token for the model is not valid."}
	refusePath     = refusal{status: http.StatusNotFound, code: "not_found", message: "The gateway serves POST " + route + " only."}
	refuseMethod   = refusal{status: http.StatusMethodNotAllowed, code: "method_not_allowed", message: "The gateway serves POST " + route + " only."}
	refuseUnbound  = refusal{status: http.StatusForbidden, code: "session_not_bound", message: "This session has no job yet."}
	refuseBusy     = refusal{status: http.StatusTooManyRequests, code: "gateway_busy", message: "Too many model requests at once.", retryAfter: "1"}
	refuseLarge    = refusal{status: http.StatusRequestEntityTooLarge, code: "request_too_large", message: "The request to the model is too large."}
	refuseSlow     = refusal{status: http.StatusRequestTimeout, code: "request_timeout", message: "The request did not arrive in time."}
	refuseBody     = refusal{status: http.StatusBadRequest, code: "bad_body", message: "The request could not be read."}
	refuseDeadline = refusal{status: http.StatusGatewayTimeout, code: "job_deadline", message: "The job's time is up."}

	keyMissing  = refusal{status: http.StatusUnauthorized, code: "model_key_missing", message: "The gateway has no key for the model: set the secret named by CODEXGW_MODEL_KEY_SECRET."}
	keyRefused  = refusal{status: http.StatusUnauthorized, code: "invalid_api_key", message: "The model refused the gateway's key."}
	keyFailed   = refusal{status: http.StatusServiceUnavailable, code: "model_key_unavailable", message: "The gateway could not read its key for the model."}
	unreachable = refusal{status: http.StatusBadGateway, code: "model_unreachable", message: "The model could not be reached."}
	silent      = refusal{status: http.StatusGatewayTimeout, code: "model_timeout", message: "The model did not answer in time."}
)

func (r refusal) body() []byte {
	b, err := json.Marshal(map[string]any{"error": map[string]any{
		"message": r.message, "type": "gateway_error", "code": r.code, "param": nil,
	}})
	if err != nil {
		panic(err) // strings always encode
	}
	return b
}

func (r refusal) write(w http.ResponseWriter) {
	if r.retryAfter != "" {
		w.Header().Set("Retry-After", r.retryAfter)
	}
	if r.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", http.MethodPost)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(r.status)
	_, _ = w.Write(r.body()) // a client that left is owed nothing
}
