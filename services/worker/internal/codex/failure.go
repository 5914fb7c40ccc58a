package codex

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"unicode/utf8"

	jsonv2 "github.com/go-json-experiment/json"

	"codexgateway.dev/pkg/errs"
)

// This file is the one place that gives Codex's errors a meaning, and the only
// one that looks at message texts: Codex tells most refusals apart by nothing
// else, and calls half of the model's failures "other".

// Refusals that callers act upon; an RPCError matches them by errors.Is.
var (
	// ErrNoRollout: the thread's rollout is not in CODEX_HOME, or no turn was ever
	// started in it.
	ErrNoRollout = errors.New("codex: no rollout for this thread")
	// ErrThreadBusy: another process has the thread open in the same CODEX_HOME.
	ErrThreadBusy = errors.New("codex: thread is open in another process")
	// ErrThreadNotLoaded: the thread was not started or resumed in this process.
	ErrThreadNotLoaded = errors.New("codex: thread is not loaded")
	// ErrNoActiveTurn: the turn to interrupt or steer is over, or is another.
	ErrNoActiveTurn = errors.New("codex: no such active turn")
	// ErrInputTooLarge: over 1 048 576 characters of text.
	ErrInputTooLarge = errors.New("codex: input too large")
)

const codeInvalidParams = -32602

// refusalOf tells the refusals apart, nil for the rest.
func refusalOf(e *RPCError) error {
	if e.Code == codeInvalidParams {
		var data struct {
			Code string `json:"input_error_code"`
		}
		if err := jsonv2.Unmarshal(e.Data, &data, lenient); err == nil && data.Code == "input_too_large" {
			return ErrInputTooLarge
		}
	}
	for _, r := range []struct {
		text string
		err  error
	}{
		{"no rollout found", ErrNoRollout},
		{"is not materialized yet", ErrNoRollout},
		{"already has an active writer", ErrThreadBusy},
		{"thread not found", ErrThreadNotLoaded},
		{"no active turn", ErrNoActiveTurn},
		{"expected active turn id", ErrNoActiveTurn},
	} {
		if strings.Contains(e.Message, r.text) {
			return r.err
		}
	}
	return nil
}

// Failure is the job error of whatever a method of this package returned, with
// err as its cause. The public texts are the registry's: a refusal quotes paths
// and ids that are no client's business.
func Failure(err error) *errs.Error {
	var known *errs.Error
	var refused *RPCError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return known
	case errors.Is(err, ErrProfileIgnored):
		return errs.Wrap(errs.SandboxUnavailable, "", err)
	case errors.Is(err, ErrInputTooLarge):
		return errs.Wrap(errs.ModelRejected, "The input is larger than Codex takes.", err)
	case errors.Is(err, ErrProtocol):
		return errs.Wrap(errs.CodexProtocol, "", err)
	case errors.Is(err, ErrCrashed), errors.Is(err, ErrExited), errors.Is(err, ErrClosed):
		return errs.Wrap(errs.CodexCrashed, "", err)
	case errors.Is(err, context.DeadlineExceeded):
		return errs.Wrap(errs.Stalled, "", err)
	case errors.As(err, &refused):
		return errs.Wrap(errs.CodexProtocol, "", err)
	}
	return errs.Wrap(errs.InternalJob, "", err)
}

// TurnError is how Codex says why a turn failed.
type TurnError struct {
	Message string `json:"message"`
	// Info is codexErrorInfo: a word, or an object of one word with the upstream's
	// HTTP status, e.g. {"httpConnectionFailed":{"httpStatusCode":401}}.
	Info json.RawMessage `json:"codexErrorInfo"`
}

// Failure is the job error of a failed turn.
func (e *TurnError) Failure() *errs.Error {
	code := e.code()
	return errs.Wrap(code, e.public(code), errors.New("codex turn: "+e.Message))
}

func (e *TurnError) code() errs.Code {
	word, status := e.info()
	switch word {
	case "contextWindowExceeded":
		return errs.ContextWindowExceeded
	case "usageLimitExceeded":
		return errs.ModelQuotaExceeded
	case "rateLimitExceeded":
		return errs.ModelRateLimited
	case "unauthorized":
		return errs.ModelUnauthorized
	case "serverOverloaded", "internalServerError", "flexUnavailable", "policyCapacityUnavailable":
		return errs.ModelUnavailable
	case "modelNotFound", "badRequest", "cyberPolicy", "misalignmentPolicyViolation", "inferenceHookDenied":
		return errs.ModelRejected
	case "sandboxError":
		return errs.SandboxUnavailable
	case "httpConnectionFailed", "responseStreamConnectionFailed", "responseStreamDisconnected", "responseTooManyFailedAttempts":
		return codeOfStatus(status)
	case "other":
		return e.codeOfText()
	}
	return errs.TurnFailed
}

// info takes codexErrorInfo apart; status is 0 when there is none.
func (e *TurnError) info() (word string, status int) {
	if err := jsonv2.Unmarshal(e.Info, &word, lenient); err == nil {
		return word, 0
	}
	var object map[string]json.RawMessage
	if err := jsonv2.Unmarshal(e.Info, &object, lenient); err != nil || len(object) != 1 {
		return "", 0
	}
	for w, raw := range object {
		var detail struct {
			Status int `json:"httpStatusCode"`
		}
		if err := jsonv2.Unmarshal(raw, &detail, lenient); err == nil {
			status = detail.Status
		}
		word = w
	}
	return word, status
}

// codeOfStatus maps the upstream's answer; no status means it never answered.
func codeOfStatus(status int) errs.Code {
	switch {
	case status == http.StatusTooManyRequests:
		return errs.ModelRateLimited
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return errs.ModelUnauthorized
	case status == http.StatusPaymentRequired:
		return errs.ModelQuotaExceeded
	case status == http.StatusRequestTimeout:
		return errs.ModelUnavailable
	case status >= http.StatusBadRequest && status < http.StatusInternalServerError:
		return errs.ModelRejected
	}
	return errs.ModelUnavailable
}

// codeOfText tells apart what Codex calls "other": a stream that broke, a 400
// whose body is the whole message, and the rest.
func (e *TurnError) codeOfText() errs.Code {
	if strings.HasPrefix(e.Message, "stream disconnected") {
		return errs.ModelUnavailable
	}
	if upstreamMessage(e.Message) != "" {
		return errs.ModelRejected
	}
	return errs.TurnFailed
}

// upstreamMessage reads the text out of an error body of the model's API.
func upstreamMessage(s string) string {
	var body struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	if err := jsonv2.Unmarshal([]byte(s), &body, lenient); err != nil {
		return ""
	}
	return body.Error.Message
}

// publicMax bounds the text of a foreign server that a job error repeats.
const publicMax = 1000

// innards are what Codex adds to a message that no client should see: the
// address of the broker, paths, and anything that looks like a key.
var innards = regexp.MustCompile(`,? ?url: \S+|https?://(127\.|localhost|\[?::1)\S*|\bsk-\S+|Bearer \S+`)

// public is the text shown to the client: the upstream's own where the request
// is at fault and only that text says how, the registry's otherwise.
func (e *TurnError) public(code errs.Code) string {
	if code != errs.ModelRejected && code != errs.TurnFailed {
		return ""
	}
	text := e.Message
	if up := upstreamMessage(text); up != "" {
		text = up
	}
	text = strings.TrimSpace(innards.ReplaceAllString(text, ""))
	if len(text) <= publicMax {
		return text
	}
	text = text[:publicMax]
	for !utf8.ValidString(text) {
		text = text[:len(text)-1]
	}
	return text + "…"
}
