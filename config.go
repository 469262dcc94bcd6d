package kvstore

import (
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"time"

	"kvstore/internal/format"
)

// Limits on what goes in.
const (
	// MaxKeyBytes is the length of the longest key, 65,535: enough for any path
	// or compound key, and so short that a wrong length in a damaged file
	// stands out.
	MaxKeyBytes = format.MaxKeyBytes

	// MaxValueBytes is the length of the longest value, 512 MiB.
	MaxValueBytes = format.MaxValueBytes

	// MaxBatchBytes is the size of the largest batch, 1 GiB, counted as in the
	// log: 21 bytes plus key and value for each write, and for one with a
	// deadline 29 bytes plus the key once more. A batch that waits for the disk
	// is in memory twice: Apply makes a copy.
	MaxBatchBytes = 1 << 30

	// MaxKeys is the largest number of keys in a store, those included whose
	// deadline has passed and that are not deleted yet. A snapshot counts them
	// in 32 bits.
	MaxKeys = 1<<32 - 1
)

// DefaultSyncInterval is the value of Config.SyncInterval if that is 0.
const DefaultSyncInterval = time.Second

// Config says how to open a store. Start from [DefaultConfig]: the zero value
// of SyncWrites is not durable. OpenWithConfig copies the Config and never
// writes to it.
type Config struct {
	// DataDir is the directory for WAL and snapshot files. It is created if
	// missing. It belongs to the store alone; the store ignores files with
	// other names. Required, unless InMemory is set.
	DataDir string

	// InMemory is for a store without files: a cache, or a test. Everything is
	// gone when it is closed. DataDir must be "", and ReadOnly and MustExist
	// false; SyncWrites and what else is about the disk has no effect. A write
	// is acknowledged when it is visible. Sync and Snapshot do nothing.
	// View.WriteTo and Restore make a store with files of it.
	InMemory bool

	// SyncWrites makes every write wait until it is on disk. THE ZERO VALUE IS
	// NOT DURABLE: start from DefaultConfig, which sets it, as Open does.
	//
	// Without it, a write waits only until the operating system has it: it
	// survives a crash of the process, but a power cut only if it is older than
	// SyncInterval or a successful Sync came after it. Open then logs a
	// warning.
	SyncWrites bool

	// SyncInterval is how often the log is fsynced in the background when
	// SyncWrites is false. 0 means DefaultSyncInterval. Negative is an error.
	SyncInterval time.Duration

	// SnapshotBytes makes the store write a snapshot in the background whenever
	// the log has grown by this many bytes since the last one, and remove the
	// log that it covers. This keeps the log short, and Open after a crash
	// fast. The log grows while a snapshot is being written. The snapshot is
	// paced, to disturb other writes little, until the log has twice this size;
	// then it is written at full speed. So the log takes about twice this size,
	// and what comes in while one snapshot is written at full speed. A snapshot
	// that fails is reported to Logger, and tried again when the log has grown
	// by as much again. Open writes a snapshot before it returns if the log is
	// longer than this, or has more than 16 segments, and the disk has room.
	//
	// 0 turns this off: then only Close, Snapshot, and an Open that finds more
	// than 16 segments write one, and that of a call of Snapshot stays paced
	// however long the log gets. Negative is an error.
	SnapshotBytes int64

	// ReadOnly opens a store that must exist. It creates and writes nothing,
	// not even to repair a torn tail. It shares the directory with other
	// read-only openers, but not with a writer. If there is neither a snapshot
	// nor a segment in DataDir, Open returns an error that Is fs.ErrNotExist.
	ReadOnly bool

	// MustExist is for a writer that must not begin an empty store, for example
	// because the volume of DataDir may not be mounted. If there is neither a
	// snapshot nor a segment in DataDir, Open returns an error that Is
	// fs.ErrNotExist, and has created nothing.
	MustExist bool

	// LockTimeout is how long Open waits while another opener has the
	// directory, before it returns ErrLocked. 0 means not at all. Negative is
	// an error.
	LockTimeout time.Duration

	// FileMode is the mode of the files that the store creates, less the umask.
	// Directories that it creates have it too, with the permission to search
	// them for all users that may read them. 0 means 0600. It must be made of
	// permission bits, with reading and writing for the owner among them.
	FileMode fs.FileMode

	// Ordered makes Open build the index of keys that ordered scans need, if
	// the snapshot does not bring it along. Without it, the first scan does so:
	// see [Store.Scan].
	Ordered bool

	// Replicated is for a store whose commits come from a log elsewhere, such
	// as that of a consensus protocol, and must be the same in each replica.
	// Such a store deletes no key by itself when the key's deadline has passed.
	// Reads hide the key all the same, and it takes memory until a function
	// given to Do deletes it: see [Store.Due] and [Tx.DeleteDue].
	Replicated bool

	// Now returns the wall time, from which commits get their versions, and the
	// store its clock for deadlines: see [Store.Now]. nil means time.Now. It is
	// called often, from several goroutines, and must not block.
	Now func() time.Time

	// Logger gets what recovery found (Info; a torn tail as Warn), each
	// snapshot (Info), snapshots that fail (Error), views that were forgotten
	// (Warn), steps of the wall clock (Warn), and why the store failed (Error).
	// docs/OPERATIONS.md has a list. If Logger is nil, errors and warnings go
	// to slog.Default, and Info nowhere; slog.DiscardHandler makes a store
	// silent. Logger is called without locks: a handler may read from the store
	// and write to it, but must not close it.
	Logger *slog.Logger
}

