package reconciler

import (
	"context"
	"net/http"

	"codexgateway.dev/pkg/wait"
)

// Tick serves POST /tick, which a scheduler calls every minute: it sweeps, and
// while jobs are queued or run it goes on at the interval for most of the minute,
// so that leases are watched although the service has its CPU only while it
// answers, and may be gone between two ticks. It answers 204. A tick that comes
// while another sweeps answers 204 at once, so that two schedulers or a retry do
// no harm; whoever may call it can make the gateway sweep and nothing else.
//
// It is for CODEXGW_RECONCILE_INTAKE=tick; otherwise it answers 404.
func (s *Service) Tick(w http.ResponseWriter, r *http.Request) {
	if s.cfg.Intake != IntakeTick {
		http.NotFound(w, r)
		return
	}
	select {
	case s.ticking <- struct{}{}:
		defer func() { <-s.ticking }()
		s.tick(r.Context())
	default:
	}
	w.WriteHeader(http.StatusNoContent)
}

// tick sweeps as long as there is live work, for TickFor at most.
func (s *Service) tick(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.TickFor)
	defer cancel()
	defer context.AfterFunc(s.stopping, cancel)() //nolint:contextcheck // it ends with Quiesce, not with a caller
	s.worked = false                              // of the last tick
	for s.Sweep(ctx) {
		if !wait.For(ctx, s.cfg.Interval) {
			return
		}
	}
}
