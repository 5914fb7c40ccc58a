package job

import "slices"

// State of a job.
type State string

// The states. The last four are terminal.
const (
	Queued    State = "queued"
	Running   State = "running"
	Waiting   State = "waiting"
	Completed State = "completed"
	Failed    State = "failed"
	Cancelled State = "cancelled"
	TimedOut  State = "timed_out"
)

// transitions is the whole state machine: what is not here is refused.
// Running and waiting go back to queued when a worker hands a job back or is
// lost; queued ends directly when it is cancelled, or when the reconciler
// finds that nothing is left to try.
var transitions = map[State][]State{
	Queued:    {Running, Failed, Cancelled, TimedOut},
	Running:   {Running, Waiting, Queued, Completed, Failed, Cancelled, TimedOut},
	Waiting:   {Running, Queued, Completed, Failed, Cancelled, TimedOut},
	Completed: {},
	Failed:    {},
	Cancelled: {},
	TimedOut:  {},
}

// CanBecome reports whether the state machine has the transition.
func (s State) CanBecome(next State) bool { return slices.Contains(transitions[s], next) }

// Terminal reports whether a job in this state has ended.
func (s State) Terminal() bool {
	next, known := transitions[s]
	return known && len(next) == 0
}

// Valid reports whether s is a state at all.
func (s State) Valid() bool {
	_, ok := transitions[s]
	return ok
}

// States lists every state, for references and validation.
func States() []State {
	return []State{Queued, Running, Waiting, Completed, Failed, Cancelled, TimedOut}
}