// DefaultConfig returns the configuration that Open uses: SyncWrites is true.
func DefaultConfig(dataDir string) Config {
	return Config{DataDir: dataDir, SyncWrites: true}
}

// ownerAccess is what FileMode must allow, lest the next Open cannot read what
// this one has written.
const ownerAccess fs.FileMode = 0o600

// mustExist reports whether Open must find a store.
func (c *Config) mustExist() bool { return c.ReadOnly || c.MustExist }

// withDefaults validates c. It returns c with defaults in place of zero values
// and an absolute path, or an error that Is ErrInvalidConfig.
func (c Config) withDefaults() (Config, error) {
	switch {
	case c.InMemory && (c.DataDir != "" || c.ReadOnly || c.MustExist):
		return c, fmt.Errorf("%w: InMemory with DataDir, ReadOnly or MustExist", ErrInvalidConfig)
	case c.DataDir == "" && !c.InMemory:
		return c, fmt.Errorf("%w: DataDir is empty", ErrInvalidConfig)
	case c.SyncInterval < 0:
		return c, fmt.Errorf("%w: SyncInterval is negative: %v", ErrInvalidConfig, c.SyncInterval)
	case c.SnapshotBytes < 0:
		return c, fmt.Errorf("%w: SnapshotBytes is negative: %d", ErrInvalidConfig, c.SnapshotBytes)
	case c.LockTimeout < 0:
		return c, fmt.Errorf("%w: LockTimeout is negative: %v", ErrInvalidConfig, c.LockTimeout)
	case c.FileMode != 0 && (c.FileMode&^fs.ModePerm != 0 || c.FileMode&ownerAccess != ownerAccess):
		return c, fmt.Errorf("%w: FileMode is %v: want permission bits, among them rw for the owner",
			ErrInvalidConfig, c.FileMode)
	}
	if c.SyncInterval == 0 {
		c.SyncInterval = DefaultSyncInterval
	}
	if c.Logger == nil {
		c.Logger = slog.New(defaultWarnings{})
	}
	if c.InMemory {
		c.SyncWrites, c.SnapshotBytes = true, 0 // a sync costs nothing, and there is no log to shorten
		return c, nil
	}
	var err error
	if c.DataDir, err = filepath.Abs(c.DataDir); err != nil {
		return c, fmt.Errorf("kvstore: %w", err)
	}
	return c, nil
}
