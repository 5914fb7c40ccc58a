package sqlitestore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"
)

const (
	// walPages is the length of the write-ahead log at which SQLite copies it
	// into the file after a commit: 4 MiB.
	walPages = 1000
	// walKeep is what SQLite shortens the write-ahead log's file to when it
	// starts it over.
	walKeep = 8 << 20
	// walSize and walPatience are the limits of a store in use.
	walSize     = 32 << 20
	walPatience = 100 * time.Millisecond
)

// walLimits say when the writer makes SQLite start the write-ahead log over:
// with readers that always overlap it never finds the moment by itself.
type walLimits struct {
	// size is the length of the file, in bytes.
	size int64
	// patience is how long commits wait for the readers of the moment.
	patience time.Duration
}

// shortenWAL starts the write-ahead log over once it is too long. It waits
// shortly for the readers of the moment; new ones already read from the file.
func (w *writer) shortenWAL() {
	info, err := os.Stat(w.path + "-wal")
	if err != nil || info.Size() < w.walNext || w.conn == nil {
		return
	}
	ctx := context.Background()
	var busy, pages, copied int
	_, err = w.conn.ExecContext(ctx, fmt.Sprintf("PRAGMA busy_timeout = %d", w.wal.patience.Milliseconds()))
	if err == nil {
		err = w.conn.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &pages, &copied)
	}
	_, restoreErr := w.conn.ExecContext(ctx, fmt.Sprintf("PRAGMA busy_timeout = %d", busyTimeout.Milliseconds()))
	if err = errors.Join(err, restoreErr); err == nil && busy == 0 {
		w.walNext = w.wal.size
		return
	}
	// A reader that stays would make every commit wait: try again a good way on.
	w.walNext = info.Size() + w.wal.size/4
	w.log.LogAttrs(ctx, slog.LevelWarn, "docstore_wal_not_shortened",
		slog.Int64("wal_bytes", info.Size()), slog.Any("error", err))
}
