package workspace

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/klauspost/compress/zstd"

	"codexgateway.dev/pkg/errs"
)

// Errors of Archive and Restore, wrapped.
var (
	// ErrArchiveTooLarge means a bound of the policy was met.
	ErrArchiveTooLarge = errors.New("workspace: archive is over the limit")
	// ErrArchiveInvalid means the archive is damaged or holds what Archive
	// never writes.
	ErrArchiveInvalid = errors.New("workspace: archive is invalid")
)

// maxWindow bounds the memory a decoder takes; Archive needs 8 MiB.
const maxWindow = 32 << 20

// Archive writes the directory as a tar in zstd: files, directories and links
// (as links), in a fixed order. Directories named .git are left out, at any
// depth: they are the job's, and a user's git would obey their configuration.
// So are sockets, pipes and devices. It follows no link.
func (w *Workspace) Archive(ctx context.Context, dst io.Writer) error {
	if err := w.archive(ctx, dst); err != nil {
		return w.failed("archive", w.tooLarge(err))
	}
	return nil
}

// tooLarge gives an archive that met a bound its code: the job can be told.
func (w *Workspace) tooLarge(err error) error {
	if !errors.Is(err, ErrArchiveTooLarge) {
		return err
	}
	return errs.Wrap(errs.WorkspaceFull, fmt.Sprintf("The workspace is larger than what is kept of one (%d MiB, %d files).",
		w.policy.MaxBytes>>20, w.policy.MaxFiles), err)
}

func (w *Workspace) archive(ctx context.Context, dst io.Writer) (err error) {
	root, err := os.OpenRoot(w.Dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	z, err := zstd.NewWriter(dst, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	t := tar.NewWriter(z)
	room, files := w.policy.MaxBytes, w.policy.MaxFiles
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil && d != nil && d.IsDir():
			return fs.SkipDir // a directory the job closed to its own user
		case err != nil:
			return err
		case name == ".":
			return nil
		case isGit(d.Name()) && d.IsDir():
			return fs.SkipDir
		case isGit(d.Name()):
			return nil
		}
		if files--; files < 0 {
			return ErrArchiveTooLarge
		}
		n, err := add(ctx, t, root, name, d, room)
		room -= n
		return err
	})
	if err != nil {
		_ = z.Close() // frees it; the output is of no use
		return err
	}
	return errors.Join(t.Close(), z.Close())
}

// add writes one entry and returns the bytes of its content.
func add(ctx context.Context, t *tar.Writer, root *os.Root, name string, d fs.DirEntry, room int64) (int64, error) {
	info, err := d.Info()
	if err != nil {
		return 0, err
	}
	h := &tar.Header{Name: name, ModTime: info.ModTime().Truncate(time.Second), Mode: int64(info.Mode().Perm())}
	switch {
	case info.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, name+"/"
	case info.Mode()&fs.ModeSymlink != 0:
		h.Typeflag, h.Mode = tar.TypeSymlink, 0o777
		if h.Linkname, err = root.Readlink(name); err != nil {
			return 0, err
		}
	case info.Mode().IsRegular():
		return addFile(ctx, t, root, h, room)
	default:
		return 0, nil
	}
	return 0, t.WriteHeader(h)
}

func addFile(ctx context.Context, t *tar.Writer, root *os.Root, h *tar.Header, room int64) (int64, error) {
	f, err := openRegular(root, h.Name)
	if errors.Is(err, fs.ErrPermission) {
		return 0, nil // closed by the job to its own user
	}
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if h.Size = st.Size(); h.Size > room {
		return 0, ErrArchiveTooLarge
	}
	if err := t.WriteHeader(h); err != nil {
		return 0, err
	}
	// Exactly the size in the header, even if the file grows meanwhile.
	return io.CopyN(t, stopped{ctx, f}, h.Size)
}

// stopped is a reader that ends with a context: files are large.
type stopped struct {
	ctx context.Context //nolint:containedctx // io.Reader has none
	r   io.Reader
}

func (s stopped) Read(p []byte) (int, error) {
	if s.ctx.Err() != nil {
		return 0, context.Cause(s.ctx)
	}
	return s.r.Read(p)
}

// openRegular opens a regular file without following a link in its place and
// without waiting for the writer of a pipe in its place.
func openRegular(root *os.Root, name string) (*os.File, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		_ = f.Close()
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	return f, nil
}

