package workspace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Diff is what a job changed.
type Diff struct {
	// Patch is a git patch with binary content, for git apply, against Base. It
	// holds whole files only, also when Truncated.
	Patch []byte
	// Truncated is true when files are missing because the patch was full.
	Truncated bool
	// Skipped are changed files that are not in the patch, at most 100.
	Skipped []Skipped
}

// Skipped is a changed path that is not in a patch.
type Skipped struct {
	Path   string
	Reason Reason
}

// Reason says why a path was skipped.
type Reason string

// The reasons.
const (
	// TooLarge: the file, or all changed files together, are over the limit.
	TooLarge Reason = "too_large"
	// NestedRepository: a directory with a .git of its own.
	NestedRepository Reason = "nested_repository"
	// Unreadable: a path that cannot be read or is not a file, or is named .git.
	Unreadable Reason = "unreadable"
)

const (
	maxSkipped = 100
	// maxListing bounds the names of changed files, which a job can make many.
	maxListing = 32 << 20
)

// errFull ends a git process that wrote up to its limit.
var errFull = errors.New("workspace: output limit")

// Diff compares the directory with Base: every change in content, mode or kind,
// whoever made it, new files included, ignored files (.gitignore) not. Nothing
// may write in the directory meanwhile. It never reads the workspace's .git.
func (w *Workspace) Diff(ctx context.Context) (*Diff, error) {
	d, err := w.diff(ctx)
	if err != nil {
		return nil, w.failed("diff", err)
	}
	return d, nil
}

func (w *Workspace) diff(ctx context.Context) (*Diff, error) {
	root, err := os.OpenRoot(w.Dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	if w.Base == emptyRepo().commit.id {
		// Exact and without git: nothing was there and nothing is.
		if entries, err := os.ReadDir(w.Dir); err == nil && (len(entries) == 0 || len(entries) == 1 && entries[0].Name() == ".git") {
			return &Diff{}, nil
		}
	}
	index, err := w.scratchIndex(ctx)
	defer func() { _ = os.Remove(index) }()
	if err != nil {
		return nil, err
	}
	env := []string{
		"GIT_INDEX_FILE=" + index,
		// A name that other systems could take for .git is only a name here;
		// refusing it would let one file suppress the whole diff.
		"GIT_CONFIG_COUNT=2",
		"GIT_CONFIG_KEY_0=core.protectHFS", "GIT_CONFIG_VALUE_0=false",
		"GIT_CONFIG_KEY_1=core.protectNTFS", "GIT_CONFIG_VALUE_1=false",
	}
	d := &Diff{}
	listed, err := w.bounded(ctx, maxListing, command{env: env, args: []string{
		"ls-files", "-z", "--others", "--modified", "--deleted", "--exclude-standard",
	}})
	if err != nil {
		return nil, err
	}
	d.Truncated = listed.over
	names := listed.buf.String()
	// Without what follows the last separator, which is cut or empty.
	names = names[:strings.LastIndexByte(names, 0)+1]
	changes, err := w.snapshot(ctx, root, strings.Split(names, "\x00"), d)
	if err != nil || len(changes) == 0 {
		return d, err
	}
	if _, err := w.git(ctx, command{env: env, args: []string{"update-index", "-z", "--replace", "--index-info"}, stdin: bytes.NewReader(changes)}); err != nil {
		return nil, err
	}
	out, err := w.bounded(ctx, w.policy.MaxDiffBytes, command{env: env, args: []string{
		"diff-index", "--cached", "--patch", "--binary", "--full-index", "--no-renames", "--no-ext-diff", "--no-textconv",
		"--no-color", "--src-prefix=a/", "--dst-prefix=b/", "--end-of-options", w.Base,
	}})
	if err != nil {
		return nil, err
	}
	d.Patch = out.whole()
	d.Truncated = d.Truncated || out.over
	return d, nil
}

// scratchIndex copies the index of the base, in which git records what it
// finds; the base's own stays as it is for the next diff.
func (w *Workspace) scratchIndex(ctx context.Context) (string, error) {
	f, err := os.CreateTemp(w.state, "index-")
	if err != nil {
		return "", err
	}
	name := f.Name()
	_ = f.Close()
	base := filepath.Join(w.gitDir(), "index")
	st, err := os.Stat(base)
	if errors.Is(err, fs.ErrNotExist) { // an empty base has none, and git refuses an empty file
		return name, os.Remove(name)
	}
	if err == nil {
		err = copyFile(ctx, base, name)
	}
	if err == nil {
		// Git reads a file that changed in the second the index was written,
		// because its times cannot tell. A younger copy would hide that second.
		err = os.Chtimes(name, st.ModTime(), st.ModTime())
	}
	return name, err
}

// snapshot stores every changed file as an object and returns the lines that
// tell the index about them. It reads the files itself, through root: git would
// follow a link that a job put in place of a directory, and apply attributes.
func (w *Workspace) snapshot(ctx context.Context, root *os.Root, paths []string, d *Diff) ([]byte, error) {
	var lines bytes.Buffer
	skip := func(name string, why Reason) {
		if len(d.Skipped) < maxSkipped {
			d.Skipped = append(d.Skipped, Skipped{Path: name, Reason: why})
		}
		d.Truncated = d.Truncated || why == TooLarge
	}
	// New text is in the patch in full, so more than this cannot fit anyway;
	// changed files may be larger than their change.
	room := 4 * w.policy.MaxDiffBytes
	seen := map[string]bool{"": true}
	plain := map[string]bool{".": true}
	for _, name := range paths {
		if seen[name] {
			continue // changed and deleted at once is listed twice
		}
		seen[name] = true
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		switch {
		case hasGit(name):
			skip(name, Unreadable)
			continue
		case strings.HasSuffix(name, "/"):
			skip(name, NestedRepository)
			continue
		}
		mode, content, why := readEntry(root, name, plain, min(room, w.policy.MaxDiffFileBytes))
		if why != "" {
			skip(name, why)
			continue
		}
		if mode == "" {
			fmt.Fprintf(&lines, "0 %040d\t%s\x00", 0, name)
			continue
		}
		room -= int64(len(content))
		o := newObject("blob", content)
		if err := o.write(w.gitDir()); err != nil {
			return nil, err
		}
		fmt.Fprintf(&lines, "%s %s\t%s\x00", mode, o.id, name)
	}
	return lines.Bytes(), nil
}

// readEntry returns the git mode and the content of a path; no mode means that
// it is gone. plain caches which directories are real ones.
func readEntry(root *os.Root, name string, plain map[string]bool, limit int64) (mode, content string, why Reason) {
	if !isPlain(root, path.Dir(name), plain) {
		return "", "", ""
	}
	st, err := root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", "", ""
	case err != nil:
		return "", "", Unreadable
	case st.IsDir():
		return "", "", "" // a file became a directory; its files are listed
	case st.Mode()&fs.ModeSymlink != 0:
		target, err := root.Readlink(name)
		if err != nil {
			return "", "", Unreadable
		}
		return "120000", target, ""
	case !st.Mode().IsRegular():
		return "", "", Unreadable
	case st.Size() > limit:
		return "", "", TooLarge
	}
	raw, err := readRegular(root, name, limit)
	if err != nil {
		return "", "", Unreadable
	}
	if int64(len(raw)) > limit {
		return "", "", TooLarge
	}
	mode = "100644"
	if st.Mode()&0o100 != 0 {
		mode = "100755"
	}
	return mode, string(raw), ""
}

