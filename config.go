package kvstore

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"kvstore/internal/format"
)

// Limits on what goes in.
const (
	// MaxKeyBytes is the length of the longest key, 65,535: enough for any path or compound key, short enough that
	// a wrong length in a damaged file stands out.
	MaxKeyBytes = format.MaxKeyBytes

	// MaxValueBytes is the length of the longest value, 512 MiB.
	MaxValueBytes = format.MaxValueBytes

	// MaxBatchBytes is the size of the largest batch, 1 GiB, counted as in the log: 21 bytes plus key and value for
	// each write. A batch is written, and held in memory, as one piece.
	MaxBatchBytes = 1 << 30

	// MaxKeys is the largest number of keys in a store: a snapshot counts them in 32 bits.
	MaxKeys = 1<<32 - 1
)

// DefaultSyncInterval is what Config.SyncInterval 0 means.
const DefaultSyncInterval = time.Second

// Config says how to open a store. It is copied by OpenWithConfig and never written to.
type Config struct {
	// DataDir is the directory for WAL and snapshot files, created if missing. It belongs to the store alone,
	// though files with foreign names in it are left in peace. Required.
	DataDir string

	// SyncWrites makes every write wait until it is on disk. Without it a write waits until the operating system
	// has it: it survives a crash of the process, and a power cut if it is older than SyncInterval or a
	// successful Sync came after it. The zero value is false, and Open then warns through Logger; DefaultConfig
	// and Open say true.
	SyncWrites bool

	// SyncInterval is how often the log is fsynced in the background when SyncWrites is false. 0 means
	// DefaultSyncInterval; negative is an error.
	SyncInterval time.Duration

	// SnapshotBytes has the store write a snapshot by itself, in the background, when the log has grown by so many bytes since the last
	// one; the log that it covers is removed. It bounds the log, and with it the time that Open takes after a crash. 0 means
	// that a snapshot is written by Close and by Snapshot only; negative is an error. A snapshot that fails is reported to Logger
	// and tried again when the log has grown by as much again.
	SnapshotBytes int64

	// ReadOnly opens a store that must exist, creates and writes nothing, not even to repair a torn tail,
	// and shares the directory with other read-only openers, but not with a writer.
	ReadOnly bool

	// Logger hears what recovery found and why the store failed. nil means silence. It is called
	// without locks; it may read from the store and write to it, but must not close it.
	Logger *slog.Logger
}

// DefaultConfig returns the configuration that Open uses.
func DefaultConfig(dataDir string) Config {
	return Config{DataDir: dataDir, SyncWrites: true}
}

// withDefaults returns c with its zero values replaced and its path made absolute, or what is wrong with it.
func (c Config) withDefaults() (Config, error) {
	switch {
	case c.DataDir == "":
		return c, fmt.Errorf("%w: DataDir is empty", ErrInvalidConfig)
	case c.SyncInterval < 0:
		return c, fmt.Errorf("%w: SyncInterval is negative: %v", ErrInvalidConfig, c.SyncInterval)
	case c.SnapshotBytes < 0:
		return c, fmt.Errorf("%w: SnapshotBytes is negative: %d", ErrInvalidConfig, c.SnapshotBytes)
	}
	if c.SyncInterval == 0 {
		c.SyncInterval = DefaultSyncInterval
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	var err error
	if c.DataDir, err = filepath.Abs(c.DataDir); err != nil {
		return c, fmt.Errorf("kvstore: %w", err)
	}
	return c, nil
}
