package errs

import "net/http"

// Scope says where a code appears.
type Scope string

// The two scopes.
const (
	// Request errors answer a call.
	Request Scope = "request"
	// Job errors are the outcome of a job.
	Job Scope = "job"
)

// Row is one registered error.
type Row struct {
	Code  Code
	Scope Scope
	// RPC is the JSON-RPC error number; 0 for job errors.
	RPC int
	// HTTP is the status of the same error over plain HTTP; 0 for job errors.
	HTTP int
	// Envelope is true when a JSON-RPC answer with this error carries the HTTP
	// status too; all others are HTTP 200.
	Envelope bool
	// Retryable is true when the same call or job may succeed later.
	Retryable bool
	// Message is the public sentence when nothing better is known.
	Message string
	// Help says what to do about it.
	Help string
}

// Registry is every error code. Rows are only added.
var Registry = []Row{
	{ParseError, Request, -32700, http.StatusBadRequest, false, false, "The request is not valid JSON.", "Send one JSON object or an array of them, in UTF-8."},
	{InvalidRequest, Request, -32600, http.StatusBadRequest, false, false, "The request is not a valid JSON-RPC 2.0 request.", "Send jsonrpc \"2.0\", a method and, for a call, an id."},
	{MethodNotFound, Request, -32601, http.StatusNotFound, false, false, "There is no such method.", "See data.available_methods or call rpc.discover."},
	{InvalidParams, Request, -32602, http.StatusBadRequest, false, false, "A parameter is missing or wrong.", "See data.field for the parameter."},
	{Internal, Request, -32603, http.StatusInternalServerError, false, true, "Something went wrong inside the gateway.", "Try again; give data.request_id to the operator if it persists."},
	{Overloaded, Request, -32001, http.StatusServiceUnavailable, true, true, "The gateway cannot take the request now.", "Try again after Retry-After."},
	{Unauthenticated, Request, -32002, http.StatusUnauthorized, true, false, "No valid key was given.", "Send the key in X-API-Key or in Authorization: Bearer."},
	{PermissionDenied, Request, -32003, http.StatusForbidden, true, false, "The key may not do this.", "Use a key with the scope in data.scope."},
	{NotFound, Request, -32004, http.StatusNotFound, false, false, "There is no such thing.", "Check the id; ids of other tenants look like unknown ones."},
	{Conflict, Request, -32005, http.StatusConflict, false, false, "The thing is not in a state that allows this.", "Read it again and decide anew."},
	{RateLimited, Request, -32006, http.StatusTooManyRequests, true, true, "Too many requests for this key.", "Wait data.retry_after_ms before the next call."},
	{IdempotencyMismatch, Request, -32007, http.StatusUnprocessableEntity, false, false, "The idempotency key was used with other parameters.", "Use a new idempotency key for a new request."},
	{PayloadTooLarge, Request, -32008, http.StatusRequestEntityTooLarge, true, false, "The request body is too large.", "Send less; see data.limit_bytes."},
	{DeadlineExceeded, Request, -32009, http.StatusGatewayTimeout, false, true, "The request took too long.", "Try again; a submit with an idempotency key is safe to repeat."},
	{QuotaExceeded, Request, -32010, http.StatusForbidden, false, false, "A limit of the tenant is reached.", "Wait for running work to end, or ask for a higher limit."},
	{ApprovalClosed, Request, -32011, http.StatusConflict, false, false, "The approval is already answered or gone.", "List the open approvals again."},

	{ModelRateLimited, Job, 0, 0, false, true, "The model kept answering 429.", "Try again later or raise the model's rate limit."},
	{ModelUnavailable, Job, 0, 0, false, true, "The model could not be reached or kept failing.", "Try again; check CODEXGW_MODEL_BASE_URL."},
	{ModelRejected, Job, 0, 0, false, false, "The model refused the request.", "Read the message; the request itself is at fault."},
	{ModelUnauthorized, Job, 0, 0, false, false, "The model refused the gateway's key.", "Check the secret named by CODEXGW_MODEL_KEY_SECRET."},
	{ModelQuotaExceeded, Job, 0, 0, false, false, "The model account's quota is used up.", "Check the plan and billing of the model account."},
	{ContextWindowExceeded, Job, 0, 0, false, false, "The conversation no longer fits the model's context window.", "Start a new conversation or a shorter prompt."},
	{SandboxUnavailable, Job, 0, 0, false, true, "The worker's sandbox does not work.", "Run codexgw doctor on the worker and follow its advice."},
	{RepoUnreachable, Job, 0, 0, false, true, "The repository could not be reached.", "Check repo.url and that the worker may reach it."},
	{RepoRefNotFound, Job, 0, 0, false, false, "The repository has no such ref.", "Check repo.ref: a branch, a tag or a full commit id."},
	{RepoRefused, Job, 0, 0, false, false, "This form of repository is not allowed.", "Use an https or ssh URL without credentials in it."},
	{RepoTooLarge, Job, 0, 0, false, false, "The repository is larger than the worker allows.", "Use a smaller repository or raise CODEXGW_REPO_MAX_BYTES."},
	{WorkspaceFull, Job, 0, 0, false, true, "There is no room for the job's files.", "If the message names limits, have the job write less or raise CODEXGW_JOB_DISK_BYTES or CODEXGW_JOB_DISK_FILES; else free space under the worker's data directory."},
	{StorageUnavailable, Job, 0, 0, false, true, "The job's files could not be stored or read.", "Submit the job again; check the bucket, and the worker's permissions on it."},
	{Stalled, Job, 0, 0, false, true, "Codex made no progress for too long.", "Submit the job again."},
	{WorkerLost, Job, 0, 0, false, true, "The worker was lost and no attempt is left.", "Submit the job again; look at the workers' logs."},
	{CodexCrashed, Job, 0, 0, false, true, "The Codex process ended before the turn did.", "Submit the job again."},
	{CodexMissing, Job, 0, 0, false, true, "The Codex CLI is missing or has the wrong version on the worker.", "Run codexgw doctor on the worker."},
	{CodexProtocol, Job, 0, 0, false, true, "Codex answered something the gateway does not understand.", "Check that the pinned Codex version is installed."},
	{TurnFailed, Job, 0, 0, false, true, "Codex ended the turn with an error.", "Read the message."},
	{InternalJob, Job, 0, 0, false, true, "Something went wrong inside the worker.", "Submit the job again; look at the worker's log."},
}

// Lookup returns the row of a code, the row of internal for an unknown one.
func Lookup(code Code) Row {
	for _, r := range Registry {
		if r.Code == code {
			return r
		}
	}
	return Lookup(Internal)
}
