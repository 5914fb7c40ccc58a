package jail

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// Launcher starts process trees. It owns one OS thread for as long as it is
// open: the kernel sends the parent-death signal, which ends every tree when
// the worker is killed, at the death of the *thread* that started it.
type Launcher struct {
	cfg     Config
	thread  *thread
	closing sync.Once
}

// Open returns a launcher for cfg, after it has ended what an earlier launcher
// with the same Config.Mark left when its process was killed. It starts no
// process; ask [Launcher.Detect] whether the mode works. Close it when all
// processes have ended.
func Open(cfg Config) (*Launcher, error) {
	if !filepath.IsAbs(cfg.Codex) {
		return nil, fmt.Errorf("jail: Config.Codex %q is not an absolute path", cfg.Codex)
	}
	if cfg.UID == 0 {
		cfg.UID = nobody
	}
	if cfg.GID == 0 {
		cfg.GID = nobody
	}
	if cfg.TmpBytes == 0 {
		cfg.TmpBytes = 1 << 30
	}
	if cfg.ShmBytes == 0 {
		cfg.ShmBytes = 256 << 20
	}
	if os.Geteuid() != 0 || cfg.Mode != Namespace {
		cfg.UID, cfg.GID = os.Geteuid(), os.Getegid()
	}
	l := &Launcher{cfg: cfg}
	if err := l.prepare(); err != nil {
		return nil, err
	}
	inheritNothing()
	l.thread = startThread(&l.cfg)
	if err := l.thread.err; err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// Close ends the launcher's thread, which kills every tree still running.
func (l *Launcher) Close() {
	l.closing.Do(l.thread.stop)
}

// Mode is the mode the launcher was opened with.
func (l *Launcher) Mode() Mode { return l.cfg.Mode }

// Paths says where a tree with this spec will see its directories; for what
// must be written before the start, such as config.toml.
func (l *Launcher) Paths(s Spec) Paths { return l.cfg.paths(&s) }

// Own gives dir and everything below it to the user the trees run as. It must
// have returned before a tree works in dir. It does nothing when the worker
// runs them as itself.
func (l *Launcher) Own(dir string) error {
	if l.cfg.UID == os.Geteuid() {
		return nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("jail: own: %w", err)
	}
	defer func() { _ = root.Close() }()
	err = fs.WalkDir(root.FS(), ".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return root.Lchown(name, l.cfg.UID, l.cfg.GID)
	})
	if err != nil {
		return fmt.Errorf("jail: own %s: %w", dir, err)
	}
	return nil
}

// Start starts the tree. ctx bounds the start only, not the life of the tree.
// That the program could be executed is known when it answers, or from
// [ExitState].Started.
func (l *Launcher) Start(ctx context.Context, s Spec) (*Process, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("jail: start: %w", context.Cause(ctx))
	}
	if l.cfg.Mode == ProcessGroup {
		return l.startGroup(ctx, s)
	}
	return l.startNamespace(ctx, s)
}

// program is the path and the arguments as the tree sees them.
func (l *Launcher) program(s *Spec) string {
	if s.Binary != "" {
		return s.Binary
	}
	return filepath.Join(l.cfg.paths(s).Codex, "bin", "codex")
}
