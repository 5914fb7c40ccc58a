package pool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/id"
	"codexgateway.dev/pkg/wait"
	"codexgateway.dev/services/worker/internal/broker"
	"codexgateway.dev/services/worker/internal/codex"
	"codexgateway.dev/services/worker/internal/jail"
	"codexgateway.dev/services/worker/internal/workspace"
)

// Config of a pool.
type Config struct {
	// Dir holds the slots; what an earlier process left in it is removed.
	Dir string
	// Warm is how many slots are kept ready.
	Warm int
	// StartTimeout bounds the start of one process.
	StartTimeout time.Duration
	// Version is the gateway's own, told to Codex.
	Version string
	// Limits bound each slot's processes.
	Limits jail.Limits
}

// Deps of a pool.
type Deps struct {
	Launcher *jail.Launcher
	Broker   *broker.Broker
	Logger   *slog.Logger
	// Policy of the empty workspaces.
	Policy workspace.Policy
}

// ErrClosed is the error of Take after the pool ended.
var ErrClosed = errors.New("pool: closed")

// Pool keeps slots warm. Run owns its goroutine; Take and Slot.Close may be
// called from anywhere.
type Pool struct {
	cfg Config
	Deps

	template string
	making   chan struct{} // capacity 1: held while the template is made or read

	wake chan struct{} // capacity 1: somebody took a slot

	mu     sync.Mutex
	ready  []*Slot
	closed bool
}

// New cleans the directory of what an earlier process left and returns a pool.
func New(cfg Config, d Deps) (*Pool, error) {
	if err := workspace.Remove(cfg.Dir); err != nil {
		return nil, err
	}
	// 0711: the jail's user passes through to its slot and can list nothing.
	if err := os.MkdirAll(cfg.Dir, 0o711); err != nil { //nolint:gosec // G301: see above
		return nil, fmt.Errorf("pool: %w", err)
	}
	return &Pool{cfg: cfg, Deps: d, wake: make(chan struct{}, 1), making: make(chan struct{}, 1)}, nil
}

// Run keeps the pool warm until ctx ends, then destroys what nobody took.
func (p *Pool) Run(ctx context.Context) error {
	const minBackoff, maxBackoff = 500 * time.Millisecond, 30 * time.Second
	backoff := minBackoff
	for ctx.Err() == nil {
		if !p.short() {
			select {
			case <-p.wake:
			case <-ctx.Done():
			}
			continue
		}
		slot, err := p.start(ctx)
		if err != nil {
			if ctx.Err() == nil {
				p.Logger.ErrorContext(ctx, "codex process did not start", slog.Any("error", err), slog.Duration("retry_in", backoff))
			}
			wait.For(ctx, backoff)
			backoff = min(2*backoff, maxBackoff)
			continue
		}
		backoff = minBackoff
		p.put(slot)
	}
	return p.drain(context.WithoutCancel(ctx))
}

// refill wakes Run. A slot that is taken is replaced when its job is over, so
// that the start of a process does not compete with the job that just began;
// only an empty pool cannot wait for that.
func (p *Pool) refill() {
	select {
	case p.wake <- struct{}{}:
	default: // a wake-up is already waiting
	}
}

// short reports whether slots are missing.
func (p *Pool) short() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.ready) < p.cfg.Warm
}

func (p *Pool) put(s *Slot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ready = append(p.ready, s)
}

// Take returns a ready slot, or starts one. The caller owns it and closes it.
func (p *Pool) Take(ctx context.Context) (*Slot, error) {
	for {
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return nil, ErrClosed
		}
		var s *Slot
		if len(p.ready) > 0 {
			s, p.ready = p.ready[0], p.ready[1:]
		}
		empty := len(p.ready) == 0
		p.mu.Unlock()
		if empty {
			p.refill()
		}
		switch {
		case s == nil:
			return p.start(ctx)
		case s.Alive():
			return s, nil
		}
		// It died while it waited: out of memory, or killed by hand.
		p.Logger.WarnContext(ctx, "warm codex process had died")
		if err := s.Close(ctx); err != nil {
			p.Logger.WarnContext(ctx, "dead slot not removed", slog.Any("error", err))
		}
	}
}

// drain closes the pool and destroys the slots nobody took.
func (p *Pool) drain(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	ready := p.ready
	p.ready = nil
	p.mu.Unlock()
	all := make([]error, 0, len(ready))
	for _, s := range ready {
		s.Kill() // it runs nothing worth a farewell
		all = append(all, s.Close(ctx))
	}
	return errors.Join(all...)
}

// start makes a slot: directories, jail, initialize.
func (p *Pool) start(ctx context.Context) (*Slot, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, p.cfg.StartTimeout, errs.New(errs.CodexCrashed, "Codex did not start in time."))
	defer cancel()
	template, err := p.makeTemplate(ctx)
	if err != nil {
		return nil, err
	}
	s, err := p.layOut(ctx, template)
	if err != nil {
		return nil, err
	}
	if err := p.launch(ctx, s); err != nil {
		return nil, errors.Join(err, workspace.Remove(s.Dir))
	}
	session, err := p.Broker.Open()
	if err != nil {
		return nil, errors.Join(err, s.Close(ctx))
	}
	s.Session = session
	return s, nil
}

