package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"modernc.org/sqlite"

	"codexgateway.dev/pkg/docstore"
)

// Options tune a Store; the zero value is good.
type Options struct {
	// Logger hears of a write-ahead log that cannot be shortened and of a lost
	// writer connection; nil: nobody does.
	Logger *slog.Logger
	// Readers is how many queries run at once; 0 means 4.
	Readers int
}

const (
	defaultReaders = 4
	// busyTimeout is how long a statement waits for a lock of another process,
	// such as a sqlite3 shell on the file.
	busyTimeout = 5 * time.Second
	// writerCache and readerCache bound the page caches, in KiB: idle memory is
	// at most writerCache plus readerCache for each reader.
	writerCache = 4 << 10
	readerCache = 2 << 10
)

// Store is an open file. It implements [docstore.Driver] and is safe for
// concurrent use. Two Stores may hold one file, in two processes even; they
// then take turns to write.
type Store struct {
	path   string
	tables map[string]*table
	writer *writer
	reads  *sql.DB
	get    map[string]*sql.Stmt
	// slots has a place for each connection of reads; whoever holds one finds a
	// connection free.
	slots chan struct{}

	mu      sync.Mutex
	queries map[plan]*sql.Stmt

	// life is held for reading during every call, so that Close, which takes it
	// for writing, waits for them.
	life   sync.RWMutex
	closed atomic.Bool
}

var _ docstore.Driver = (*Store)(nil)

// Open opens the file, creates it (readable by its owner only) if it does not
// exist, and brings it to the schema. A file that cannot be used is a
// *[FileError]. Damage that SQLite does not meet while it opens the file and
// reads its schema shows at the call that meets it: reading the whole file at
// every start would take seconds for each gigabyte.
func Open(ctx context.Context, path string, schema docstore.Schema, opt Options) (*Store, error) {
	return open(ctx, path, schema, opt, walLimits{size: walSize, patience: walPatience})
}

func open(ctx context.Context, path string, schema docstore.Schema, opt Options, wal walLimits) (_ *Store, err error) {
	if err := schema.Validate(); err != nil {
		return nil, fmt.Errorf("sqlitestore open: %w", err)
	}
	path, err = filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("sqlitestore open: %w", err)
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.Readers <= 0 {
		opt.Readers = defaultReaders
	}
	s := &Store{
		path:    path,
		tables:  make(map[string]*table, len(schema)),
		get:     make(map[string]*sql.Stmt, len(schema)),
		queries: make(map[plan]*sql.Stmt),
		slots:   make(chan struct{}, opt.Readers),
	}
	for _, c := range schema {
		s.tables[c.Name] = newTable(c)
	}
	fresh, err := prepareFile(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("sqlitestore open: %w", err)
	}
	writes, err := pool(writeDSN(path), 1)
	if err != nil {
		return nil, fmt.Errorf("sqlitestore open: %w", err)
	}
	if s.reads, err = pool(readDSN(path), opt.Readers); err != nil {
		return nil, errors.Join(fmt.Errorf("sqlitestore open: %w", err), writes.Close())
	}
	if err := s.start(ctx, writes, fresh, schema, opt.Logger, wal); err != nil {
		return nil, errors.Join(fmt.Errorf("sqlitestore open: %w", err), s.reads.Close(), writes.Close())
	}
	return s, nil
}

// start migrates the file, prepares the statements of point reads and starts
// the writer.
func (s *Store) start(ctx context.Context, writes *sql.DB, fresh bool, schema docstore.Schema, log *slog.Logger, wal walLimits) error {
	if err := migrate(ctx, writes, s.path, fresh, schema); err != nil {
		return err
	}
	for name, t := range s.tables {
		stmt, err := s.reads.PrepareContext(ctx, t.get)
		if err != nil {
			return fmt.Errorf("prepare: %w", translate(s.path, err))
		}
		s.get[name] = stmt
	}
	s.writer = newWriter(writes, s.path, s.tables, log, wal)
	if err := s.writer.connect(ctx); err != nil {
		return fmt.Errorf("prepare: %w", translate(s.path, err))
	}
	go s.writer.run() //nolint:contextcheck // the writer serves every caller and lives until Close
	return nil
}

