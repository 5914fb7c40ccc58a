package audit

import (
	"slices"
	"time"
)

// Action is what was done or tried.
type Action string

// The actions there are.
const (
	KeyCreate    Action = "key.create"
	KeyRotate    Action = "key.rotate"
	KeyRevoke    Action = "key.revoke"
	TicketCreate Action = "ticket.create"
	TicketUse    Action = "ticket.use"
	JobSubmit    Action = "job.submit"
	JobCancel    Action = "job.cancel"
	JobRetry     Action = "job.retry"
	// AuthFailure is a request whose credential was refused, or that had none.
	AuthFailure Action = "auth.failure"
	// PermissionDenied is a call that a key may not make; its target is the method
	// or route.
	PermissionDenied Action = "permission.denied"
)

// Actions lists every action.
func Actions() []Action {
	return []Action{
		KeyCreate, KeyRotate, KeyRevoke, TicketCreate, TicketUse, JobSubmit, JobCancel, JobRetry, AuthFailure, PermissionDenied,
	}
}

// Valid reports whether there is such an action.
func (a Action) Valid() bool { return slices.Contains(Actions(), a) }

// Stored reports whether records of the action are documents too. A job's own
// document says who submitted it.
func (a Action) Stored() bool {
	return slices.Contains([]Action{KeyCreate, KeyRotate, KeyRevoke, JobCancel}, a)
}

// Outcome is how an action ended.
type Outcome string

// The outcomes.
const (
	Done    Outcome = "done"
	Refused Outcome = "refused"
	Failed  Outcome = "failed"
)

// Record is one action, or several that were alike.
type Record struct {
	// ID and Time are given by the trail.
	ID      string    `json:"id"`
	Time    time.Time `json:"time"`
	Action  Action    `json:"action"`
	Outcome Outcome   `json:"outcome"`
	// Tenant is whose the target is; empty where nobody was recognised.
	Tenant string `json:"tenant,omitempty"`
	// KeyID is who did it.
	KeyID string `json:"key_id,omitempty"`
	// Target is the id of what it was done to.
	Target string `json:"target,omitempty"`
	// Code is the error code of an action that was refused or failed.
	Code string `json:"code,omitempty"`
	// Address is where the request came from, without a port.
	Address   string `json:"address,omitempty"`
	RequestID string `json:"request_id,omitempty"`
	// Count is how many the record stands for; 0: one.
	Count int `json:"count,omitempty"`
}
