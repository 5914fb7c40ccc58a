package apiv1

// MethodAuditList lists stored audit records.
const MethodAuditList = "audit.list"

// AuditListParams are the params of audit.list.
type AuditListParams struct {
	// After and Until bound the time, RFC 3339: After <= time < Until.
	After string `json:"after,omitempty"`
	Until string `json:"until,omitempty"`
	// Action and KeyID choose what was done, and by whom.
	Action string `json:"action,omitempty"`
	KeyID  string `json:"key_id,omitempty"`
	// Tenant is for the admin key, which may see every tenant.
	Tenant string `json:"tenant,omitempty"`
	// Limit is 1 to 200, 100 if not given.
	Limit  int    `json:"limit,omitempty"`
	Cursor string `json:"cursor,omitempty"`
}

// AuditListResult is a page of records, newest first.
type AuditListResult struct {
	Records    []AuditRecord `json:"records"`
	NextCursor string        `json:"next_cursor,omitempty"`
}

// AuditRecord says who did what, from where, and how it ended.
type AuditRecord struct {
	ID     string `json:"id"`
	Time   string `json:"time"`
	Action string `json:"action"`
	// Outcome is done, refused or failed; Code is the error code of the last two.
	Outcome string `json:"outcome"`
	Code    string `json:"code,omitempty"`
	Tenant  string `json:"tenant"`
	KeyID   string `json:"key_id,omitempty"`
	// Target is the id of what it was done to.
	Target    string `json:"target,omitempty"`
	Address   string `json:"address,omitempty"`
	RequestID string `json:"request_id,omitempty"`
}