// isPlain reports whether dir and its parents are directories, not links.
func isPlain(root *os.Root, dir string, known map[string]bool) bool {
	if ok, seen := known[dir]; seen {
		return ok
	}
	ok := isPlain(root, path.Dir(dir), known)
	if ok {
		st, err := root.Lstat(dir)
		ok = err == nil && st.IsDir()
	}
	known[dir] = ok
	return ok
}

// hasGit reports whether any part of a path could be taken for .git.
func hasGit(name string) bool {
	for part := range strings.SplitSeq(name, "/") {
		if isGit(part) {
			return true
		}
	}
	return false
}

// output is what a git process wrote, up to a limit.
type output struct {
	buf  bytes.Buffer
	max  int64
	full func()
	over bool
}

// bounded runs a git process and ends it when it has written enough.
func (w *Workspace) bounded(ctx context.Context, limit int64, c command) (*output, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out := &output{max: limit, full: func() { cancel(errFull) }}
	c.stdout = out
	if _, err := w.git(ctx, c); err != nil && !errors.Is(err, errFull) {
		return nil, err
	}
	return out, nil
}

func (o *output) Write(b []byte) (int, error) {
	if int64(o.buf.Len()+len(b)) > o.max {
		o.buf.Write(b[:o.max-int64(o.buf.Len())])
		o.over = true
		o.full()
		return 0, errFull
	}
	o.buf.Write(b)
	return len(b), nil
}

// whole is a patch without a file that was cut. No line of a file's content
// begins with the separator: content lines begin with a sign or a space, binary
// ones have no space.
func (o *output) whole() []byte {
	out := o.buf.Bytes()
	if !o.over {
		return out
	}
	if i := bytes.LastIndex(out, []byte("\ndiff --git ")); i >= 0 {
		return out[:i+1]
	}
	return nil
}