// readRegular reads at most one byte more than limit of a regular file.
func readRegular(root *os.Root, name string, limit int64) ([]byte, error) {
	f, err := openRegular(root, name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, limit+1))
}

// Restore replaces everything in the directory but its .git with the content
// of an archive, which is not trusted: no entry can leave the directory, be a
// device or a hard link, or appear twice. On an error the directory may be
// incomplete. Base stays what it was.
func (w *Workspace) Restore(ctx context.Context, src io.Reader) error {
	if err := w.restore(ctx, src); err != nil {
		return w.failed("restore", err)
	}
	return nil
}

func (w *Workspace) restore(ctx context.Context, src io.Reader) error {
	if err := empty(w.Dir, ".git"); err != nil {
		return err
	}
	root, err := os.OpenRoot(w.Dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	z, err := zstd.NewReader(stopped{ctx, src}, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
	if err != nil {
		return err
	}
	defer z.Close()
	x := extractor{root: root, room: w.policy.MaxBytes, made: map[string]bool{".": true}}
	t := tar.NewReader(io.LimitReader(z, w.policy.MaxBytes+int64(w.policy.MaxFiles+2)*4096))
	for n := 0; ; n++ {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return x.finish()
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrArchiveInvalid, err)
		}
		if n >= w.policy.MaxFiles {
			return ErrArchiveTooLarge
		}
		if err := x.entry(h, t); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return err
		}
	}
}

// extractor writes the entries of an archive below root.
type extractor struct {
	root *os.Root
	room int64
	// made are the directories known to be real ones.
	made map[string]bool
	// dirs get their modes at the end: one may be closed to writing.
	dirs []*tar.Header
}

func (x *extractor) entry(h *tar.Header, content io.Reader) error {
	name := filepath.FromSlash(strings.TrimSuffix(h.Name, "/"))
	if !filepath.IsLocal(name) || name == "." || hasGit(filepath.ToSlash(name)) || strings.ContainsRune(name, 0) {
		return fmt.Errorf("%w: name %q", ErrArchiveInvalid, h.Name)
	}
	if err := x.mkdir(filepath.Dir(name)); err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		if err := x.mkdir(name); err != nil {
			return err
		}
		x.dirs = append(x.dirs, h)
		return nil
	case tar.TypeSymlink:
		return invalid(x.root.Symlink(h.Linkname, name))
	case tar.TypeReg:
		return x.file(name, h, content)
	}
	return fmt.Errorf("%w: %q has type %q", ErrArchiveInvalid, h.Name, h.Typeflag)
}

// mkdir makes a directory and its parents. It passes through no link, also not
// through one that stays inside: Archive writes no such names, and one could
// lead into .git.
func (x *extractor) mkdir(name string) error {
	if x.made[name] {
		return nil
	}
	if err := x.mkdir(filepath.Dir(name)); err != nil {
		return err
	}
	err := x.root.Mkdir(name, 0o755)
	if errors.Is(err, fs.ErrExist) {
		var st fs.FileInfo
		if st, err = x.root.Lstat(name); err == nil && !st.IsDir() {
			err = fs.ErrExist
		}
	}
	if err != nil {
		return invalid(err)
	}
	x.made[name] = true
	return nil
}

func (x *extractor) file(name string, h *tar.Header, content io.Reader) (err error) {
	if h.Size > x.room {
		return ErrArchiveTooLarge
	}
	x.room -= h.Size
	f, err := x.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return invalid(err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := io.Copy(f, content); err != nil {
		if isFull(err) {
			return err
		}
		return fmt.Errorf("%w: %w", ErrArchiveInvalid, err)
	}
	if err := f.Chmod(fs.FileMode(h.Mode).Perm()); err != nil { //nolint:gosec // G115: Perm keeps nine bits
		return err
	}
	return nil
}

// finish sets what had to wait, innermost directories first.
func (x *extractor) finish() error {
	for _, h := range slices.Backward(x.dirs) {
		name := filepath.FromSlash(strings.TrimSuffix(h.Name, "/"))
		if err := x.root.Chmod(name, fs.FileMode(h.Mode).Perm()); err != nil { //nolint:gosec // G115: Perm keeps nine bits
			return invalid(err)
		}
	}
	return nil
}

// invalid marks an error of the file system as the archive's fault, as far as
// it is: a name twice, a file where a directory is needed, a link outwards.
func invalid(err error) error {
	if err == nil || isFull(err) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrArchiveInvalid, err)
}
