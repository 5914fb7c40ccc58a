package reconciler

import (
	"errors"
	"time"
)

// Intakes of a reconciler.
const (
	// IntakeLoop sweeps all the time.
	IntakeLoop = "loop"
	// IntakeTick sweeps while a request to POST /tick lasts.
	IntakeTick = "tick"
)

// Config of the reconciler.
type Config struct {
	Intake string `env:"CODEXGW_RECONCILE_INTAKE,default=loop" oneof:"loop,tick" doc:"loop: sweep all the time; tick: sweep while POST /tick is answered, for a scheduler that calls it every minute and a service that scales to zero."`
	// Interval between two sweeps while there is live work. A sweep is a handful
	// of indexed queries and one read for each running job.
	Interval time.Duration `env:"CODEXGW_RECONCILE_INTERVAL,default=1s" min:"10ms" doc:"Time between two sweeps for work that a crash left, while jobs are queued or run."`
	// IdleInterval between two sweeps of a gateway without work; 0: Interval.
	IdleInterval time.Duration `env:"CODEXGW_RECONCILE_IDLE_INTERVAL" min:"0" doc:"Time between two sweeps while nothing is queued or runs; the interval above if not set."`
	// Upkeep is how often an idle gateway is looked through for what is not
	// urgent; 0: at every sweep.
	Upkeep time.Duration `env:"CODEXGW_RECONCILE_UPKEEP,default=5s" min:"0" doc:"Time between two looks for what is not urgent: logs to archive or to remove, expired claims."`
	// TickFor is how long one tick may go on.
	TickFor time.Duration `env:"CODEXGW_TICK_FOR,default=55s" min:"1s" max:"30m" doc:"How long one POST /tick goes on sweeping while jobs are queued or run."`
	// Batch bounds how many jobs one sweep repairs per reason.
	Batch int `env:"CODEXGW_RECONCILE_BATCH,default=200" min:"1" max:"1000" doc:"Most jobs one sweep repairs for one reason."`
	// AnnounceAtStart tells the workers about every queued job once: for a
	// platform whose bus forgets at a restart.
	AnnounceAtStart bool `env:"CODEXGW_ANNOUNCE_AT_START,default=false" doc:"Announce every queued job at start; for a bus that forgets."`

	ExecutionJob   string        `env:"CODEXGW_EXECUTION_JOB" doc:"The Cloud Run job whose executions run one gateway job of lane long each; none are started if not set."`
	ExecutionRetry time.Duration `env:"CODEXGW_EXECUTION_RETRY,default=3m" min:"10s" max:"1h" doc:"How long an execution has to claim its job before another is started."`

	Pool                string        `env:"CODEXGW_POOL" doc:"The Cloud Run worker pool whose size follows the work; none is sized if not set."`
	PoolJobsPerInstance int           `env:"CODEXGW_POOL_JOBS_PER_INSTANCE,default=4" min:"1" max:"256" doc:"Jobs one worker of the pool runs at once: its CODEXGW_WORKER_CONCURRENCY."`
	PoolMin             int           `env:"CODEXGW_POOL_MIN,default=0" min:"0" max:"1000" doc:"Fewest workers of the pool."`
	PoolMax             int           `env:"CODEXGW_POOL_MAX,default=10" min:"1" max:"1000" doc:"Most workers of the pool."`
	PoolShrinkAfter     time.Duration `env:"CODEXGW_POOL_SHRINK_AFTER,default=2m" min:"0" max:"1h" doc:"How long fewer workers must have been enough before the pool shrinks."`
}

// Validate implements chassis.Validator.
func (c *Config) Validate() []error {
	var all []error
	if c.Interval <= 0 || c.Batch <= 0 {
		all = append(all, errors.New("CODEXGW_RECONCILE_INTERVAL and CODEXGW_RECONCILE_BATCH must be positive"))
	}
	if c.IdleInterval > 0 && c.IdleInterval < c.Interval {
		all = append(all, errors.New("CODEXGW_RECONCILE_IDLE_INTERVAL must not be shorter than CODEXGW_RECONCILE_INTERVAL"))
	}
	if c.Pool != "" && (c.PoolMin > c.PoolMax || c.PoolJobsPerInstance <= 0) {
		all = append(all, errors.New("CODEXGW_POOL_MIN must not be more than CODEXGW_POOL_MAX, and CODEXGW_POOL_JOBS_PER_INSTANCE at least 1"))
	}
	return all
}

// idle is the time between two sweeps without live work.
func (c *Config) idle() time.Duration { return max(c.IdleInterval, c.Interval) }
