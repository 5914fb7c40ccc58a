package worker

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/id"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/services/worker/internal/jail"
)

// Config of the worker.
type Config struct {
	// DataDir holds the slots of running jobs; it must not lie under the
	// temporary directory, where Codex refuses to put its helpers.
	DataDir string `env:"CODEXGW_WORKER_DIR" doc:"Directory for the slots of running jobs; not under the temporary directory."`
	// Codex is the CLI: the native program, the npm wrapper or a directory with
	// either; empty: .codex-cli here or above, then PATH.
	Codex string `env:"CODEXGW_CODEX" doc:"The Codex CLI, or the directory npm installed it in."`

	// Intake is how jobs come: over a bus subscription that the worker pulls, or
	// that the platform pushes over HTTP (both open the same subscription), or one
	// job by name, after which the worker ends.
	Intake string `env:"CODEXGW_INTAKE,default=pull" oneof:"pull,push,once" doc:"How jobs come: pull (the worker asks the bus), push (the bus calls POST /push/ on PORT), once (the job CODEXGW_JOB_ID, then the worker ends)."`
	// Lanes choose the subscription; empty: both.
	Lanes []string `env:"CODEXGW_LANES,default=short,long" doc:"Lanes of jobs this worker takes: short,long or short or long. A pushed worker takes short only: the bus gives up a pushed job after 10 minutes."`
	JobID string   `env:"CODEXGW_JOB_ID" doc:"The job that a worker with CODEXGW_INTAKE=once runs."`

	Concurrency int `env:"CODEXGW_WORKER_CONCURRENCY,default=4" min:"1" max:"256" doc:"Jobs this worker runs at once."`
	Warm        int `env:"CODEXGW_WORKER_WARM,default=2" min:"0" max:"64" doc:"Initialised Codex processes kept ready; each costs about 12 MB."`

	Lease      time.Duration `env:"CODEXGW_LEASE,default=15s" min:"1s" max:"10m" doc:"How long a job stays with a worker that says nothing."`
	DeltaDelay time.Duration `env:"CODEXGW_DELTA_DELAY,default=25ms" doc:"How long text deltas wait for company before they are stored."`
	Grace      time.Duration `env:"CODEXGW_CANCEL_GRACE,default=10s" min:"100ms" max:"5m" doc:"How long an interrupted turn may take before its processes are killed."`
	StallAfter time.Duration `env:"CODEXGW_STALL_AFTER,default=15m" min:"1s" max:"6h" doc:"How long Codex may be silent before the job fails as stalled."`

	Model            string        `env:"CODEXGW_MODEL,default=gpt-5.5" doc:"Model of jobs that name none."`
	ModelBaseURL     string        `env:"CODEXGW_MODEL_BASE_URL,default=https://api.openai.com/v1" doc:"Model API, ends in /v1; /responses is added."`
	ModelKeySecret   string        `env:"CODEXGW_MODEL_KEY_SECRET,default=openai-api-key" doc:"Name of the secret that holds the model key."`
	ModelRetries     int           `env:"CODEXGW_MODEL_ATTEMPTS,default=6" min:"1" max:"20" doc:"Requests the broker makes before it passes a failing model's answer on."`
	ModelRetryWait   time.Duration `env:"CODEXGW_MODEL_RETRY_WAIT,default=2m" min:"1s" max:"1h" doc:"Longest sum of the broker's waits between those requests."`
	AllowUnsandboxed bool          `env:"CODEXGW_ALLOW_UNSANDBOXED,default=false" doc:"Take jobs although a check of the sandbox failed; their commands may then fail or be less confined. Only where the whole worker is one throw-away sandbox."`

	JobProcesses int   `env:"CODEXGW_JOB_PROCESSES,default=2048" min:"64" max:"1000000" doc:"Processes and threads of one job, some 40 of them Codex's own; a command that starts more gets an error."`
	JobOpenFiles int   `env:"CODEXGW_JOB_OPEN_FILES,default=16384" min:"256" max:"1000000" doc:"Open files of each process of a job."`
	JobFileBytes int64 `env:"CODEXGW_JOB_FILE_BYTES,default=4294967296" min:"67108864" doc:"Largest file a job may write, in bytes."`
	JobDiskBytes int64 `env:"CODEXGW_JOB_DISK_BYTES,default=10737418240" min:"67108864" doc:"Disk that a job's workspace and temporary files may take, in bytes; a job over it fails with workspace_full."`
	JobDiskFiles int64 `env:"CODEXGW_JOB_DISK_FILES,default=1000000" min:"1000" doc:"Files and directories a job may have; a job over it fails with workspace_full."`

	RepoAllowFile bool     `env:"CODEXGW_REPO_ALLOW_FILE,default=false" doc:"Allow file:// repositories."`
	RepoMaxBytes  int64    `env:"CODEXGW_REPO_MAX_BYTES,default=2147483648" doc:"Largest repository a job may clone, in bytes."`
	EgressAllow   []string `env:"CODEXGW_EGRESS_ALLOW" doc:"CIDRs of otherwise refused addresses that clones may reach."`
}