// prepareFile reports whether the store has to be made, and refuses a file that
// is not ours before anything could change it. A missing file is created here,
// because SQLite would make it readable by everyone; its -wal and -shm take the
// same mode.
func prepareFile(ctx context.Context, path string) (fresh bool, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err == nil {
		return true, f.Close()
	}
	if !errors.Is(err, os.ErrExist) {
		return false, err
	}
	db, err := pool(identifyDSN(path), 1)
	if err != nil {
		return false, err
	}
	fresh, err = identify(ctx, db, path)
	return fresh, errors.Join(err, db.Close())
}

// pool opens lazily: no connection is made here. Connections are kept for ever,
// for a new one reads the schema again and prepares every statement again.
func pool(dsn string, size int) (*sql.DB, error) {
	c, err := sqlite.NewConnector(dsn)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(c)
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	return db, nil
}

func writeDSN(path string) string {
	return dsn(path, "rw",
		"journal_mode(WAL)", "synchronous(FULL)",
		"wal_autocheckpoint("+strconv.Itoa(walPages)+")",
		"journal_size_limit("+strconv.Itoa(walKeep)+")",
		"cache_size(-"+strconv.Itoa(writerCache)+")")
}

func readDSN(path string) string {
	return dsn(path, "ro", "query_only(1)", "cache_size(-"+strconv.Itoa(readerCache)+")")
}

func identifyDSN(path string) string { return dsn(path, "ro") }

// dsn turns off memory mapping (an I/O error there is a SIGBUS, not an error),
// double-quoted strings, and what only hostile schemas need.
func dsn(path, mode string, pragmas ...string) string {
	q := url.Values{
		"mode": {mode}, "_dqs": {"0"}, "_defensive": {"1"}, "_txlock": {"immediate"},
		"_pragma": append([]string{
			"busy_timeout(" + strconv.FormatInt(busyTimeout.Milliseconds(), 10) + ")",
			"mmap_size(0)", "trusted_schema(0)", "temp_store(MEMORY)",
		}, pragmas...),
	}
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: q.Encode()}).String()
}

// Ping reads the file.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.life.RUnlock()
	if err := s.acquire(ctx); err != nil {
		return fmt.Errorf("sqlite ping: %w", err)
	}
	defer s.release()
	var one int
	if err := s.reads.QueryRowContext(ctx, "SELECT 1 FROM meta").Scan(&one); err != nil {
		return fmt.Errorf("sqlite ping: %w", translate(s.path, err))
	}
	return nil
}

// enter begins a call; the caller unlocks life unless there is an error.
func (s *Store) enter() error {
	// Looked at before the lock too: while Close waits for others, nobody new
	// should wait behind it.
	if !s.closed.Load() {
		s.life.RLock()
		if !s.closed.Load() {
			return nil
		}
		s.life.RUnlock()
	}
	return fmt.Errorf("%w: the store is closed", docstore.ErrUnavailable)
}

// acquire takes a reader's place; release gives it back.
func (s *Store) acquire(ctx context.Context) error {
	if ctx.Err() == nil {
		select {
		case s.slots <- struct{}{}:
			return nil
		case <-ctx.Done():
		}
	}
	return ended(ctx)
}

func (s *Store) release() { <-s.slots }

// Close waits for the calls under way, their commits included, and closes the
// file. The write-ahead log is then in the file and gone.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.life.Lock()
	defer s.life.Unlock()
	err := s.reads.Close()
	// The writer last: the last connection copies the write-ahead log into the
	// file, and a read-only one cannot.
	if err = errors.Join(err, s.writer.close()); err != nil {
		return fmt.Errorf("sqlite close: %w", err)
	}
	return nil
}