// layOut makes the directories of a slot and fills CODEX_HOME from the template.
func (p *Pool) layOut(ctx context.Context, template string) (*Slot, error) {
	dir := filepath.Join(p.cfg.Dir, id.New(id.Worker))
	s := &Slot{
		refill: p.refill,
		Dir:    dir, Home: filepath.Join(dir, "home"), Workspace: filepath.Join(dir, "workspace"),
		Tmp: filepath.Join(dir, "tmp"), State: filepath.Join(dir, "state"),
	}
	fill := func() error {
		for _, d := range []string{s.Dir, s.Workspace, s.Tmp} {
			if err := os.Mkdir(d, 0o711); err != nil { //nolint:gosec // G301: the jail's user passes through
				return err
			}
		}
		if template == "" {
			if err := os.Mkdir(s.Home, 0o700); err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(s.Home, "config.toml"), codex.HomeConfig(), 0o600); err != nil {
				return err
			}
		} else if err := os.CopyFS(s.Home, os.DirFS(template)); err != nil {
			return err
		}
		if err := layHome(s.Tmp); err != nil {
			return err
		}
		var err error
		if s.Empty, err = workspace.Prepare(ctx, workspace.Request{Dir: s.Workspace, State: s.State}, p.Policy); err != nil {
			return err
		}
		for _, d := range []string{s.Home, s.Workspace, s.Tmp} {
			if err := p.Launcher.Own(d); err != nil {
				return err
			}
		}
		return nil
	}
	if err := fill(); err != nil {
		return nil, errors.Join(fmt.Errorf("pool: lay out slot: %w", err), workspace.Remove(dir))
	}
	return s, nil
}

// layHome makes the home directory of the job's commands, which is Tmp/home in a
// jail. They run in login shells, and /etc/profile sets a PATH of its own; this
// puts back what the job's environment had, rg of the Codex package included.
func layHome(tmp string) error {
	home := filepath.Join(tmp, "home")
	if err := os.Mkdir(home, 0o700); err != nil {
		return err
	}
	profile := "PATH=" + jail.CodexDir + "/codex-path:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nexport PATH\n"
	return os.WriteFile(filepath.Join(home, ".bash_profile"), []byte(profile), 0o600)
}

// launch starts Codex in the slot and initialises it.
func (p *Pool) launch(ctx context.Context, s *Slot) error {
	begin := time.Now()
	spec := jail.Spec{
		Args: []string{"app-server"}, Home: s.Home, Workspace: s.Workspace, Tmp: s.Tmp,
		Limits: p.cfg.Limits,
	}
	// Only what Codex needs for itself: with git on its PATH it starts some
	// twelve git processes a job (150 ms, measured) for a hint to the model.
	// Commands get a PATH of their own from the job's configuration.
	spec.Env = []string{"PATH=" + filepath.Join(p.Launcher.Paths(spec).Codex, "codex-path")}
	proc, err := p.Launcher.Start(ctx, spec)
	if err != nil {
		return fmt.Errorf("pool: start codex: %w", err)
	}
	s.proc, s.Paths = proc, proc.Paths
	s.Codex = codex.NewClient(codex.Transport{In: proc.Stdin, Out: proc.Stdout, Err: proc.Stderr}, codex.Options{ //nolint:contextcheck // the client outlives the start
		Logger: p.Logger, OnNotification: s.notify,
	})
	info, err := s.Codex.Initialize(ctx, p.cfg.Version)
	if err != nil {
		proc.Kill()
		<-proc.Done()
		<-s.Codex.Done()
		<-s.Codex.Said() // no process holds it any more
		return fmt.Errorf("pool: initialize codex: %w (stderr: %s)", err, lastLine(s.Codex.Stderr()))
	}
	s.Started = time.Since(begin)
	p.Logger.DebugContext(ctx, "codex process ready", slog.Int("pid", proc.PID()),
		slog.Duration("took", s.Started), slog.String("version", info.Version()))
	return nil
}

// makeTemplate starts Codex once in an empty CODEX_HOME and keeps what it
// made: creating its six databases costs 100 to 200 ms of every cold start.
func (p *Pool) makeTemplate(ctx context.Context) (string, error) {
	select {
	case p.making <- struct{}{}:
		defer func() { <-p.making }()
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	if p.template != "" {
		return p.template, nil
	}
	s, err := p.layOut(ctx, "")
	if err != nil {
		return "", err
	}
	if err := p.launch(ctx, s); err != nil {
		return "", errors.Join(err, workspace.Remove(s.Dir))
	}
	// Codex ends its databases cleanly on the end of stdin; only then may they
	// be copied.
	_ = s.Codex.Close()
	if err := s.proc.Stop(ctx, 5*time.Second); err != nil {
		return "", fmt.Errorf("pool: stop template: %w", err)
	}
	<-s.Codex.Done()
	template := filepath.Join(p.cfg.Dir, "template")
	if err := os.Rename(s.Home, template); err != nil {
		return "", errors.Join(fmt.Errorf("pool: keep template: %w", err), workspace.Remove(s.Dir))
	}
	p.template = template
	return template, workspace.Remove(s.Dir)
}

// lastLine is the end of Codex's stderr, for an operator's log.
func lastLine(s string) string {
	const most = 300
	if len(s) > most {
		s = s[len(s)-most:]
	}
	return s
}