// Validate reports everything that is wrong at once; it implements
// chassis.Validator.
func (c *Config) Validate() []error {
	var all []error
	if c.DataDir == "" {
		all = append(all, errors.New("CODEXGW_WORKER_DIR: a directory is required"))
	}
	if c.ModelBaseURL == "" || c.ModelKeySecret == "" || c.Model == "" {
		all = append(all, errors.New("CODEXGW_MODEL, CODEXGW_MODEL_BASE_URL and CODEXGW_MODEL_KEY_SECRET must not be empty"))
	}
	if _, err := c.egress(); err != nil {
		all = append(all, err)
	}
	return append(all, c.validateIntake()...)
}

// validateIntake checks how jobs come.
func (c *Config) validateIntake() []error {
	var all []error
	for _, lane := range c.Lanes {
		if lane != job.LaneShort && lane != job.LaneLong {
			all = append(all, fmt.Errorf("CODEXGW_LANES: %q is no lane: short,long, short or long", lane))
		}
	}
	switch c.Intake {
	case "", IntakePull:
	case IntakePush:
		if c.takes(job.LaneLong) {
			all = append(all, errors.New("CODEXGW_LANES must be short where CODEXGW_INTAKE is push: the bus gives up a pushed job after 10 minutes"))
		}
	case IntakeOnce:
		if !id.Is(id.Job, c.JobID) {
			all = append(all, errors.New("CODEXGW_JOB_ID must name a job where CODEXGW_INTAKE is once"))
		}
	default:
		all = append(all, fmt.Errorf("CODEXGW_INTAKE: %q is not pull, push or once", c.Intake))
	}
	return all
}

// Intakes of a worker.
const (
	IntakePull = "pull"
	IntakePush = "push"
	IntakeOnce = "once"
)

// takes reports whether the worker takes jobs of a lane.
func (c *Config) takes(lane string) bool { return len(c.Lanes) == 0 || slices.Contains(c.Lanes, lane) }

// subscription is the one the worker's jobs come by.
func (c *Config) subscription() string {
	switch short, long := c.takes(job.LaneShort), c.takes(job.LaneLong); {
	case short && long:
		return events.SubJobCommandsWorker
	case short:
		return events.SubJobCommandsWorkerShort
	default:
		return events.SubJobCommandsWorkerLong
	}
}

// egress parses EgressAllow.
func (c *Config) egress() ([]netip.Prefix, error) {
	prefixes := make([]netip.Prefix, 0, len(c.EgressAllow))
	for _, cidr := range c.EgressAllow {
		p, err := netip.ParsePrefix(cidr)
		if err != nil {
			return nil, fmt.Errorf("CODEXGW_EGRESS_ALLOW: %q is not a CIDR such as 10.0.0.0/8", cidr)
		}
		prefixes = append(prefixes, p)
	}
	return prefixes, nil
}

// limits are what the kernel holds one job to.
func (c *Config) limits() jail.Limits {
	return jail.Limits{
		Processes: uint64(c.JobProcesses), OpenFiles: uint64(c.JobOpenFiles), FileBytes: uint64(c.JobFileBytes), //nolint:gosec // G115: at least the declared minimum
	}
}
