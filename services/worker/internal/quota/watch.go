package quota

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrExceeded is wrapped by what [Watch] returns for directories over a limit.
var ErrExceeded = errors.New("quota: limit exceeded")

// Limits are the most that a set of directories may take; 0 is no limit.
type Limits struct {
	// Bytes counts what is allocated on disk: a sparse file takes what was
	// written of it.
	Bytes int64
	// Files counts everything that has an inode, directories too.
	Files int64
}

const (
	// lookEvery is how often the free space of the disk is asked for, one
	// system call, to notice a disk that fills fast.
	lookEvery = 250 * time.Millisecond
	// minGap and maxGap bound the time from one count to the next.
	minGap, maxGap = time.Second, 30 * time.Second
	// calm and hurry are the shares of the time that counting may take: 1/20, or
	// 1/5 when the free space has fallen by an eighth of a limit.
	calm, hurry = 20, 5
	fallen      = 8
)

// Watch counts dirs again and again until ctx ends, and then returns nil, or
// until they are over a limit, and then returns an error that wraps
// [ErrExceeded]. Directories that cannot be read or are gone count as empty.
func Watch(ctx context.Context, dirs []string, l Limits) error {
	if l == (Limits{}) || len(dirs) == 0 {
		return nil
	}
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	p := pace{ended: time.Now(), gap: minGap, before: freeSpace(dirs[0])}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		free := freeSpace(dirs[0])
		if !p.due(time.Now(), free, l) {
			continue
		}
		began := time.Now()
		used, err := count(ctx, dirs, l)
		if err != nil || ctx.Err() != nil {
			return err
		}
		if used.over(l) {
			return fmt.Errorf("%w: %d bytes in %d files, counted up to there", ErrExceeded, used.bytes, used.files)
		}
		p.counted(began, time.Now(), free)
	}
}

// pace decides when to count.
type pace struct {
	ended  time.Time     // of the last count
	cost   time.Duration // of the last count
	gap    time.Duration // until the next one, unless the disk fills fast
	before space         // free at the last count
}

func (p *pace) due(now time.Time, free space, l Limits) bool {
	since := now.Sub(p.ended)
	if since >= p.gap {
		return true
	}
	fast := l.Bytes > 0 && p.before.bytes-free.bytes > l.Bytes/fallen ||
		l.Files > 0 && p.before.files-free.files > l.Files/fallen
	return fast && since >= (hurry-1)*p.cost
}

func (p *pace) counted(began, ended time.Time, free space) {
	p.ended, p.cost, p.before = ended, ended.Sub(began), free
	p.gap = min(max((calm-1)*p.cost, minGap), maxGap)
}

// space is what a file system has left.
type space struct{ bytes, files int64 }

// usage is what directories take.
type usage struct{ bytes, files int64 }

func (u usage) over(l Limits) bool {
	return l.Bytes > 0 && u.bytes > l.Bytes || l.Files > 0 && u.files > l.Files
}
