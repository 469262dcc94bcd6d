package kvstore

import (
	"io"
	"time"

	"kvstore/internal/vfs"
	"kvstore/internal/wal"
)

// This file is the only bridge from the tests to what is not exported.

// EnvOption changes what a store finds outside of its Config.
type EnvOption func(*environment)

// WithClock replaces the clock.
func WithClock(now func() time.Time) EnvOption {
	return func(env *environment) { env.now = now }
}

// WithMaxKeys replaces MaxKeys, which no test can reach.
func WithMaxKeys(n uint64) EnvOption {
	return func(env *environment) { env.maxKeys = n }
}

// FirstSegmentBytes is the size of a session's first segment.
const FirstSegmentBytes = wal.FirstSegmentBytes

// WithFirstSegmentBytes replaces it; the following ones double.
func WithFirstSegmentBytes(n int64) EnvOption {
	return func(env *environment) { env.firstSegmentBytes = n }
}

// WithPieceBytes replaces the size of the pieces in which recovery reads a
// segment.
func WithPieceBytes(n int) EnvOption {
	return func(env *environment) { env.pieceBytes = n }
}

// WithDirectBytes replaces the size from which on the log takes the entries of
// a command from the command's own memory.
func WithDirectBytes(n int) EnvOption {
	return func(env *environment) { env.directBytes = n }
}

// WithMaxSegments replaces the number of segments above which Open replaces the
// log by a snapshot.
func WithMaxSegments(n int) EnvOption {
	return func(env *environment) { env.maxSegments = n }
}

// WithBackground replaces the start of goroutines for the writer's background
// tasks.
func WithBackground(run func(task func() error)) EnvOption {
	return func(env *environment) { env.background = run }
}

// OpenFS is OpenWithConfig on another file system. Segments start at one page,
// so that a test with a few writes rotates.
func OpenFS(fs vfs.FS, config Config, options ...EnvOption) (*Store, error) {
	env := systemEnvironment(config)
	env.fs, env.firstSegmentBytes = fs, wal.SegmentAlign
	for _, option := range options {
		option(&env)
	}
	return open(config, env)
}

// FillBatch makes b count as n bytes already, with memory up to the limit. It
// holds untouched pages and no entries: it is for checking limits, not for
// committing.
func FillBatch(b *Batch, n int) {
	if cap(b.list.entries) < MaxBatchBytes {
		b.list.entries = make([]byte, 0, MaxBatchBytes)
	}
	*b = Batch{list: entryList{entries: b.list.entries[:n], count: 1}, added: 1}
}

// RestoreFS is Restore on another file system.
func RestoreFS(fs vfs.FS, dataDir string, r io.Reader) error {
	return restore(fs, dataDir, r, RestoreOptions{})
}

// RestoreOptionsFS is RestoreWithOptions on another file system.
func RestoreOptionsFS(fs vfs.FS, dataDir string, r io.Reader, options RestoreOptions) error {
	return restore(fs, dataDir, r, options)
}

// HasIndex reports whether the store has its index of keys.
func HasIndex(s *Store) bool { return s.memory.HasIndex() }

// Room returns the number of bytes that b has memory for.
func (b *Batch) Room() int { return cap(b.list.entries) }
