package errs

import (
	"errors"
	"fmt"
	"maps"
)

// Code is the snake_case name of an error, stable for ever.
type Code string

// Codes of requests (contract: JSON-RPC and HTTP errors).
const (
	ParseError          Code = "parse_error"
	InvalidRequest      Code = "invalid_request"
	MethodNotFound      Code = "method_not_found"
	InvalidParams       Code = "invalid_params"
	Internal            Code = "internal"
	Overloaded          Code = "overloaded"
	Unauthenticated     Code = "unauthenticated"
	PermissionDenied    Code = "permission_denied"
	NotFound            Code = "not_found"
	Conflict            Code = "conflict"
	RateLimited         Code = "rate_limited"
	IdempotencyMismatch Code = "idempotency_mismatch"
	PayloadTooLarge     Code = "payload_too_large"
	DeadlineExceeded    Code = "deadline_exceeded"
	QuotaExceeded       Code = "quota_exceeded"
	ApprovalClosed      Code = "approval_closed"
)

// Codes of jobs (the code of a failed job's error).
const (
	ModelRateLimited      Code = "model_rate_limited"
	ModelUnavailable      Code = "model_unavailable"
	ModelRejected         Code = "model_rejected"
	ModelUnauthorized     Code = "model_unauthorized"
	ModelQuotaExceeded    Code = "model_quota_exceeded"
	ContextWindowExceeded Code = "context_window_exceeded"
	SandboxUnavailable    Code = "sandbox_unavailable"
	RepoUnreachable       Code = "repo_unreachable"
	RepoRefNotFound       Code = "repo_ref_not_found"
	RepoRefused           Code = "repo_refused"
	RepoTooLarge          Code = "repo_too_large"
	WorkspaceFull         Code = "workspace_full"
	StorageUnavailable    Code = "storage_unavailable"
	Stalled               Code = "stalled"
	WorkerLost            Code = "worker_lost"
	CodexCrashed          Code = "codex_crashed"
	CodexMissing          Code = "codex_missing"
	CodexProtocol         Code = "codex_protocol"
	TurnFailed            Code = "turn_failed"
	InternalJob           Code = "internal_job"
)

// Error is an error with a registered code. Its Public text may be shown to
// the client; its cause may not.
type Error struct {
	Code Code
	// Public is the sentence shown to the client; empty: the registry's.
	Public string
	// Field is the path of the offending parameter, "/repo/url" as in RFC 6901.
	Field string
	// Data are further members of the error's data object, e.g. available_methods.
	Data map[string]any
	// cause is the internal reason, for logs only.
	cause error
}

// New returns an error of the code; public may be empty.
func New(code Code, public string) *Error { return &Error{Code: code, Public: public} }

// Newf is New with a format.
func Newf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Public: fmt.Sprintf(format, args...)}
}

// Wrap returns an error of the code with an internal cause.
func Wrap(code Code, public string, cause error) *Error {
	return &Error{Code: code, Public: public, cause: cause}
}

// Param returns an invalid_params error that names the field.
func Param(field, public string) *Error {
	return &Error{Code: InvalidParams, Public: public, Field: field}
}

// With returns a copy with one more data member.
func (e *Error) With(key string, value any) *Error {
	c := *e
	c.Data = make(map[string]any, len(e.Data)+1)
	maps.Copy(c.Data, e.Data)
	c.Data[key] = value
	return &c
}

// Error implements error: code, public text and cause, for logs.
func (e *Error) Error() string {
	s := string(e.Code) + ": " + e.Message()
	if e.cause != nil {
		s += ": " + e.cause.Error()
	}
	return s
}

// Unwrap returns the internal cause.
func (e *Error) Unwrap() error { return e.cause }

// Is makes errors.Is match two errors of the same code.
func (e *Error) Is(target error) bool {
	t, ok := errors.AsType[*Error](target)
	return ok && t.Code == e.Code
}

// Message is the text for the client.
func (e *Error) Message() string {
	if e.Public != "" {
		return e.Public
	}
	return Lookup(e.Code).Message
}

// From returns err as an *Error: itself if it wraps one, internal otherwise.
func From(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Code: Internal, cause: err}
}

// CodeOf is the code of err, Internal for anything foreign.
func CodeOf(err error) Code { return From(err).Code }
