package runner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
	"gocloud.dev/blob"

	"codexgateway.dev/pkg/conversation"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/services/worker/internal/codex"
	"codexgateway.dev/services/worker/internal/pool"
	"codexgateway.dev/services/worker/internal/workspace"
)

// space is a prepared workspace, as the job sees it.
type space struct {
	*workspace.Workspace

	// origin is the checkout it began as; nil for an empty one.
	origin *conversation.Origin
	// cwd is where the turn starts, in the jail's paths.
	cwd string
	// instructions is the text of the repository's AGENTS.md. Codex reads that
	// file in trusted projects only, and trust would also run the repository's
	// MCP servers outside the sandbox; so the text is passed and the trust is not.
	instructions string
}

// maxInstructions bounds AGENTS.md, as Codex itself does (project_doc_max_bytes).
const maxInstructions = 32 << 10

// prepare fills the slot's workspace: the job's repository, what the
// conversation's last job left, or the empty one the slot came with.
func (u *run) prepare(ctx context.Context, slot *pool.Slot, spec *job.Spec) (*space, error) {
	s, err := u.fill(ctx, slot, spec)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	s.cwd = path.Join(slot.Paths.Workspace, filepath.ToSlash(s.Subdir))
	s.instructions, err = readInstructions(slot.Workspace, s.Subdir)
	return s, err
}

func (u *run) fill(ctx context.Context, slot *pool.Slot, spec *job.Spec) (*space, error) {
	last := u.held.Thread
	switch {
	case spec.Repo != nil:
		return u.clone(ctx, slot, workspace.Repo{URL: spec.Repo.URL, Ref: spec.Repo.Ref, Subdir: spec.Repo.Subdir})
	case last == nil || last.Workspace == "":
		return &space{Workspace: slot.Empty}, nil
	case last.Origin == nil:
		s := &space{Workspace: slot.Empty}
		return s, u.layOver(ctx, slot, s)
	default:
		s, err := u.clone(ctx, slot, workspace.Repo{URL: last.Origin.URL, Ref: last.Origin.Commit, Subdir: last.Origin.Subdir})
		if err != nil {
			return nil, err
		}
		return s, u.layOver(ctx, slot, s)
	}
}

// clone replaces the slot's empty workspace by a checkout.
func (u *run) clone(ctx context.Context, slot *pool.Slot, repo workspace.Repo) (*space, error) {
	if err := errors.Join(workspace.Clear(slot.Workspace), workspace.Remove(slot.State)); err != nil {
		return nil, fmt.Errorf("runner: clear workspace: %w", err)
	}
	ws, err := workspace.Prepare(ctx, workspace.Request{Dir: slot.Workspace, State: slot.State, Repo: &repo}, u.cfg.Policy)
	if err != nil {
		return nil, err
	}
	s := &space{Workspace: ws, origin: &conversation.Origin{URL: repo.URL, Commit: ws.Base, Subdir: repo.Subdir}}
	return s, u.Pool.Launcher.Own(slot.Workspace)
}

// layOver puts what the conversation's last job left over the workspace.
func (u *run) layOver(ctx context.Context, slot *pool.Slot, s *space) error {
	var r *blob.Reader
	err := u.insistBlob(ctx, "stored workspace", func(context.Context) (err error) {
		r, err = u.Jobs.Blobs.NewReader(ctx, u.held.Thread.Workspace, nil) // it lives as long as its context
		return err
	})
	if err != nil {
		return fmt.Errorf("runner: open stored workspace: %w", err)
	}
	err = s.Restore(ctx, r)
	if err = errors.Join(err, r.Close()); err != nil {
		return err
	}
	return u.Pool.Launcher.Own(slot.Workspace)
}

// readInstructions returns the text of AGENTS.md in the directory of work, else
// at the top. os.Root keeps a link in a hostile repository inside of it.
func readInstructions(dir, subdir string) (string, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", fmt.Errorf("runner: workspace: %w", err)
	}
	defer func() { _ = root.Close() }()
	for _, name := range []string{filepath.Join(subdir, "AGENTS.md"), "AGENTS.md"} {
		f, err := root.Open(name)
		if err != nil {
			continue // missing, or a link that leads out: not instructions
		}
		st, err := f.Stat()
		var text []byte
		if err == nil && st.Mode().IsRegular() {
			text, err = io.ReadAll(io.LimitReader(f, maxInstructions))
		}
		_ = f.Close()
		if err == nil && len(text) > 0 {
			return strings.ToValidUTF8(string(text), "\uFFFD"), nil
		}
	}
	return "", nil
}

// maxRollout bounds a stored conversation; images are in it, base64.
const maxRollout = 512 << 20

// restoreRollout puts the conversation's rollout where Codex looks for it.
func (u *run) restoreRollout(ctx context.Context, slot *pool.Slot) error {
	t := u.held.Thread
	packed, err := u.packedRollout(ctx)
	if err != nil {
		return err
	}
	dec, err := zstd.NewReader(bytes.NewReader(packed), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
	if err != nil {
		return fmt.Errorf("runner: unpack rollout: %w", err)
	}
	defer dec.Close()
	dir := filepath.Join(slot.Home, "sessions")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("runner: write rollout: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, filepath.Base(t.RolloutName)), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("runner: write rollout: %w", err)
	}
	_, err = io.Copy(f, io.LimitReader(dec, maxRollout))
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("runner: write rollout: %w", err)
	}
	return u.Pool.Launcher.Own(dir)
}

// packedRollout is the conversation's rollout as it was stored.
func (u *run) packedRollout(ctx context.Context) ([]byte, error) {
	t := u.held.Thread
	if t.Inline != nil {
		return t.Inline, nil
	}
	var packed []byte
	err := u.insistBlob(ctx, "rollout", func(ctx context.Context) (err error) {
		packed, err = u.Jobs.Blobs.ReadAll(ctx, t.Rollout)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("runner: read rollout: %w", err)
	}
	return packed, nil
}

// saveRollout stores the conversation as it is now. Without a rollout there is
// nothing to go on with: the next job starts a new thread.
func (u *run) saveRollout(ctx context.Context, slot *pool.Slot, thread codex.Thread) (*conversation.Thread, error) {
	name, ok := slot.HostPath(thread.Path)
	if !ok {
		return nil, errs.New(errs.CodexProtocol, "Codex names a rollout outside its home.")
	}
	// A resumed thread goes on in the file it was found in.
	if u.held.Thread != nil {
		name = filepath.Join(slot.Home, "sessions", filepath.Base(u.held.Thread.RolloutName))
	}
	raw, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // no rollout is a normal outcome, see above
	}
	if err != nil {
		return nil, fmt.Errorf("runner: read rollout: %w", err)
	}
	next := &conversation.Thread{ID: thread.ID, RolloutName: filepath.Base(name)}
	packed := compress(raw)
	if len(packed) <= conversation.MaxInline {
		next.Inline = packed
		return next, nil
	}
	a, err := u.put(ctx, job.Artifact{Name: "rollout.jsonl.zst"}, packed)
	if err != nil {
		return nil, err
	}
	next.Rollout = a.Blob
	return next, nil
}

func compress(raw []byte) []byte {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		panic(err) // only for options that contradict each other
	}
	return enc.EncodeAll(raw, nil)
}
