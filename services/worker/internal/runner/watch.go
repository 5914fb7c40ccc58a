package runner

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"codexgateway.dev/pkg/job"
	"codexgateway.dev/services/worker/internal/quota"
)

// heartbeat extends the lease every third of it, and looks at what people want
// of the job when poked. It fences its own run when the lease may have passed:
// a store that does not answer must not leave two workers at one job.
func (u *run) heartbeat(ctx context.Context) {
	third := u.cfg.Lease / 3
	extended := time.Now()
	ticker := time.NewTicker(third)
	defer ticker.Stop()
	for {
		var c *job.Control
		var err error
		select {
		case <-ctx.Done():
			return
		case <-u.poke:
			c, err = u.held.Control(ctx)
		case <-ticker.C:
			began := time.Now()
			beat, cancel := context.WithTimeout(ctx, third)
			if c, err = u.held.Heartbeat(beat, u.usage()); err == nil {
				extended = began
			}
			cancel()
		}
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && c.Cancelled():
			u.stop(errCancelled)
		case errors.Is(err, job.ErrLeaseLost), time.Since(extended) > u.cfg.Lease-third/2:
			u.stop(errLost)
			u.kill()
			return
		case err != nil:
			u.log.WarnContext(ctx, "heartbeat failed", slog.Any("error", err))
		}
	}
}

// watchStall stops a run whose Codex says nothing for too long.
func (u *run) watchStall(ctx context.Context) {
	for {
		u.mu.Lock()
		left := u.cfg.StallAfter - time.Since(u.progress)
		u.mu.Unlock()
		if left <= 0 {
			u.stop(errStalled)
			return
		}
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// heard notes that something moves.
func (u *run) heard() {
	u.mu.Lock()
	u.progress = time.Now()
	u.mu.Unlock()
}

// watchDisk stops a run whose files take too much. It kills at once: whatever
// else the run could do would need the space.
func (u *run) watchDisk(ctx context.Context) {
	select {
	case slot := <-u.taken:
		if err := quota.Watch(ctx, []string{slot.Workspace, slot.Tmp, slot.Home}, u.cfg.Disk); err != nil {
			u.stop(fullError(u.cfg.Disk, err))
			u.kill()
		}
	case <-ctx.Done():
	}
}

// kill ends the slot's processes at once: no effect of a lost job may go on.
func (u *run) kill() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.slot != nil {
		u.slot.Kill()
	}
}

// goneTime bounds the wait for killed processes; they take milliseconds, also
// when they are thousands, unless one is stuck in the kernel.
const goneTime = 3 * time.Second

// end is kill, and returns when every process is gone.
func (u *run) end(ctx context.Context) {
	u.kill()
	u.mu.Lock()
	slot := u.slot
	u.mu.Unlock()
	if slot == nil {
		return
	}
	timer := time.NewTimer(goneTime)
	defer timer.Stop()
	select {
	case <-slot.Gone():
	case <-timer.C:
		u.log.WarnContext(ctx, "processes of a killed job still exist")
	}
}
