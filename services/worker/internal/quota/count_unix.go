//go:build unix

package quota

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// maxDepth bounds the descriptors one count holds open. No tool nests
// directories so deep; a job that does is taken for one that hides.
const maxDepth = 256

// readBatch is how many names are read of a directory at one time.
const readBatch = 512

// errEnough ends a count that has seen enough.
var errEnough = errors.New("quota: enough")

// counter adds up what lies below a directory. It opens each directory relative
// to its parent and never through a link, so that a job that moves directories
// about while they are counted cannot lead it elsewhere.
type counter struct {
	ctx   context.Context //nolint:containedctx // the life of one count
	l     Limits
	used  usage
	links map[inode]bool // files with several names, counted once
}

type inode struct{ dev, ino uint64 }

// count adds up dirs, but not further than the limits.
func count(ctx context.Context, dirs []string, l Limits) (usage, error) {
	c := counter{ctx: ctx, l: l, links: map[inode]bool{}}
	for _, dir := range dirs {
		err := c.descend(unix.AT_FDCWD, dir, 0)
		if errors.Is(err, errEnough) {
			break
		}
		if err != nil {
			return c.used, err
		}
	}
	return c.used, nil
}

// descend counts the entries of the directory name below the open directory
// parent.
func (c *counter) descend(parent int, name string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%w: directories nested deeper than %d", ErrExceeded, maxDepth)
	}
	fd, err := unix.Openat(parent, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil // gone, replaced or closed meanwhile
	}
	dir := os.NewFile(uintptr(fd), name)
	defer func() { _ = dir.Close() }()
	for {
		names, err := dir.Readdirnames(readBatch)
		for _, name := range names {
			if err := c.entry(fd, name, depth); err != nil {
				return err
			}
		}
		if err != nil {
			return nil // the end, or a directory that was removed
		}
	}
}

func (c *counter) entry(parent int, name string, depth int) error {
	var st unix.Stat_t
	if err := unix.Fstatat(parent, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return nil //nolint:nilerr // gone
	}
	isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
	if st.Nlink > 1 && !isDir {
		id := inode{uint64(st.Dev), st.Ino} //nolint:unconvert // of another type on other systems
		if c.links[id] {
			return nil
		}
		c.links[id] = true
	}
	c.used.files++
	c.used.bytes += st.Blocks * 512 // the unit of st_blocks, whatever the file system's
	if c.used.over(c.l) || c.ctx.Err() != nil {
		return errEnough
	}
	if isDir {
		return c.descend(parent, name, depth+1)
	}
	return nil
}

// freeSpace asks the file system that dir is on; zero when it does not say.
func freeSpace(dir string) space {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return space{}
	}
	return space{bytes: int64(st.Bavail) * int64(st.Bsize), files: int64(st.Ffree)} //nolint:gosec,unconvert // G115: sizes of disks
}
