package schedule

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Action is one kind of harm.
type Action string

// Platform is what the documents and the messages are on: each has harms of its own.
type Platform string

// The platforms.
const (
	Embedded Platform = "embedded"
	Cloud    Platform = "gcp"
)

// The actions. Kill is SIGKILL and Term SIGTERM, after both of which the process
// is started again at once; Freeze is SIGSTOP until the step's time is over.
const (
	KillEdge       Action = "kill_edge"
	KillWorker     Action = "kill_worker"
	KillReconciler Action = "kill_reconciler"
	KillHost       Action = "kill_host"
	KillCodex      Action = "kill_codex"
	FreezeWorker   Action = "freeze_worker"
	TermWorker     Action = "term_worker"
	TermEdge       Action = "term_edge"
	SlowStore      Action = "slow_store"
	LossyBus       Action = "lossy_bus"
	RefuseCommits  Action = "refuse_commits"
	LoseAnswers    Action = "lose_answers"
	FullDisk       Action = "full_disk"
)

// The actions that only the emulators of the cloud know. Pause is SIGSTOP until
// the step's time is over; a restart of Pub/Sub loses every topic, subscription
// and message, and whoever runs the platform makes the topics again.
const (
	PausePubSub    Action = "pause_pubsub"
	PauseFirestore Action = "pause_firestore"
	RestartPubSub  Action = "restart_pubsub"
)

// Known reports whether there is such an action on a platform.
func (a Action) Known(on Platform) bool {
	for _, w := range weights(on) {
		if w.action == a {
			return true
		}
	}
	return false
}

// Step is one harm.
type Step struct {
	At     time.Duration
	Action Action
	// Target is the number of the process among its like; 0 where there is one
	// or none.
	Target int
	// For is how long a frozen process is frozen or a phase lasts; 0 for the rest.
	For time.Duration
}

func (s Step) String() string {
	return fmt.Sprintf("%v %s %d %v", s.At, s.Action, s.Target, s.For)
}

// Plan is what a schedule is made for.
type Plan struct {
	Seed   uint64
	Length time.Duration
	// Gap is the mean time between two steps.
	Gap time.Duration
	// Edges, Workers and Reconcilers are how many there are to choose from.
	Edges, Workers, Reconcilers int
	// Lease is the workers': a freeze must outlast it.
	Lease time.Duration
	// Only are the actions to choose from; nil: all of the platform.
	Only []Action
	// Platform; empty: Embedded.
	Platform Platform
}

// weighted is an action and how often it is chosen.
type weighted struct {
	action Action
	weight int
}

// weights say how often each action is chosen. They are in a fixed order: a map
// would make the schedule another one each time.
func weights(on Platform) []weighted {
	if on == Cloud {
		return []weighted{
			{KillWorker, 16},
			{KillEdge, 12},
			{KillReconciler, 8},
			{KillCodex, 10},
			{FreezeWorker, 14},
			{TermWorker, 8},
			{TermEdge, 6},
			{PausePubSub, 8},
			{PauseFirestore, 8},
			{RestartPubSub, 5},
		}
	}
	return []weighted{
		{KillWorker, 16},
		{KillEdge, 12},
		{KillHost, 9},
		{KillReconciler, 8},
		{KillCodex, 10},
		{FreezeWorker, 14},
		{TermWorker, 8},
		{TermEdge, 6},
		{SlowStore, 4},
		{LossyBus, 5},
		{RefuseCommits, 3},
		{LoseAnswers, 3},
		{FullDisk, 2},
	}
}

// Make returns the steps of a plan in the order of their times. The first comes
// after a gap, so that there is something to harm.
func Make(p *Plan) []Step {
	rng := rand.New(rand.NewPCG(p.Seed, uint64(p.Length))) //nolint:gosec // G115: a length is positive
	var steps []Step
	for at := p.Gap; at < p.Length; at += p.Gap/4 + time.Duration(rng.Int64N(int64(p.Gap)*3/2)) {
		s := Step{At: at.Round(time.Millisecond), Action: choose(rng, p)}
		ms := func(from, to int) time.Duration { return time.Duration(from+rng.IntN(to-from)) * time.Millisecond }
		switch s.Action {
		case KillEdge, TermEdge:
			s.Target = rng.IntN(p.Edges)
		case KillWorker, KillCodex, TermWorker:
			s.Target = rng.IntN(p.Workers)
		case KillReconciler:
			s.Target = rng.IntN(p.Reconcilers)
		case FreezeWorker:
			s.Target = rng.IntN(p.Workers)
			s.For = p.Lease + ms(1000, 4000)
		case SlowStore, LossyBus:
			s.For = ms(2000, 6000)
		case RefuseCommits, LoseAnswers:
			s.For = ms(1000, 4000)
		case FullDisk:
			s.For = ms(500, 2000)
		case PausePubSub, PauseFirestore:
			s.For = ms(1000, 5000)
		case KillHost, RestartPubSub:
		}
		steps = append(steps, s)
	}
	return steps
}

func choose(rng *rand.Rand, p *Plan) Action {
	if len(p.Only) > 0 {
		return p.Only[rng.IntN(len(p.Only))]
	}
	of := weights(p.Platform)
	all := 0
	for _, w := range of {
		all += w.weight
	}
	at := rng.IntN(all)
	for _, w := range of {
		if at -= w.weight; at < 0 {
			return w.action
		}
	}
	return KillWorker // not reached: at is below the sum
}
